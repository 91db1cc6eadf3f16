"""Files that somebody else made: damaged, of another kind, or meant to do harm. One sentence each; nothing runs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import TextRegionSegmenter as demo
from textregion import UserError, cli, load_encoder, load_sam2
from textregion.checkpoints import hub
from textregion.encoders import supported_architectures
from utils.pictures import read_queries

from .conftest import WEIGHTS
from .test_encoders import RunsCode

SAM2, CONFIG = WEIGHTS / "sam2_tiny.safetensors", WEIGHTS / "sam2_tiny.yaml"
ARCHITECTURE = "tiny-hostile-test"


@pytest.fixture(scope="module", autouse=True)
def _architecture(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An architecture among open_clip's that is built in no time."""
    tower = {"width": 8, "layers": 1}
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "head_width": 8, **tower},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "heads": 1, **tower},
    }
    path = tmp_path_factory.mktemp("open_clip") / f"{ARCHITECTURE}.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    supported_architectures.cache_clear()


def _load_clip(path: Path) -> object:
    return load_encoder(ARCHITECTURE, str(path), device="cpu")


def _load_sam2(path: Path) -> object:
    return load_sam2(path, CONFIG, "cpu")


LOADERS: dict[str, Callable[[Path], object]] = {"clip": _load_clip, "sam2": _load_sam2}


def _state(model: str) -> dict[str, torch.Tensor]:
    return load_file(SAM2) if model == "sam2" else dict(open_clip.create_model(ARCHITECTURE).state_dict())


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut_torch(path: Path, bait: RunsCode, model: str) -> None:
    torch.save(_state(model), path)
    _cut(path)


def _cut_safetensors(path: Path, bait: RunsCode, model: str) -> None:
    save_file(_state(model), path)
    _cut(path)


def _of_another_model(path: Path, bait: RunsCode, model: str) -> None:
    save_file(_state("clip" if model == "sam2" else "sam2"), path)


def _in_a_zip(path: Path, bait: RunsCode, model: str) -> None:
    torch.save({**_state(model), "more": bait}, path)


def _in_the_legacy_format(path: Path, bait: RunsCode, model: str) -> None:
    torch.save({"model": bait}, path, _use_new_zipfile_serialization=False)


def _in_a_tar(path: Path, bait: RunsCode, model: str) -> None:
    with tarfile.open(path, "w") as archive:
        for name, parts in {"storages": [0, []], "tensors": [0], "pickle": [bait]}.items():
            content = b"".join(pickle.dumps(part, protocol=2) for part in parts)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _bare(path: Path, bait: RunsCode, model: str) -> None:
    path.write_bytes(pickle.dumps({"state_dict": bait}, protocol=2))


def _in_an_array(path: Path, bait: RunsCode, model: str) -> None:
    np.save(path, np.array([bait], dtype=object), allow_pickle=True)


def _holding(content: object) -> Callable[[Path, RunsCode, str], None]:
    return lambda path, bait, model: torch.save(content, path)


MADE: dict[str, Callable[[Path, RunsCode, str], None]] = {
    "cut.pt": _cut_torch,
    "cut.bin": _cut_torch,
    "cut.safetensors": _cut_safetensors,
    "other.safetensors": _of_another_model,
    "empty.pt": lambda path, bait, model: path.touch(),
    "text.pt": lambda path, bait, model: path.write_text("no model") and None,
    "folder.pt": lambda path, bait, model: path.mkdir(),
    "nothing.pt": _holding({}),
    "list.pt": _holding([1, 2]),
    "numbers.pt": _holding({"model": {"weight": 3}}),
    "unnamed.pt": _holding({1: torch.zeros(2)}),
    "zip.pt": _in_a_zip,
    "zip.bin": _in_a_zip,
    "legacy.pt": _in_the_legacy_format,
    "tar.pt": _in_a_tar,
    "bare.pt": _bare,
    "array.npy": _in_an_array,
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("model", LOADERS)
def test_a_bad_checkpoint_is_one_sentence_and_runs_nothing(model: str, name: str, tmp_path: Path) -> None:
    path, mark = tmp_path / name, tmp_path / "ran"
    MADE[name](path, RunsCode(mark), model)
    with pytest.raises(UserError) as caught:
        LOADERS[model](path)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)  # no advice to read it nevertheless
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Python 3.14 will")
@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "tar.pt", "bare.pt"])
def test_the_bait_is_one(name: str, tmp_path: Path) -> None:
    path, mark = tmp_path / name, tmp_path / "ran"
    MADE[name](path, RunsCode(mark), "sam2")
    with contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("model", LOADERS)
def test_a_checksum_beside_the_file_is_checked(model: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_file(_state(model), path)
    beside = tmp_path / "tiny.safetensors.sha256"
    beside.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest().upper()}  tiny.safetensors\n")
    LOADERS[model](path)
    for wrong in (b"0" * 64, b"", b"\xff\xfe\x00"):
        beside.write_bytes(wrong)
        with pytest.raises(UserError, match=r"does not match tiny\.safetensors\.sha256"):
            LOADERS[model](path)


def test_a_tag_goes_before_a_file_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "why_unreachable", lambda: "There is no network")
    Path("openai").write_text("no model")
    with pytest.raises(UserError, match=r"^There is no network, .* of timm/vit_base_patch32"):
        load_encoder("ViT-B-32", "openai", device="cpu")


