"""Tokenizers beside the weights, named, or in a cache that holds tokenizer.json alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from textregion import UserError, load_encoder
from textregion.checkpoints import hub
from textregion.encoders.models import build_model
from textregion.encoders.sources import find_clip
from textregion.encoders.tokenizers import load_tokenizer

from .conftest import ARCHITECTURES

SIGLIP_TEXT: Any = ARCHITECTURES["tiny-siglip"]["text_cfg"]
WORDS = ["<pad>", "<eos>", "<bos>", "<unk>", "a", "photo", "of", "dog", "cat"]


def _vocabulary(ends: str = "$A <eos>") -> Tokenizer:
    vocabulary = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    vocabulary.normalizer = normalizers.Lowercase()
    vocabulary.pre_tokenizer = pre_tokenizers.Whitespace()
    vocabulary.post_processor = processors.TemplateProcessing(single=ends, special_tokens=[("<eos>", 1), ("<bos>", 2)])
    return vocabulary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer.json, and nothing else."""
    path = tmp_path / "tokenizer"
    path.mkdir()
    _vocabulary().save(str(path / "tokenizer.json"))
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A tiny SigLIP2 in a file."""
    path = tmp_path / "weights" / "epoch_3.pt"
    path.parent.mkdir()
    torch.manual_seed(0)
    torch.save(build_model(ARCHITECTURES["tiny-siglip"]).state_dict(), path)
    return path


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, with nothing in it."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(cache))
    return cache


TEXTS = ["A photo of a DOG.", "", "cat " * 40]
IDS = [[4, 5, 6, 4, 7, 1] + [0] * 10, [1] + [0] * 15, [8] * 15 + [1]]


def test_a_tokenizer_json_alone_is_enough(folder: Path) -> None:
    assert load_tokenizer(SIGLIP_TEXT, folder)(TEXTS).tolist() == IDS


def test_it_gives_what_transformers_gives(folder: Path) -> None:
    theirs = PreTrainedTokenizerFast(tokenizer_object=_vocabulary(), pad_token="<pad>")
    clean = open_clip.tokenizer.get_clean_fn("canonicalize")
    expected = theirs(
        [clean(text) for text in TEXTS], max_length=16, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    assert torch.equal(load_tokenizer(SIGLIP_TEXT, folder)(TEXTS), expected)


def test_what_the_config_beside_it_says_goes_first(folder: Path) -> None:
    config = {"pad_token": {"content": "<unk>"}, "eos_token": "<eos>", "bos_token": "<bos>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_tokenizer(SIGLIP_TEXT, folder)(["dog"]).tolist() == [[7, 1] + [3] * 14]
    config |= {"add_bos_token": True, "add_eos_token": False, "pad_token": "<pad>", "padding_side": "left"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_tokenizer(SIGLIP_TEXT, folder)(["dog"]).tolist() == [[0] * 14 + [2, 7]]


def test_the_first_siglips_fill_up_with_their_end(tmp_path: Path) -> None:
    vocabulary = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "dog": 2, "<unk>": 3}, unk_token="<unk>"))
    vocabulary.save(str(tmp_path / "tokenizer.json"))
    for name, filled in {"timm/ViT-B-16-SigLIP": 1, "timm/ViT-B-16-SigLIP2": 0}.items():
        config = {"context_length": 4, "hf_tokenizer_name": name}
        assert load_tokenizer(config, tmp_path)(["dog"]).tolist() == [[2, *[filled] * 3]]


def test_a_tokenizer_beside_the_weights_is_used(folder: Path, weights: Path, empty_cache: Path) -> None:
    (folder / "tokenizer.json").rename(weights.parent / "tokenizer.json")
    encoder = load_encoder("tiny-siglip", weights, device="cpu")
    assert encoder.tokenize(["a dog"]).tolist() == [[4, 7, 1] + [0] * 13]
    assert encoder.encode_text(encoder.tokenize(["a dog"])).shape == (1, 32)


def test_a_tokenizer_that_is_named_is_used(folder: Path, weights: Path, empty_cache: Path) -> None:
    _vocabulary("<bos> $A").save(str(weights.parent / "tokenizer.json"))
    named = load_encoder("tiny-siglip", weights, tokenizer=folder, device="cpu")
    assert named.tokenize(["dog"]).tolist() == [[7, 1] + [0] * 14]
    assert named.name != load_encoder("tiny-siglip", weights, device="cpu").name


@pytest.mark.parametrize("with_refs", [True, False])
def test_a_cached_tokenizer_is_used_by_its_repository(
    with_refs: bool, folder: Path, weights: Path, empty_cache: Path
) -> None:
    for repository in ("somebody--Tiny-SigLIP2", "another--tokenizer"):
        snapshot = empty_cache / f"models--{repository}" / "snapshots" / "0a1b2c"
        snapshot.mkdir(parents=True)
        (snapshot / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
        if with_refs:
            (snapshot.parents[1] / "refs").mkdir()
            (snapshot.parents[1] / "refs" / "main").write_text("0a1b2c")
    source = find_clip("tiny-siglip", weights)
    assert source.needs == () and source.tokenizer is not None and source.tokenizer.name == "0a1b2c"
    other = find_clip("tiny-siglip", weights, tokenizer="another/tokenizer")
    assert other.tokenizer is not None and "another--tokenizer" in str(other.tokenizer)
    assert load_encoder("tiny-siglip", weights, device="cpu").tokenize(["dog"])[0, :2].tolist() == [7, 1]


def test_a_missing_tokenizer_is_needed_by_the_name_of_its_repository(weights: Path, empty_cache: Path) -> None:
    needs = [need for need in find_clip("tiny-siglip", weights).needs if not need.optional]
    assert [str(need) for need in needs] == ["tokenizer.json of somebody/Tiny-SigLIP2 (about 34 MB)"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere", "neither a folder nor a repository of the hub"),
        ("FOLDER", "holds no tokenizer: give one with a tokenizer.json"),
    ],
)
def test_a_tokenizer_that_is_none_is_named(given: str, said: str, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        find_clip("tiny-siglip", weights, tokenizer=str(tmp_path) if given == "FOLDER" else given)


@pytest.mark.parametrize("content", [b"{", b"{}", b"\xff"])
def test_a_damaged_tokenizer_is_one_sentence(content: bytes, weights: Path) -> None:
    (weights.parent / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match=r"The tokenizer in .* cannot be read .*--tokenizer"):
        load_encoder("tiny-siglip", weights, device="cpu")


def test_clips_own_vocabulary_needs_no_file(tmp_path: Path, folder: Path) -> None:
    (folder / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    torch.save(build_model(ARCHITECTURES["tiny-clip"]).state_dict(), tmp_path / "ViT-x.openai.pt")
    source = find_clip("tiny-clip", tmp_path / "ViT-x.openai.pt")
    assert source.tokenizer is None  # repositories of CLIP hold another form of the same vocabulary
    assert find_clip("tiny-clip", tmp_path / "ViT-x.openai.pt", tokenizer=tmp_path).tokenizer == tmp_path
