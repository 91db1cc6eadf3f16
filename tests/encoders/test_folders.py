"""Folders of weights, snapshots of the hub's cache, and repositories by their name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from textregion import UserError, load_encoder
from textregion.checkpoints import hub
from textregion.encoders.models import build_model
from textregion.encoders.sources import find_clip

from ..checkpoints.openai_format import TINY

QUICK: dict[str, Any] = {**TINY, "quick_gelu": True, "vision_cfg": {**TINY["vision_cfg"], "layers": 1}}
RECIPE = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}


@pytest.fixture
def model() -> Any:
    torch.manual_seed(7)
    return build_model(QUICK)


def _write(folder: Path, model: Any) -> Path:
    """As open_clip's own ``push_to_hf_hub`` writes a folder."""
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": QUICK, "preprocess_cfg": RECIPE}))
    (folder / "tokenizer.json").write_text("of another form")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "why_unreachable", lambda: pytest.fail("the network was asked"))
    return tmp_path / "hub"


def test_every_way_to_name_a_folder_gives_the_same_encoder(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _write(tmp_path / "my-clip", model)
    monkeypatch.chdir(tmp_path)
    ways = [
        (None, folder),
        (None, "my-clip"),
        (None, "local-dir:my-clip"),
        ("local-dir:my-clip", None),
        (f"local-dir:{folder}/", None),
        (None, folder / "open_clip_model.safetensors"),
    ]
    encoders = [load_encoder(name, weights, device="cpu", label="x") for name, weights in ways]
    assert len({encoder.name for encoder in encoders}) == 1
    own: Any = encoders[0]
    assert own.preprocess.mean == (0.1, 0.2, 0.3) and own.preprocess.interpolation == "bilinear"
    views = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(own._visual(views), model.visual(views))
    assert load_encoder(None, "my-clip", device="cpu").name.startswith("my-clip:")


def test_a_folder_of_a_known_model_is_called_by_its_architecture(tmp_path: Path) -> None:
    folder = _write(tmp_path / "my-clip.openai", build_model({**TINY, "quick_gelu": True}))
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**TINY, "quick_gelu": True}}))
    source = find_clip(None, folder)
    assert (source.label, source.config["quick_gelu"], source.activation_stated) == ("tiny-clip", True, True)
    assert (
        load_encoder(None, folder, device="cpu").name == load_encoder("tiny-clip-quickgelu", folder, device="cpu").name
    )


def test_open_clips_own_loader_reads_the_same_folder(model: Any, tmp_path: Path) -> None:
    folder = _write(tmp_path / "my-clip", model)
    theirs: Any = open_clip.create_model(f"local-dir:{folder}")
    ours: Any = load_encoder(None, folder, device="cpu")
    assert all(torch.equal(v, theirs.visual.state_dict()[k]) for k, v in ours._visual.state_dict().items())
    assert tuple(theirs.visual.preprocess_cfg["mean"]) == ours.preprocess.mean


def test_a_cached_repository_and_its_snapshots(model: Any, cache: Path) -> None:
    repository = cache / "models--somebody--tiny"
    new = _write(repository / "snapshots" / "bbb", model)
    model.visual.proj.data.neg_()
    old = _write(repository / "snapshots" / "aaa", model)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("bbb")
    ways: list[Any] = [(None, "hf-hub:somebody/tiny"), ("hf-hub:somebody/tiny", None), (None, repository), (None, new)]
    names = {load_encoder(name, weights, device="cpu", label="x").name for name, weights in ways}
    assert len(names) == 1
    assert load_encoder(None, old, device="cpu", label="x").name not in names
    assert load_encoder(None, "hf-hub:somebody/tiny", device="cpu").name.startswith("tiny:")


def test_the_download_folder_is_a_cache_too(model: Any, cache: Path, tmp_path: Path) -> None:
    _write(tmp_path / "root" / "models--somebody--tiny" / "snapshots" / "aaa", model)
    assert load_encoder(None, "hf-hub:somebody/tiny", cache_dir=tmp_path / "root", device="cpu")
    assert find_clip(None, "hf-hub:somebody/tiny").needs


def test_a_repository_that_is_not_here_is_needed_with_its_usual_files(cache: Path) -> None:
    needs = find_clip(None, "hf-hub:somebody/tiny").needs
    assert [str(need) for need in needs if not need.optional] == [
        "open_clip_model.safetensors of somebody/tiny (size not known)"
    ]
    assert {need.repository for need in needs} == {"somebody/tiny"}
    optional = {need.filenames[0] for need in needs if need.optional}
    assert {"open_clip_config.json", "config.json", "tokenizer.json"} <= optional


def _no_weights(folder: Path) -> None:
    (folder / "open_clip_model.safetensors").unlink()


def _two_files(folder: Path) -> None:
    (folder / "open_clip_model.safetensors").rename(folder / "a.pt")
    (folder / "b.pt").write_bytes(b"")


def _no_config(folder: Path) -> None:
    (folder / "open_clip_config.json").unlink()


def _config(content: str) -> Any:
    return lambda folder: (folder / "open_clip_config.json").write_text(content)


WRONG: dict[str, tuple[Any, str]] = {
    "no weights": (_no_weights, "holds no weights"),
    "two files": (_two_files, r"several files of weights \(a\.pt, b\.pt\)"),
    "no config": (_no_config, r"open_clip_model\.safetensors' belong to: add --clip_architecture"),
    "half a config": (_config("{"), r"open_clip_config\.json' cannot be read"),
    "a list": (_config("[]"), "holds no names and values"),
    "another model": (_config('{"model_cfg": {"embed_dim": 3}}'), "describes no image-text model"),
    "a ResNet": (
        _config('{"model_cfg": {"embed_dim": 3, "vision_cfg": {"layers": [1, 2]}, "text_cfg": {}}}'),
        "image tower that is not supported",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_folder_that_is_none_is_one_sentence(kind: str, model: Any, tmp_path: Path) -> None:
    spoil, said = WRONG[kind]
    folder = _write(tmp_path / "my-clip", model)
    spoil(folder)
    with pytest.raises(UserError, match=said):
        load_encoder(None, folder, device="cpu")


@pytest.mark.parametrize(
    ("architecture", "pretrained", "said"),
    [
        (None, "local-dir:nowhere", "Folder 'nowhere' does not exist"),
        (None, "hf-hub:a/b/c", "names no repository of the hub: write hf-hub:org/name"),
        (None, "hf-hub:", "names no repository of the hub"),
        ("hf-hub:a/b", "openai", "holds weights of its own: leave 'openai' out"),
        (None, "somebody/tiny", r"add --clip_architecture \(for a repository of the hub, write hf-hub:somebody/tiny\)"),
        ("ViT-B/16", "laion9", "neither a file nor a tag of 'ViT-B-16'"),
    ],
)
def test_places_that_are_none(architecture: str | None, pretrained: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_clip(architecture, pretrained)