_BASE = yaml.safe_load(CONFIG.read_text())["model"]


def _changed(**fields: object) -> str:
    return json.dumps({"model": {**_BASE, **fields}})


def _with_trunk(**fields: object) -> str:
    encoder = _BASE["image_encoder"]
    return _changed(image_encoder={**encoder, "trunk": {**encoder["trunk"], **fields}})


CONFIGS = {
    "a tag that calls": ("model: !!python/object/apply:os.mkdir ['MARK']", "cannot be read"),
    "a tag that does not fit": ("model: !!timestamp later", "cannot be read"),
    "brackets without end": ("[" * 5000, "cannot be read"),
    "half a mapping": ("{", "cannot be read"),
    "no text": ("\x00\x01", "cannot be read"),
    "a list": ("model: [1, 2]", "no 'model' section"),
    "an empty file": ("", "no 'model' section"),
    "no arguments": ("model: {_target_: sam2.modeling.sam2_base.SAM2Base}", "describes no model"),
    "an unknown field": (_changed(no_such_field=1), "describes no model.*no_such_field"),
    "another module": (json.dumps({"model": _BASE["image_encoder"]["neck"]}), "describes no SAM 2 but FpnNeck"),
    "a class from elsewhere": ("model: {_target_: os.mkdir, path: MARK}", "names 'os.mkdir'"),
    "a class from elsewhere, deep": (_with_trunk(stem={"_target_": "os.mkdir", "path": "MARK"}), "names 'os.mkdir'"),
    "what a module imports": (
        "model: {_target_: sam2.modeling.sam2_base.torch.os.mkdir, path: MARK}",
        "names 'sam2.modeling.sam2_base.torch.os.mkdir'",
    ),
    "a function": ("model: {_target_: sam2.modeling.sam2_utils.get_activation_fn, activation: relu}", "only classes"),
    "a class that is not there": ("model: {_target_: sam2.modeling.nothing.Here}", "only classes of sam2.modeling"),
    "an interpolation that makes a section": (
        _changed(image_encoder="${oc.create:{_target_:os.mkdir,path:MARK}}"),
        "holds the interpolation",
    ),
    "an escaped one": (_changed(image_encoder="\\${oc.create:{_target_:os.mkdir,path:MARK}}"), "the interpolation"),
    "weights of its own": (_with_trunk(weights_path="BAIT"), "names the weights"),
    "arguments without names": (_with_trunk(_args_=[16, "BAIT"]), "has the field '_args_'"),
    "half a call": (_changed(_partial_=True), "has the field '_partial_'"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_bad_config_is_one_sentence_and_runs_nothing(kind: str, tmp_path: Path) -> None:
    content, said = CONFIGS[kind]
    path, mark, bait = tmp_path / "mine.yaml", tmp_path / "ran", tmp_path / "bait.pt"
    _bare(bait, RunsCode(mark), "sam2")
    path.write_text(content.replace("MARK", str(mark)).replace("BAIT", str(bait)))
    with pytest.raises(UserError, match=said) as caught:
        load_sam2(SAM2, path, "cpu")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        "a.png: !!python/object/apply:os.mkdir ['MARK']",
        "!!python/object/new:os.system ['mkdir MARK']",
        "a.png: {label: [!!timestamp later]}",
        "a.png: {label: [!!bool perhaps]}",
        "a.png: {label: [2024-13-45]}",
        "a.png: {label: " + "[" * 5000,
        "a.png: {labels: [dog]}",
        "- a.png",
        "\x00",
    ],
)
def test_a_bad_query_file_is_one_sentence_and_runs_nothing(content: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "words.yaml", tmp_path / "ran"
    path.write_text(content.replace("MARK", str(mark)))
    with pytest.raises(UserError, match=r"words\.yaml"):
        read_queries(path, tmp_path)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--sam2_checkpoint BAIT --model_cfg CONFIG", "bait.pt"),
        ("--sam2_checkpoint SAM2 --model_cfg MINE", "mine.yaml"),
        ("--sam2_checkpoint SAM2 --model_cfg CONFIG --clip_architecture TINY --clip_pretrained BAIT", "bait.pt"),
        ("--image_query_cfg MINE", "mine.yaml"),
    ],
)
def test_through_a_script_it_is_one_line_and_status_2(
    line: str, named: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mark, paths = tmp_path / "ran", {"SAM2": SAM2, "CONFIG": CONFIG, "TINY": ARCHITECTURE}
    paths |= {"BAIT": tmp_path / "bait.pt", "MINE": tmp_path / "mine.yaml", "PICTURE": tmp_path / "a.png"}
    _bare(paths["BAIT"], RunsCode(mark), "sam2")
    paths["MINE"].write_text(f"model: !!python/object/apply:os.mkdir ['{mark}']")
    Image.new("RGB", (40, 30)).save(paths["PICTURE"])
    words = f"--image_list PICTURE --labels dog --output_dir {tmp_path / 'out'} {line}".split()
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: demo.main([str(paths.get(word, word)) for word in words]))
    lines = capfd.readouterr().err.splitlines()
    assert end.value.code == 2
    assert len(lines) == 1 and lines[0].startswith("error: ") and named in lines[0]
    assert not mark.exists() and not (tmp_path / "out").exists()
