"""Words through the prompt ensemble, the cache, and class files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from safetensors.torch import load_file, save_file
from torch import Tensor

from textregion import Encoder, UserError
from textregion.runtime import Precision
from textregion.templates import IMAGENET, load_templates
from textregion.text import TextBank


class CountingEncoder:
    """Counts the texts that reach the text tower."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self.embed_dim = encoder.embed_dim
        self.device = encoder.device
        self.encoded = 0

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return self.encoder.tokenize(texts)

    def encode_text(self, tokens: Tensor) -> Tensor:
        self.encoded += len(tokens)
        return self.encoder.encode_text(tokens)


@pytest.fixture
def counting(clip_encoder: Encoder) -> CountingEncoder:
    return CountingEncoder(clip_encoder)


def test_a_word_is_the_normalised_mean_of_its_templates(clip_encoder: Encoder) -> None:
    texts = [template("red circle") for template in OPENAI_IMAGENET_TEMPLATES]
    assert len(texts) == 80
    features = clip_encoder.encode_text(clip_encoder.tokenize(texts))
    own = TextBank(clip_encoder).encode(["red circle"])[0]
    torch.testing.assert_close(own, F.normalize(features.mean(0), dim=0))


def test_each_word_is_encoded_once_and_batches_equal_one_by_one(counting: CountingEncoder) -> None:
    words = ["dog", "tree", "dog", "car", "boat", "sun", "cup"]
    bank = TextBank(counting)  # type: ignore[arg-type]
    together = bank.encode(words)
    assert counting.encoded == 6 * 80
    assert torch.equal(bank.encode(["cup", "dog"]), together[[6, 0]])
    assert counting.encoded == 6 * 80
    alone = torch.cat([TextBank(counting).encode([word]) for word in words])  # type: ignore[arg-type]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)


def test_the_cache_on_disk_serves_a_second_run_and_mends_itself(counting: CountingEncoder, tmp_path: Path) -> None:
    first = TextBank(counting, tmp_path).encode(["dog", "tree"])  # type: ignore[arg-type]
    assert counting.encoded == 160
    assert torch.equal(TextBank(counting, tmp_path).encode(["tree", "dog"]), first[[1, 0]])  # type: ignore[arg-type]
    assert counting.encoded == 160
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:20])
    again = TextBank(counting, tmp_path).encode(["dog", "tree"])  # type: ignore[arg-type]
    torch.testing.assert_close(again, first)
    assert counting.encoded == 240
    counting.name = "another model"
    TextBank(counting, tmp_path).encode(["dog"])  # type: ignore[arg-type]
    assert counting.encoded == 320


def test_a_cached_word_serves_its_own_precision_alone(counting: CountingEncoder, tmp_path: Path) -> None:
    def encode(precision: Precision) -> Tensor:
        return TextBank(counting, tmp_path, precision).encode(["dog"])  # type: ignore[arg-type]

    precise = encode(Precision())
    rounded = encode(Precision("bf16"))
    assert counting.encoded == 160
    assert not torch.equal(precise, rounded)
    assert torch.equal(encode(Precision()), precise)
    assert torch.equal(encode(Precision("bf16")), rounded)
    assert counting.encoded == 160


def test_templates_are_the_callers_and_each_has_words_of_its_own_in_the_cache(
    counting: CountingEncoder, clip_encoder: Encoder, tmp_path: Path
) -> None:
    mine = load_templates(["a {}", "the {}, large"])
    banks = {
        texts: TextBank(counting, tmp_path, templates=templates)  # type: ignore[arg-type]
        for texts, templates in ((1, load_templates("none")), (7, load_templates("simple")), (2, mine), (80, IMAGENET))
    }
    found = {texts: bank.encode(["red truck", "dog"]) for texts, bank in banks.items()}
    assert counting.encoded == 2 * (1 + 7 + 2 + 80)
    bare = clip_encoder.encode_text(clip_encoder.tokenize(["red truck", "dog"]))
    torch.testing.assert_close(found[1], bare, atol=1e-6, rtol=0)
    features = clip_encoder.encode_text(clip_encoder.tokenize(["a dog", "the dog, large"]))
    torch.testing.assert_close(found[2][1], F.normalize(features.mean(0), dim=0))
    for texts, bank in banks.items():
        again = TextBank(counting, tmp_path, templates=bank.templates)  # type: ignore[arg-type]
        assert torch.equal(again.encode(["dog"])[0], found[texts][1])
    assert counting.encoded == 2 * (1 + 7 + 2 + 80)
    torch.testing.assert_close(TextBank(clip_encoder).encode(["dog"])[0], found[80][1])


@pytest.mark.parametrize("kind", ["NaN", "twice as long", "of 64 bits", "of 16 bits", "in a row", "of another name"])
def test_a_cached_word_that_no_run_made_is_made_again(
    kind: str, counting: CountingEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = TextBank(counting, tmp_path).encode(["dog"])  # type: ignore[arg-type]
    (path,) = tmp_path.iterdir()
    name = "other" if kind == "of another name" else "embedding"
    made = {"NaN": sound[0] * float("nan"), "twice as long": sound[0] * 2, "of 64 bits": sound[0].double()}
    made |= {"of 16 bits": sound[0].half(), "in a row": sound.clone(), "of another name": sound[0]}
    save_file({name: made[kind].contiguous()}, path)
    assert torch.equal(TextBank(counting, tmp_path).encode(["dog"]), sound)  # type: ignore[arg-type]
    assert "is damaged and is made again" in caplog.text
    assert counting.encoded == 160
    assert torch.equal(load_file(path)["embedding"], sound[0])


def test_a_cache_that_cannot_be_written_is_one_warning(
    clip_encoder: Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("")
    plain = TextBank(clip_encoder).encode(["dog", "tree"])
    assert torch.equal(TextBank(clip_encoder, tmp_path / "taken").encode(["dog", "tree"]), plain)
    assert [record.message for record in caplog.records if "are not kept" in record.message] == caplog.messages
    assert len(caplog.messages) == 1


def test_a_long_text_is_cut_off_with_a_warning(clip_encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    bank = TextBank(clip_encoder)
    with caplog.at_level(logging.WARNING, "textregion.text"):
        bank.encode(["dog"])
        assert not caplog.records
        long = bank.encode(["dog " * 2000])
    assert long.shape == (1, 64)
    assert "longer than the model's context" in caplog.text


@pytest.mark.parametrize(
    "words",
    [[], [""], ["dog", "  \n"], "dog", "", [3], ["dog", None], [b"dog"], b"dog", {"dog", "cat"}, {"dog": 1}, 3, None],
    ids=repr,
)
def test_what_is_no_list_of_words_is_refused(clip_encoder: Encoder, words: Any) -> None:
    with pytest.raises(UserError, match="word") as caught:
        TextBank(clip_encoder).encode(words)
    assert "\n" not in str(caught.value)


def test_any_other_text_gives_a_unit_embedding(clip_encoder: Encoder) -> None:
    words = ["🐶", "שלום עולם", "\x07bell", "名前", "a\nb", "'quoted'", "ﬁ"]
    embeddings = TextBank(clip_encoder).encode(words)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(len(words)))
