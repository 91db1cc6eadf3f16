"""Regions as COCO annotations, and as the readers of others see them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from skimage import data

from textregion import RegionMasks, RegionTokens, TextRegionSegmenter, coco, export


def decoded(segmentation: dict[str, Any]) -> np.ndarray:
    return np.asarray(coco_mask.decode(segmentation)).astype(bool)


def regions_of(masks: torch.Tensor) -> RegionTokens:
    """Regions with masks (R, H, W) in a picture of that size."""
    size = (masks.shape[1], masks.shape[2])
    return RegionTokens(torch.eye(len(masks)), RegionMasks.from_masks(masks), size, size)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
def test_rle_is_the_mask(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) > 0.5
    rle = json.loads(json.dumps(coco.encode_rle(mask)))
    assert rle["size"] == [height, width]
    np.testing.assert_array_equal(decoded(rle), mask)


def test_rle_counts_column_by_column_from_zeros() -> None:
    # 0 1 / 1 1 read down the columns is 0 1 1 1: one zero, three ones; COCO's alphabet starts at "0".
    assert coco.encode_rle(np.array([[False, True], [True, True]]))["counts"] == "13"


def three_masks() -> torch.Tensor:
    masks = torch.zeros(3, 4, 6)
    masks[0, 1:3, 2:5] = 1
    masks[2, :, 0] = 0.25  # soft, yet above 0; the second is empty
    return masks


def test_annotations_by_hand() -> None:
    scores = torch.tensor([[0.1, 0.7], [0.3, 0.2], [-0.5, -0.6]])
    first, last = regions_of(three_masks()).to_coco(
        scores, ["cup", "red cup"], image_id=9, first_id=20, category_ids=[4, 2]
    )
    assert first == {
        "id": 20,
        "image_id": 9,
        "category_id": 2,
        "segmentation": {"size": [4, 6], "counts": first["segmentation"]["counts"]},
        "area": 6,
        "bbox": [2, 1, 3, 2],
        "iscrowd": 0,
        "score": pytest.approx(0.7),
        "predicted_iou": 1.0,
        "region": 0,
        "word": "red cup",
    }
    np.testing.assert_array_equal(decoded(first["segmentation"]), three_masks()[0] > 0)
    assert (last["id"], last["region"], last["word"], last["category_id"]) == (21, 2, "cup", 4)
    assert (last["area"], last["bbox"], last["score"]) == (4, [0, 0, 1, 4], -0.5)


def test_without_words_every_region_is_of_one_category() -> None:
    regions = regions_of(three_masks())
    for found in regions.to_coco():
        assert (found["category_id"], found["score"]) == (1, found["predicted_iou"])
        assert "word" not in found
    best = [found["category_id"] for found in regions.to_coco(torch.tensor([[1.0, 2], [1, 2], [2, 1]]))]
    assert best == [2, 1]  # scores of words that are not named
    assert regions[torch.tensor([], dtype=torch.int64)].to_coco() == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"words": ["cup"]}, "needs the scores"),
        ({"scores": torch.ones(2, 1)}, r"expected scores \(3, K\)"),
        ({"scores": torch.ones(3)}, r"expected scores \(3, K\)"),
        ({"scores": torch.ones(3, 0)}, r"expected scores \(3, K\)"),
        ({"scores": torch.ones(3, 2), "words": ["cup"]}, "expected 2 words"),
        ({"scores": torch.ones(3, 2), "category_ids": [1]}, "expected 2 category_ids"),
    ],
)
def test_columns_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        regions_of(three_masks()).to_coco(**given)


WORDS = (["dog", "собака", "a cat"], ["sky", "dog"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, segmenters: dict[str, TextRegionSegmenter]) -> Path:
    """A folder as datumaro wants it: two pictures of one name, and the COCO file of what was found in them."""
    folder = tmp_path_factory.mktemp("run")
    images, segmenter = folder / "images" / "default", segmenters["clip"]
    pictures = [images / "one" / "x.png", images / "two" / "x.png"]
    written = export.CocoRun(pictures, WORDS)
    for picture, content, words in zip(pictures, (data.astronaut()[::4, ::3], data.coffee()[::5, ::5]), WORDS):
        picture.parent.mkdir(parents=True)
        Image.fromarray(content).save(picture)
        regions = segmenter.encode(picture)
        found = written.annotations(picture, regions, segmenter.scores(regions, words), words)
        file = picture.with_suffix(".json")
        file.write_bytes(export.regions_json(found, regions.size_hw, words))
        written.add(picture, regions.size_hw, file)
        torch.save(torch.stack([regions.foreground(region) for region in range(len(regions))]), file.with_suffix(".pt"))
    (folder / "annotations").mkdir()
    written.write(folder / "annotations" / "instances_default.json")
    return folder


def masks_of(run: Path, image: str) -> np.ndarray:
    """(R, H, W) bool: the regions of a picture as the library has them, without the empty ones."""
    masks = torch.load(run / "images" / "default" / image.replace(".png", ".pt")).numpy()
    return np.asarray(masks[masks.any((1, 2))])


def test_pycocotools_reads_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = run / "annotations" / "instances_default.json"
    truth = COCO(file)
    assert sorted(truth.imgs) == [1, 2]
    assert {number: category["name"] for number, category in truth.cats.items()} == {
        1: "dog", 2: "собака", 3: "a cat", 4: "sky"
    }  # fmt: skip
    total = 0
    for image in truth.imgs.values():
        found = truth.loadAnns(truth.getAnnIds(imgIds=image["id"]))
        masks = masks_of(run, image["file_name"])
        assert len(found) == len(masks) > 0
        for annotation, mask in zip(found, masks):
            assert mask.shape == (image["height"], image["width"])
            np.testing.assert_array_equal(truth.annToMask(annotation), mask)
            rows, cols = np.nonzero(mask)
            x, y, width, height = annotation["bbox"]
            assert (x, y, x + width - 1, y + height - 1) == (cols.min(), rows.min(), cols.max(), rows.max())
            assert annotation["area"] == mask.sum()
            assert truth.cats[annotation["category_id"]]["name"] == annotation["word"] in WORDS[image["id"] - 1]
        total += len(found)
    assert len(truth.anns) == total  # no id twice
    per_picture = [json.loads(path.read_text(encoding="utf-8"))["regions"] for path in sorted(run.rglob("x.json"))]
    for results in (per_picture[0] + per_picture[1], per_picture[1], truth.dataset["annotations"]):
        loaded = truth.loadRes(results)
        assert len(loaded.anns) == len(results)
        assert all(loaded.anns[one["id"]]["segmentation"] == one["segmentation"] for one in results)


def test_supervision_reads_a_run(run: Path) -> None:
    supervision = pytest.importorskip("supervision")
    images, file = run / "images" / "default", run / "annotations" / "instances_default.json"
    dataset = supervision.DetectionDataset.from_coco(str(images), str(file), force_masks=True)
    assert dataset.classes == ["dog", "собака", "a cat", "sky"]
    assert len(dataset) == 2
    truth = COCO(file)
    for path, picture, found in dataset:
        name = Path(path).relative_to(images).as_posix()
        np.testing.assert_array_equal(found.mask, masks_of(run, name))
        assert found.mask.shape[1:] == picture.shape[:2]
        annotations = [one for one in truth.anns.values() if truth.imgs[one["image_id"]]["file_name"] == name]
        assert [dataset.classes[index] for index in found.class_id] == [one["word"] for one in annotations]
        x, y, width, height = np.array([one["bbox"] for one in annotations]).T
        np.testing.assert_array_equal(found.xyxy, np.stack([x, y, x + width, y + height], axis=1))


READ_WITH_DATUMARO = """
import json, sys
import datumaro
dataset = datumaro.Dataset.import_from(sys.argv[1], "coco_instances")
labels = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
print("READ", json.dumps({
    item.id: {
        "size": list(item.media.data.shape[:2]),
        "masks": [
            [one.id, labels[one.label], int(one.image.sum()), [int(side) for side in one.get_bbox()],
             one.attributes["score"]]
            for one in sorted(item.annotations, key=lambda one: one.id) if one.type == datumaro.AnnotationType.mask
        ],
    }
    for item in dataset
}))
"""


def test_datumaro_reads_a_run(run: Path) -> None:
    python = os.environ.get("DATUMARO_PYTHON")
    if python is None:
        pytest.skip("datumaro wants an OpenCV and a Pillow of its own: .ci/datumaro runs this with both")
    command = [python, "-c", READ_WITH_DATUMARO, str(run)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    read = json.loads(printed.split("READ ", 1)[1])
    truth = COCO(run / "annotations" / "instances_default.json")
    assert len(read) == 2
    for image in truth.imgs.values():
        item = read[image["file_name"].removesuffix(".png")]
        assert item["size"] == [image["height"], image["width"]]
        assert item["masks"] == [
            [one["id"], one["word"], one["area"], one["bbox"], one["score"]]
            for one in truth.loadAnns(truth.getAnnIds(imgIds=image["id"]))
        ]
