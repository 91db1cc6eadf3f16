"""Results read back by independent readers equal what was written."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from skimage import data

from textregion import RegionMasks, RegionTokens, TextRegionSegmenter, UserError, export
from textregion.visualize import word_colours


def decoded(segmentation: dict[str, object]) -> np.ndarray:
    return np.asarray(coco_mask.decode(segmentation)).astype(bool)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
def test_rle_is_the_mask(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) > 0.5
    rle = json.loads(json.dumps(export.encode_rle(mask)))
    assert rle["size"] == [height, width]
    np.testing.assert_array_equal(decoded(rle), mask)


def test_rle_counts_column_by_column_from_zeros() -> None:
    # 0 1 / 1 1 read down the columns is 0 1 1 1: one zero, three ones; COCO's alphabet starts at "0".
    assert export.encode_rle(np.array([[False, True], [True, True]]))["counts"] == "13"


def test_records_of_regions_by_hand() -> None:
    masks = torch.zeros(3, 4, 6)
    masks[0, 1:3, 2:5] = 1
    masks[1, :, 0] = 0.25  # soft, yet above 0
    regions = RegionTokens(torch.eye(3), RegionMasks.from_masks(masks), (4, 6), (4, 6))
    scores = torch.tensor([[0.1, 0.7], [0.3, 0.2], [-0.5, -0.6]])
    first, second, empty = export.region_records(regions, scores, ["cup", "red cup"])
    assert first["bbox"] == [2, 1, 3, 2]
    assert (first["area"], first["word"], first["word_index"]) == (6, "red cup", 1)
    assert first["word_score"] == pytest.approx(0.7)
    assert (second["bbox"], second["area"], second["word"]) == ([0, 0, 1, 4], 4, "cup")
    assert (empty["bbox"], empty["area"], empty["word"]) == ([0, 0, 0, 0], 0, "cup")
    assert first["score"] == 1.0


def test_json_of_an_encoded_picture(segmenters: dict[str, TextRegionSegmenter]) -> None:
    picture = data.astronaut()[::4, ::3].copy()
    segmenter, words = segmenters["clip"], ["dog", "собака", "a cat"]
    regions = segmenter.encode(picture)
    scores = segmenter.scores(regions, words)
    content = json.loads(export.regions_json(regions, scores, words, image="x.png").decode("utf-8"))
    assert (content["image"], content["size"], content["words"]) == ("x.png", list(picture.shape[:2]), words)
    assert len(content["regions"]) == len(regions) > 0
    for number, record in enumerate(content["regions"]):
        mask = regions.masks()[number].numpy() > 0
        np.testing.assert_array_equal(decoded(record["segmentation"]), mask)
        assert record["bbox"] == regions.boxes_xywh()[number].tolist()
        assert record["score"] == pytest.approx(float(regions.scores[number]), abs=1e-6)
        assert record["word"] == words[int(scores[number].argmax())]
        assert record["word_score"] == pytest.approx(float(scores[number].max()), abs=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5, 17, 256])
def test_label_map_holds_indices_and_the_words_colours(count: int) -> None:
    words = [f"word {number}" for number in range(count)]
    labels = torch.randint(0, count, (33, 47), generator=torch.Generator().manual_seed(count))
    labels[0, 0] = count - 1
    png = export.label_map_png(labels, word_colours(words))
    with Image.open(io.BytesIO(png)) as image:
        assert (image.mode, image.size) == ("P", (47, 33))
        np.testing.assert_array_equal(np.array(image), labels.numpy())
    in_colour = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))[:, :, ::-1]
    np.testing.assert_array_equal(in_colour, word_colours(words)[labels.numpy()])


def test_more_words_than_a_palette_holds_are_refused() -> None:
    with pytest.raises(UserError, match="at most 256 words, but there are 257"):
        export.label_map_png(torch.zeros(2, 2, dtype=torch.int64), np.zeros((257, 3), np.uint8))


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_bytes(b"old")
    export.write_files({first: b"new", second: b"two"})
    assert (first.read_bytes(), second.read_bytes()) == (b"new", b"two")
    with pytest.raises(UserError, match="cannot be written"):
        export.write_files({first: b"newer", tmp_path / "no folder" / "c.txt": b"three"})
    assert first.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]


def test_a_full_disk_is_told_with_the_results_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, content: bytes) -> int:
        if path.name.startswith(".b.txt"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(UserError) as caught:
        export.write_files({tmp_path / "a.txt": b"one", tmp_path / "b.txt": b"two"})
    assert str(caught.value) == f"Result {str(tmp_path / 'b.txt')!r} cannot be written: No space left on device."
    assert os.listdir(tmp_path) == []


def test_half_characters_are_escaped_in_json() -> None:
    regions = RegionTokens(torch.eye(1), RegionMasks.from_masks(torch.ones(1, 2, 2)), (2, 2), (2, 2))
    content = export.regions_json(regions, torch.ones(1, 1), ["名"], image="a\udcff🐶.png")
    assert json.loads(content.decode("utf-8"))["image"] == "a\udcff🐶.png"
    assert "名" in content.decode("utf-8")
