"""python -m textregion.weights: what is there, what is missing, and a folder that another machine can use."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from textregion import UserError, load_encoder, load_sam2
from textregion.checkpoints import hub
from textregion.encoders.models import build_model
from textregion.weights import __main__ as weights_command
from textregion.weights import find_models
from textregion.weights.sources import fetch_models

from ..conftest import WEIGHTS
from ..encoders.conftest import ARCHITECTURES
from ..encoders.test_tokenizers import _vocabulary

SAM2 = ["--sam2_checkpoint", str(WEIGHTS / "sam2_tiny.safetensors"), "--model_cfg", str(WEIGHTS / "sam2_tiny.yaml")]
REAL = ["--clip_pretrained", "openai", "--sam2_checkpoint", "facebook/sam2.1-hiera-large"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a network that must not be asked."""
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(hub, "why_unreachable", lambda: pytest.fail("the network was asked"))
    return tmp_path / "hub"


def test_what_is_missing_is_shown_with_its_size(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights_command.main(REAL) == 0
    assert capsys.readouterr().out.splitlines() == [
        "missing  open_clip_model.safetensors of timm/vit_large_patch14_clip_336.openai (about 1.7 GB)",
        "missing  sam2.1_hiera_large.pt of facebook/sam2.1-hiera-large (about 898 MB)",
        "To download: about 2.6 GB, with --download.",
    ]
    assert weights_command.main([*REAL, "--check"]) == 1


def test_a_siglip_needs_its_tokenizer_too(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights_command.main(["--clip_architecture", "ViT-B-16-SigLIP2", *SAM2])
    out = capsys.readouterr().out
    assert "missing  tokenizer.json of timm/ViT-B-16-SigLIP2 (about 34 MB)" in out
    assert f"there    SAM 2: {WEIGHTS / 'sam2_tiny.safetensors'} (about " in out


def test_without_names_it_is_the_pair_for_photos(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights_command.main(["--device", "cpu", "--check"]) == 1
    out = capsys.readouterr().out
    assert "timm/vit_base_patch16_clip_224.openai (about 598 MB)" in out and "sam2.1_hiera_tiny.pt" in out
    assert weights_command.main(["--miniatures"]) == 0
    assert "nothing has to be downloaded" in capsys.readouterr().out


def test_download_fetches_all_of_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    got: list[str] = []

    def download(repository: str, filename: str, **where: Any) -> str:
        got.append(filename)
        path = cache / f"models--{repository.replace('/', '--')}" / "snapshots" / "0a1b" / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
        return str(path)

    monkeypatch.setattr(hub, "why_unreachable", lambda: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert weights_command.main([*REAL, "--download"]) == 0
    assert got == ["open_clip_model.safetensors", "sam2.1_hiera_large.pt"]
    assert "Nothing has to be downloaded." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ([*REAL, "--to", "x"], "2 files are missing: add --download"),
        ([*REAL, "--check", "--download"], "--check only looks"),
        (["--clip_pretrained", "laion9"], "add --clip_architecture"),
    ],
)
def test_mistakes(line: list[str], said: str, cache: Path) -> None:
    with pytest.raises(UserError, match=said):
        weights_command.main(line)


@pytest.fixture
def there(cache: Path, tmp_path: Path) -> Path:
    """A tiny SigLIP2 with its tokenizer."""
    folder = tmp_path / "there"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(build_model(ARCHITECTURES["tiny-siglip"]).state_dict(), folder / "mine.safetensors")
    _vocabulary().save(str(folder / "tokenizer.json"))
    return folder


def test_a_folder_to_carry_away_loads_by_the_options_that_are_printed(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--clip_architecture", "tiny-siglip", "--clip_pretrained", str(there / "mine.safetensors"), *SAM2]
    for _ in range(2):  # again does no harm
        assert weights_command.main([*line, "--to", str(tmp_path / "with blank")]) == 0
    printed = capsys.readouterr().out.splitlines()[-1].removeprefix("There, give: ")
    options = shlex.split(printed)
    names = dict(zip(options[::2], options[1::2]))
    assert names.keys() == {"--clip_pretrained", "--sam2_checkpoint", "--model_cfg"}
    carried = load_encoder(None, names["--clip_pretrained"], device="cpu")
    original = load_encoder("tiny-siglip", there / "mine.safetensors", device="cpu")
    assert carried.name == original.name
    load_sam2(names["--sam2_checkpoint"], names["--model_cfg"], "cpu")
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_snapshot_of_transformers_gets_a_name_that_tells_its_size(
    there: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = cache / "models--facebook--sam2.1-hiera-base-plus" / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    line = ["--clip_architecture", "tiny-siglip", "--clip_pretrained", str(there / "mine.safetensors")]
    line += ["--sam2_checkpoint", "facebook/sam2.1-hiera-base-plus", "--to", str(tmp_path / "away")]
    assert weights_command.main(line) == 0
    assert (tmp_path / "away" / "sam2.1_hiera_base_plus.safetensors").is_file()
    assert "--model_cfg" not in capsys.readouterr().out
    config = json.loads((tmp_path / "away" / "tiny-siglip" / "open_clip_config.json").read_text())
    assert config["model_cfg"]["embed_dim"] == 32


def test_what_was_given_is_looked_at_before_anything_is_downloaded(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "epoch_1.pt").write_bytes(b"no weights")
    sources = find_models("tiny-clip", str(tmp_path / "epoch_1.pt"), sam2_checkpoint="facebook/sam2.1-hiera-tiny")
    with pytest.raises(UserError, match=r"epoch_1\.pt' is damaged or none"):
        fetch_models(sources)
    sources = find_models("ViT-B/16", "openai", sam2_checkpoint=str(tmp_path / "epoch_1.pt"), model_cfg=SAM2[3])
    with pytest.raises(UserError, match=r"epoch_1\.pt' is damaged or none"):
        fetch_models(sources)


def test_a_run_without_network_lists_all_that_it_needs_and_loads_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from textregion import TextRegionSegmenter

    attempts: list[int] = []
    monkeypatch.setattr(hub, "why_unreachable", lambda: attempts.append(1) or "There is no network")
    refuse: Callable[..., Any] = lambda *args, **settings: pytest.fail("something was loaded")  # noqa: E731
    monkeypatch.setattr("textregion.weights.parts.load_sam2", refuse)
    monkeypatch.setattr("textregion.weights.parts.load_encoder", refuse)
    with pytest.raises(UserError, match=r"^There is no network, .*ViT-B-16-SigLIP2 .*tokenizer\.json .*sam2\.1_hiera"):
        TextRegionSegmenter.from_pretrained(clip_architecture="ViT-B-16-SigLIP2", device="cpu")
    assert attempts == [1]
