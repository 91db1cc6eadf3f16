"""OpenAI's own files: TorchScript archives and plain state dicts, and the activation that they want."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from textregion import Encoder, UserError, load_encoder
from textregion.encoders import sources
from textregion.encoders.published import architecture_of, openai_digest, openai_files, tag_of
from textregion.encoders.sources import find_clip
from textregion.weights import load_parts

from ..checkpoints.openai_format import TINY, OpenAIClip, save_archive
from ..conftest import WEIGHTS

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP in OpenAI's own form."""
    path = tmp_path_factory.mktemp("openai") / "renamed.pt"
    save_archive(OpenAIClip(), path)
    return path


def _text(encoder: Encoder) -> Tensor:
    return encoder.encode_text(encoder.tokenize(["a photo of a dog", "two cats"]))


def _expected(quick: bool) -> Tensor:
    """Text features of the same weights, rounded as the file has them, by open_clip's own."""
    model: Any = open_clip.CLIP(**TINY, quick_gelu=quick).eval()
    state = OpenAIClip().state_dict()
    for name in ("input_resolution", "context_length", "vocab_size"):
        state.pop(name)
    rounded = {
        name: value if any(part.startswith("ln_") for part in name.split(".")) else value.half().float()
        for name, value in state.items()
    }
    model.load_state_dict(rounded)
    tokens = open_clip.SimpleTokenizer(context_length=77)(["a photo of a dog", "two cats"])
    with torch.no_grad():
        features: Tensor = model.encode_text(tokens, normalize=True)
    return features


def test_an_archive_runs_with_quickgelu_whatever_it_is_called(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert (_expected(True) - _expected(False)).abs().max() > 1e-4
    encoder = load_encoder("tiny-clip", archive, device="cpu")
    torch.testing.assert_close(_text(encoder), _expected(True), atol=1e-6, rtol=0)
    assert encoder.weights_origin == "openai"
    assert caplog.text == ""
    named = load_encoder("tiny-clip-quickgelu", archive, device="cpu")
    assert named.name == encoder.name


@pytest.mark.parametrize("numbers", [torch.tensor, int], ids=["tensors", "numbers"])
def test_a_plain_state_dict_with_the_three_numbers_is_openais_too(numbers: Any, tmp_path: Path) -> None:
    state: dict[str, Any] = dict(OpenAIClip().half().state_dict())
    state |= {"input_resolution": numbers(32), "context_length": numbers(77), "vocab_size": numbers(49408)}
    torch.save(state, tmp_path / "mine.pt")
    encoder = load_encoder("tiny-clip", tmp_path / "mine.pt", device="cpu")
    assert encoder.weights_origin == "openai"
    torch.testing.assert_close(_text(encoder), _expected(True), atol=1e-2, rtol=0)


def test_their_values_stay_as_they_are_in_semantic_segmentation_whatever_the_file_is_called(
    archive: Path, tmp_path: Path
) -> None:
    _save_plain(tmp_path / "mine.pt")
    sam2 = {"sam2_checkpoint": WEIGHTS / "sam2_tiny.safetensors", "model_cfg": WEIGHTS / "sam2_tiny.yaml"}

    def normalises(path: Path, task: Any, **options: bool) -> bool:
        names = {"clip_architecture": "tiny-clip-quickgelu", "clip_pretrained": str(path), **sam2}
        return load_parts(**names, task=task, options=options, device="cpu").options.normalize_values

    assert [normalises(archive, task) for task in ("demo", "semantic", "referring")] == [True, False, True]
    assert normalises(archive, "semantic", normalize_values=True)
    assert normalises(tmp_path / "mine.pt", "semantic")


def _save_plain(path: Path) -> None:
    model = OpenAIClip()
    torch.save({k: v for k, v in model.state_dict().items() if k not in ("input_resolution", "context_length",
                                                                       "vocab_size")}, path)  # fmt: skip


def test_where_nothing_tells_one_sentence_names_both_architectures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _save_plain(tmp_path / "mine.pt")
    with caplog.at_level(logging.WARNING):
        gelu = load_encoder("tiny-clip", tmp_path / "mine.pt", device="cpu")
    (record,) = caplog.records
    assert "run as tiny-clip, with GELU" in record.getMessage()
    assert "--clip_architecture tiny-clip-quickgelu" in record.getMessage() and "\n" not in record.getMessage()
    caplog.clear()
    quick = load_encoder("tiny-clip-quickgelu", tmp_path / "mine.pt", device="cpu")
    assert caplog.text == ""
    assert gelu.name != quick.name
    assert (_text(gelu) - _text(quick)).abs().max() > 1e-4


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("form", ["open_clip", "transformers"])
def test_the_config_beside_a_file_tells_it(
    form: str, quick: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _save_plain(tmp_path / "mine.pt")
    if form == "open_clip":
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**TINY, "quick_gelu": quick}}))
    else:
        act = {"hidden_act": "quick_gelu" if quick else "gelu"}
        (tmp_path / "config.json").write_text(
            json.dumps({"model_type": "clip", "vision_config": act, "text_config": act})
        )
    encoder = load_encoder("tiny-clip", tmp_path / "mine.pt", device="cpu")
    other = load_encoder("tiny-clip-quickgelu", tmp_path / "mine.pt", device="cpu")
    assert (encoder.name == other.name) is quick
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("path", "architecture", "tag"),
    [
        ("ViT-B-16.pt", "ViT-B-16", "openai"),
        ("ViT-L-14-336px.pt", "ViT-L-14-336", "openai"),
        ("vit_base_patch16_clip_224.openai/open_clip_model.safetensors", "ViT-B-16", "openai"),
        (
            "models--timm--vit_base_patch16_clip_224.openai/snapshots/0a1/open_clip_model.safetensors",
            "ViT-B-16",
            "openai",
        ),
        ("models--laion--CLIP-ViT-H-14-laion2B-s32B-b79K/snapshots/0a1/x.bin", "ViT-H-14", "laion2b_s32b_b79k"),
        ("openai/vit_b_32-laion400m_e32-46683a32.pt", "ViT-B-32", "laion400m_e32"),
        ("epoch_30.pt", "ViT-B-16", None),
        ("openaiish.pt", "ViT-B-16", None),
    ],
)
def test_names_tell_whose_weights_they_are(path: str, architecture: str, tag: str | None) -> None:
    assert tag_of(Path("/somewhere") / path, architecture) == tag


def test_openais_file_names_tell_the_architecture() -> None:
    assert openai_files() == {
        "ViT-B-32.pt": "ViT-B-32", "ViT-B-16.pt": "ViT-B-16", "ViT-L-14.pt": "ViT-L-14",
        "ViT-L-14-336px.pt": "ViT-L-14-336",
    }  # fmt: skip
    assert architecture_of(Path("x/ViT-L-14-336px.pt")) == "ViT-L-14-336"
    assert architecture_of(Path("x/PE-Core-B16-224.pt")) == "PE-Core-B-16"
    assert architecture_of(Path("x/epoch_1.pt")) is None
    assert openai_digest("ViT-B-16").startswith("5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f")


def test_a_file_of_openais_name_needs_no_architecture(tmp_path: Path) -> None:
    (tmp_path / "ViT-B-16.pt").write_bytes(b"")
    source = find_clip(None, tmp_path / "ViT-B-16.pt")
    assert (source.label, source.tag, source.config["quick_gelu"]) == ("ViT-B-16", "openai", True)
    assert source.activation_stated and source.needs == ()
    (tmp_path / "epoch_1.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"epoch_1\.pt' belong to: add --clip_architecture"):
        find_clip(None, tmp_path / "epoch_1.pt")


def test_openais_file_in_the_download_folder_goes_before_any_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ViT-L-14-336px.pt"
    path.write_bytes(b"weights")
    source = find_clip(None, "openai", download_root=tmp_path)
    assert (source.weights, source.needs, source.config["quick_gelu"]) == (path, (), True)
    assert "is not as OpenAI published it" in caplog.text
    caplog.clear()
    monkeypatch.setattr(sources, "sha256", lambda path: openai_digest("ViT-L-14-336"))
    assert find_clip("ViT-L/14@336px", "openai", download_root=tmp_path).weights == path
    assert find_clip("ViT-L-14-336-quickgelu", "openai", download_root=tmp_path).weights == path
    assert caplog.text == ""
    other = find_clip("ViT-B/16", "openai", download_root=tmp_path)
    assert other.weights is None and other.needs[0].repository == "timm/vit_base_patch16_clip_224.openai"


def test_the_folder_of_openais_own_package_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".cache" / "clip"
    folder.mkdir(parents=True)
    (folder / "ViT-B-16.pt").write_bytes(b"weights")
    assert find_clip("ViT-B/16", "openai").weights == folder / "ViT-B-16.pt"


def test_the_whole_way_from_the_download_folder(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(archive, tmp_path / "ViT-B-16.pt")
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(TINY, quick_gelu=False))
    encoder = load_encoder("ViT-B/16", "openai", cache_dir=tmp_path, device="cpu")
    torch.testing.assert_close(_text(encoder), _expected(True), atol=1e-6, rtol=0)
    assert encoder.weights_origin == "openai"
