"""Converters of downloaded data sets: every mapping by hand; runs that are killed, repeated, spread over processes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from eval.prepare import (
    ade20k,
    ade20k_847,
    cityscapes,
    coco_object,
    coco_stuff,
    common,
    pascal_context,
    pascal_context_459,
    voc,
)
from eval.prepare.__main__ import DATASETS, main
from eval.prepare.common import CannotPrepare, MissingSource, Split
from tests.eval.test_label_maps import GREY, write_png
from textregion import UserError

CHECKOUT = Path(__file__).parents[2]
# Both ends of every run of COCO-Stuff's raw values, every value without a label, and the ignored one.
RAW = [0, 10, 11, 12, 24, 25, 26, 27, 28, 29, 30, 43, 44, 45, 64, 65, 66, 67, 68, 69, 70, 71, 81, 82, 83, 89, 90]
RAW += [91, 181, 182, 254, 255]
STUFF = [0, 10, 255, 11, 23, 255, 24, 25, 255, 255, 26, 39, 255, 40, 59, 255, 60, 255, 255, 61, 255, 62, 72, 255]
STUFF += [73, 79, 255, 80, 170, 255, 255, 255]
OBJECT = [1, 11, 0, 12, 24, 0, 25, 26, 0, 0, 27, 40, 0, 41, 60, 0, 61, 0, 0, 62, 0, 63, 73, 0]
OBJECT += [74, 80, 0, 0, 0, 0, 0, 0]
CITY_IDS = [list(range(17)), list(range(17, 34))]
CITY_TRAIN_IDS = [
    [255, 255, 255, 255, 255, 255, 255, 0, 1, 255, 255, 2, 3, 4, 255, 255, 255],
    [5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255, 255, 16, 17, 18],
]


def _write(path: Path, values: object, dtype: type = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, dtype=dtype)).save(path)


def _read(path: Path) -> list:
    with Image.open(path) as image:
        return np.asarray(image).tolist()


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _coco(root: Path, count: int = 1, split: str = "val2017") -> Path:
    """COCO-Stuff as downloaded: pictures and raw maps; returns the folder of the maps."""
    folder = root / "coco_stuff164k"
    for number in range(count):
        _write(folder / "annotations" / split / f"{number:012d}.png", np.roll([RAW], number, axis=1))
        _write(folder / "images" / split / f"{number:012d}.jpg", np.zeros((1, len(RAW), 3)))
    return folder / "annotations" / split


def _cityscapes(root: Path, split: str = "val", city: str = "aachen") -> Path:
    stem = f"{city}_000000_000019"
    _write(root / "cityscapes/leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", np.zeros((2, 17, 3)))
    path = root / "cityscapes/gtFine" / split / city / f"{stem}_gtFine_labelIds.png"
    _write(path, CITY_IDS)
    return path


def _polygon(label: str, x: int, width: int = 2) -> dict:
    return {"label": label, "polygon": [[x, 0], [x + width - 1, 0], [x + width - 1, 2], [x, 2]]}


def _segment(number: int, image_id: int, category: int, mask: list[list[int]]) -> dict:
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}
    return {"id": number, "image_id": image_id, "category_id": category, "segmentation": segmentation}


def _context(root: Path) -> Path:
    """Three pictures, out of order; the second segment of the first lies over a part of the first one."""
    folder = root / "VOCdevkit/VOC2010"
    names = {"2008_000007": "val", "2008_000002": "val", "2008_000008": "train", "2008_000001": "test"}
    images = [
        {"image_id": int(stem.replace("_", "")), "file_name": f"{stem}.jpg", "height": 2, "width": 3, "phase": phase}
        for stem, phase in names.items()
    ]
    segments = [
        _segment(9, 2008000002, 2, [[1, 1, 1], [0, 0, 0]]),
        _segment(1, 2008000002, 458, [[0, 1, 0], [0, 1, 0]]),
        _segment(5, 2008000008, 59, [[0, 0, 0], [1, 1, 1]]),
        _segment(6, 2008000001, 59, [[1, 1, 1], [1, 1, 1]]),
    ]
    for stem in names:
        _write(folder / "JPEGImages" / f"{stem}.jpg", np.zeros((2, 3, 3)))
    content = {"images": images, "annos_segmentation": segments}
    (folder / "trainval_merged.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _ade847(root: Path) -> Path:
    """Wall (2978), class 255, an index that is none of the 847, and nothing; one picture above the size limit."""
    folder = root / "ADE20K_2021_17_01"
    pictures = folder / "images/ADE/validation/urban/street"
    index_255 = int(np.flatnonzero(ade20k_847.labels_by_index() == 255)[0])
    indices = np.array([[2978, index_255, 1, 0]])
    segments = np.stack([indices // 256 * 10 + 3, indices % 256, np.full_like(indices, 77)], axis=-1)
    _write(pictures / "ADE_val_00000002.jpg", np.zeros((1, 4, 3)))
    _write(pictures / "ADE_val_00000002_seg.png", segments)
    _write(pictures / "ADE_val_00000001.jpg", np.zeros((600, 801, 3)))
    _write(pictures / "ADE_val_00000001_seg.png", np.broadcast_to(segments[0, 0], (600, 801, 3)))
    _write(folder / "images/ADE/training/urban/street/ADE_train_00000001.jpg", np.zeros((1, 4, 3)))
    return folder


def test_coco_stuff_values_by_hand(tmp_path: Path) -> None:
    folder = _coco(tmp_path)
    before = (folder / "000000000000.png").read_bytes()
    report = coco_stuff.convert(tmp_path, workers=1)
    assert _read(folder / "000000000000_labelTrainIds.png") == [STUFF]
    assert (folder / "000000000000.png").read_bytes() == before
    unknown = "[11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90, 182, 254]"
    assert report.lines() == [
        f"coco_stuff val2017: 1 labels (1 written, 0 there already) in {tmp_path / 'coco_stuff164k'}",
        "  warning: all of val2017 would be 5000 labels, but 1 are here",
        f"  warning: 1 labels: values that the data set does not define became 255: {unknown}",
    ]


@pytest.mark.parametrize("mode", ["1", "P", "I;16", "own EXIF"])
def test_raw_maps_of_any_depth_are_read_as_stored(mode: str, tmp_path: Path) -> None:
    values = np.array([[0, 1, 1], [1, 0, 1]] if mode == "1" else [[0, 12, 181], [255, 43, 11]])
    path = tmp_path / "raw.png"
    if mode == "own EXIF":
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(values.astype(np.uint8)[::-1, ::-1]).save(path, exif=exif)
    elif mode == "P":
        image = Image.fromarray(values.astype(np.uint8), mode="P")
        image.putpalette(list(range(255, -1, -1)) * 3)
        image.save(path)
    else:
        Image.fromarray(values.astype(bool if mode == "1" else np.uint16)).save(path)
    common.Relabelling(coco_stuff.TRAIN_IDS, other=255)(path, tmp_path / "made.png")
    expected = [[coco_stuff.TRAIN_IDS.get(value, 255) for value in row] for row in values.tolist()]
    assert _read(tmp_path / "made.png") == expected


def test_a_four_bit_map_is_read_as_stored(tmp_path: Path) -> None:
    values = np.array([[0, 15, 7], [14, 11, 1]])
    write_png(tmp_path / "raw.png", values, 4, GREY)
    remark = common.Relabelling(coco_stuff.TRAIN_IDS, other=255)(tmp_path / "raw.png", tmp_path / "made.png")
    assert _read(tmp_path / "made.png") == [[0, 14, 7], [13, 255, 1]]
    assert remark == "values that the data set does not define became 255: [11]"


def test_values_beyond_sixteen_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(tmp_path / "raw.tif")
    with pytest.raises(ValueError, match="holds 0 to 70000"):
        common.Relabelling({}, other=255)(tmp_path / "raw.tif", tmp_path / "made.png")


def test_coco_tables() -> None:
    assert sorted(coco_stuff.TRAIN_IDS.values()) == list(range(171))
    assert list(coco_stuff.TRAIN_IDS) == sorted(coco_stuff.TRAIN_IDS)
    assert sum(raw < 91 for raw in coco_stuff.TRAIN_IDS) == 80
    things = {label for raw, label in coco_object.LABELS.items() if raw < 91}
    assert things == set(range(1, 81))
    assert {label for raw, label in coco_object.LABELS.items() if raw >= 91} == {0}


def test_coco_splits_that_are_there(tmp_path: Path) -> None:
    _coco(tmp_path, split="train2017")
    report = coco_stuff.convert(tmp_path, workers=1)
    assert [split.name for split in report.splits] == ["train2017"]
    with pytest.raises(MissingSource, match="coco_object: no label map in "):
        coco_object.convert(tmp_path, workers=1)
    _coco(tmp_path)
    report = coco_stuff.convert(tmp_path, workers=1)
    assert [(split.name, split.written, split.kept) for split in report.splits] == [
        ("val2017", 1, 0),
        ("train2017", 0, 1),
    ]


def test_coco_object_by_hand_leaves_its_source_alone(tmp_path: Path) -> None:
    folder = _coco(tmp_path, count=2)
    coco_stuff.convert(tmp_path, workers=1)
    shutil.copy(folder / "000000000000_labelTrainIds.png", folder / "000000000000_instanceTrainIds.png")
    before = _files(tmp_path / "coco_stuff164k")
    report = coco_object.convert(tmp_path, workers=1)
    made = tmp_path / "coco_object/annotations/val2017"
    assert sorted(path.name for path in made.iterdir()) == [f"{n:012d}_instanceTrainIds.png" for n in range(2)]
    assert _read(made / "000000000000_instanceTrainIds.png") == [OBJECT]
    assert report.splits[0].written == 2
    assert _files(tmp_path / "coco_stuff164k") == before
    picture = tmp_path / "coco_object/images/val2017/000000000001.jpg"
    assert picture.samefile(tmp_path / "coco_stuff164k/images/val2017/000000000001.jpg")
    # And stuff does not count what was put beside its maps.
    assert coco_stuff.convert(tmp_path, workers=1).splits[0].count == 2


@pytest.mark.parametrize("symbolic", [True, False])
def test_coco_object_pictures_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, symbolic: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    if not symbolic:
        monkeypatch.setattr(Path, "symlink_to", refuse)
    _coco(tmp_path / "data")
    for _ in range(2):
        assert not coco_object.convert(tmp_path / "data", workers=1).warnings
    # The whole data root may be moved.
    root = (tmp_path / "data").rename(tmp_path / "moved")
    picture = root / "coco_object/images/val2017/000000000000.jpg"
    assert picture.is_symlink() == symbolic
    assert picture.read_bytes() == (root / "coco_stuff164k/images/val2017/000000000000.jpg").read_bytes()


def test_cityscapes_values_by_hand(tmp_path: Path) -> None:
    source = _cityscapes(tmp_path)
    _cityscapes(tmp_path, "train", "ulm")
    report = cityscapes.convert(tmp_path, workers=1)
    assert _read(source.with_name("aachen_000000_000019_gtFine_labelTrainIds.png")) == CITY_TRAIN_IDS
    assert [(split.name, split.expected, split.written) for split in report.splits] == [
        ("train", 2975, 1),
        ("val", 500, 1),
    ]
    assert report.warnings == () and not any(split.remarks for split in report.splits)
    assert sorted(set(cityscapes.TRAIN_IDS.values())) == [*range(19), 255]


def test_cityscapes_polygons_by_hand(tmp_path: Path) -> None:
    objects = [
        _polygon("road", 0, width=12),
        _polygon("cargroup", 2),
        _polygon("polegroup", 4),
        _polygon("license plate", 0),
        {**_polygon("sky", 0), "deleted": 1},
        _polygon("static", 6),
        _polygon("bicycle", 8),
        _polygon("rider", 9, width=1),
    ]
    folder = tmp_path / "cityscapes/gtFine/val/ulm"
    folder.mkdir(parents=True)
    content = json.dumps({"imgHeight": 4, "imgWidth": 14, "objects": objects})
    (folder / "ulm_000000_000000_gtFine_polygons.json").write_text(content, encoding="utf-8")
    report = cityscapes.convert(tmp_path, workers=1)
    row = [0, 0, 13, 13, 255, 255, 255, 255, 18, 12, 0, 0, 255, 255]
    made = folder / "ulm_000000_000000_gtFine_labelTrainIds.png"
    assert _read(made) == [row, row, row, [255] * 14]
    assert report.warnings == ("1 labels of val have no picture (the first: ulm_000000_000000)",)
    # Label ids come before polygons, and an unknown name is a failure of that label alone.
    made.unlink()
    _write(folder / "ulm_000000_000000_gtFine_labelIds.png", [[26]])
    bad = content.replace("bicycle", "unicycle")
    (folder / "ulm_000000_000001_gtFine_polygons.json").write_text(bad, encoding="utf-8")
    report = cityscapes.convert(tmp_path, workers=1)
    assert _read(made) == [[13]]
    assert report.splits[0].count == 1
    assert report.lines()[2].endswith("000001_gtFine_labelTrainIds.png: label 'unicycle' is none of Cityscapes'")


def test_pascal_context_by_hand(tmp_path: Path) -> None:
    folder = _context(tmp_path)
    report = pascal_context.convert(tmp_path, workers=1)
    labels = folder / "SegmentationClassContext"
    assert sorted(path.stem for path in labels.iterdir()) == ["2008_000002", "2008_000007", "2008_000008"]
    assert _read(labels / "2008_000002.png") == [[1, 59, 1], [0, 59, 0]]
    assert _read(labels / "2008_000007.png") == [[0, 0, 0], [0, 0, 0]]
    assert _read(labels / "2008_000008.png") == [[0, 0, 0], [14, 14, 14]]
    lists = folder / "ImageSets/SegmentationContext"
    assert (lists / "val.txt").read_text(encoding="utf-8") == "2008_000002\n2008_000007\n"
    assert (lists / "train.txt").read_text(encoding="utf-8") == "2008_000008\n"
    assert [(split.name, split.written) for split in report.splits] == [("train", 1), ("val", 2)]
    assert len(set(pascal_context.CATEGORY_IDS)) == 60
    assert list(pascal_context.CATEGORY_IDS) == sorted(pascal_context.CATEGORY_IDS)


def test_pascal_context_that_is_done_needs_no_annotations(tmp_path: Path) -> None:
    folder = _context(tmp_path)
    pascal_context.convert(tmp_path, workers=1)
    (folder / "trainval_merged.json").unlink()
    (folder / "JPEGImages/2008_000007.jpg").unlink()
    report = pascal_context.convert(tmp_path, workers=1)
    assert [(split.written, split.kept) for split in report.splits] == [(0, 1), (0, 2)]
    assert report.warnings == ("1 labels have no picture in JPEGImages (the first: 2008_000007)",)
    (folder / "SegmentationClassContext/2008_000007.png").unlink()
    with pytest.raises(MissingSource, match=r"trainval_merged\.json is missing"):
        pascal_context.convert(tmp_path, workers=1)
    (folder / "trainval_merged.json").write_text('{"images": [', encoding="utf-8")
    with pytest.raises(UserError, match=r"trainval_merged\.json' is not JSON"):
        pascal_context.convert(tmp_path, workers=1)
    (folder / "trainval_merged.json").write_text('{"images": []}', encoding="utf-8")
    with pytest.raises(MissingSource, match="is no such file"):
        pascal_context.convert(tmp_path, workers=1)


def test_pascal_context_with_a_wrong_category_or_mask(tmp_path: Path) -> None:
    folder = _context(tmp_path)
    content = json.loads((folder / "trainval_merged.json").read_text(encoding="utf-8"))
    content["annos_segmentation"][0]["category_id"] = 3
    content["annos_segmentation"].append(_segment(7, 2008000007, 2, [[1, 1]]))
    (folder / "trainval_merged.json").write_text(json.dumps(content), encoding="utf-8")
    failures = pascal_context.convert(tmp_path, workers=1).splits[1].failures
    assert failures == (
        "2008_000002.png: category 3 is none of the 60 of PASCAL Context",
        "2008_000007.png: a mask of (1, 2) pixels for a picture of (2, 3)",
    )


def test_ade20k_847_by_hand(tmp_path: Path) -> None:
    folder = _ade847(tmp_path)
    report = ade20k_847.convert(tmp_path, workers=1)
    labels = folder / "annotations_detectron2/validation"
    with Image.open(labels / "ADE_val_00000002.tif") as image:
        assert image.mode == "I;16" and np.asarray(image).dtype == np.uint16
    assert _read(labels / "ADE_val_00000002.tif") == [[0, 255, 65535, 65535]]
    pictures = folder / "images_detectron2/validation"
    for path in (labels / "ADE_val_00000001.tif", pictures / "ADE_val_00000001.jpg"):
        with Image.open(path) as image:
            assert image.size == (684, 512)
    assert set(np.ravel(_read(labels / "ADE_val_00000001.tif"))) == {0}
    names = (folder / "validation.txt").read_text(encoding="utf-8")
    assert names == "ADE_val_00000001\nADE_val_00000002\n"
    assert (report.splits[0].written, ade20k_847.convert(tmp_path, workers=1).splits[0].kept) == (2, 2)
    table = ade20k_847.labels_by_index()
    assert sorted(table[table != 65535].tolist()) == list(range(847))


def test_pascal_context_459_by_hand(tmp_path: Path) -> None:
    from scipy.io import savemat

    folder = _context(tmp_path)
    (folder / "trainval").mkdir()
    with pytest.raises(MissingSource, match="convert pascal_context first"):
        pascal_context_459.convert(tmp_path, workers=1)
    pascal_context.convert(tmp_path, workers=1)
    savemat(folder / "trainval/2008_000002.mat", {"LabelMap": np.array([[1, 256, 459, 0]], dtype=np.uint16)})
    (folder / "trainval/2008_000007.mat").write_bytes(b"no MATLAB file" * 20)
    report = pascal_context_459.convert(tmp_path, workers=1)
    assert _read(folder / "annotations_detectron2/pc459_val/2008_000002.tif") == [[0, 255, 458, 65535]]
    assert report.splits[0].written == 1 and report.splits[0].failures[0].startswith("2008_000007.tif: ")


def test_voc_and_ade20k_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "VOCdevkit/VOC2012"
    for stem in ("2007_000033", "2007_000042"):
        _write(folder / "JPEGImages" / f"{stem}.jpg", [[0]])
    _write(folder / "SegmentationClass/2007_000033.png", [[0]])
    common.save_lines(["2007_000033", "2007_000042"], folder / "ImageSets/Segmentation/val.txt")
    assert voc.convert(tmp_path, workers=1).lines()[0].startswith("voc val: 1 labels (0 written, 1 there already)")
    assert voc.convert(tmp_path, workers=1).warnings == ("1 pictures of val have no label (the first: 2007_000042)",)
    _write(tmp_path / "ade/ADEChallengeData2016/annotations/validation/ADE_val_00000001.png", [[0]])
    assert ade20k.convert(tmp_path, workers=1).warnings[0].startswith("1 labels of validation have no picture")


@pytest.mark.parametrize("orientation", [3, 6])
def test_ade20k_847_is_upright(orientation: int, tmp_path: Path) -> None:
    """Segments are upright, and turned with their picture only where their size fits no other way."""
    colours = np.zeros((2, 3, 3), np.uint8)
    colours[0, 0] = (2978 // 256 * 10, 2978 % 256, 0)  # wall
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = Image.Transpose.ROTATE_180 if orientation == 3 else Image.Transpose.ROTATE_90
    pictures = tmp_path / "ADE20K_2021_17_01/images/ADE/validation"
    pictures.mkdir(parents=True)
    for stem, segments in (("ADE_val_1", colours), ("ADE_val_2", np.asarray(Image.fromarray(colours).transpose(undo)))):
        Image.fromarray(colours).transpose(undo).save(pictures / f"{stem}.jpg", exif=exif)
        Image.fromarray(segments).save(pictures / f"{stem}_seg.png")
    ade20k_847.convert(tmp_path, workers=1)
    made = tmp_path / "ADE20K_2021_17_01/annotations_detectron2/validation"
    wall = [[0, 65535, 65535], [65535] * 3]
    assert _read(made / "ADE_val_1.tif") == wall
    assert _read(made / "ADE_val_2.tif") == (wall if orientation == 6 else [row[::-1] for row in wall[::-1]])
    with Image.open(tmp_path / "ADE20K_2021_17_01/images_detectron2/validation/ADE_val_1.jpg") as picture:
        assert picture.size == (3, 2) and not picture.getexif()


def test_ade20k_847_segments_must_be_colours(tmp_path: Path) -> None:
    folder = _ade847(tmp_path)
    Image.new("L", (4, 1)).save(folder / "images/ADE/validation/urban/street/ADE_val_00000002_seg.png")
    (failure,) = ade20k_847.convert(tmp_path, workers=1).splits[0].failures
    assert "ADE_val_00000002_seg.png is a picture of mode L, but segments are coded by colours" in failure


def test_what_only_looks_like_data_is_left_out(tmp_path: Path) -> None:
    """Hidden files that other systems leave, and lists and annotations with a byte order mark and blank lines."""
    _cityscapes(tmp_path)
    _ade847(tmp_path)
    _coco(tmp_path)
    context = _context(tmp_path)
    merged = context / "trainval_merged.json"
    merged.write_bytes(b"\xef\xbb\xbf" + merged.read_bytes().replace(b"\n", b"\r\n"))
    voc_folder = tmp_path / "VOCdevkit/VOC2012"
    _write(voc_folder / "JPEGImages/2007_000033.jpg", [[0]])
    _write(voc_folder / "SegmentationClass/2007_000033.png", [[0]])
    (voc_folder / "ImageSets/Segmentation").mkdir(parents=True)
    (voc_folder / "ImageSets/Segmentation/val.txt").write_bytes("\n2007_000033\r\n \r\n".encode("utf-16"))
    _write(tmp_path / "ade/ADEChallengeData2016/annotations/validation/ADE_val_00000001.png", [[0]])
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        (path.parent / f"._{path.name}").write_bytes(b"Mac OS X")
        (path.parent / ".DS_Store").write_bytes(b"Bud1")
        (path.parent / "Thumbs.db").write_bytes(b"db")
    assert main(["--data-root", str(tmp_path), "--workers", "1", *(set(DATASETS) - {"pascal_context_459"})]) == 0
    for name, count in (("coco_stuff164k/annotations/val2017", 1), ("coco_object/annotations/val2017", 1)):
        assert len(list((tmp_path / name).glob("[!.]*TrainIds.png"))) == count
    assert [path.name for path in (tmp_path / "coco_object/images/val2017").iterdir()] == ["000000000000.jpg"]
    assert voc.convert(tmp_path, workers=1).splits[0].count == 1
    assert ade20k.convert(tmp_path, workers=1).splits[0].count == 1
    _context_lists(context)
    assert [split.count for split in pascal_context.convert(tmp_path, workers=1).splits] == [1, 2]


def _context_lists(folder: Path) -> None:
    """The lists again, as another system's editor would save them."""
    for name in ("train", "val"):
        path = pascal_context.split_list(folder, name)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))


def test_data_can_be_prepared_without_the_models() -> None:
    code = (
        "import sys, pkgutil, importlib, eval.prepare; "
        "[importlib.import_module(f'eval.prepare.{m.name}') for m in pkgutil.iter_modules(eval.prepare.__path__)]; "
        "print(sorted(set(sys.modules) & {'torch', 'sam2', 'open_clip', 'mmseg', 'transformers'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    assert done.stdout.strip() == "[]"


def test_torn_files_and_leftovers_are_made_anew(tmp_path: Path) -> None:
    folder = _coco(tmp_path, count=4)
    coco_stuff.convert(tmp_path, workers=1)
    expected = _files(tmp_path)
    kept, torn, empty, gone = sorted(folder.glob("*_labelTrainIds.png"))
    torn.write_bytes(torn.read_bytes()[:-5])
    empty.write_bytes(b"")
    gone.rename(folder / f".{gone.name}.1234.part")
    before = kept.stat().st_mtime_ns
    split = coco_stuff.convert(tmp_path, workers=1).splits[0]
    assert (split.written, split.kept, kept.stat().st_mtime_ns) == (3, 1, before)
    assert _files(tmp_path) == expected


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: Image.Image, path: Path, **_: object) -> None:
        path.write_bytes(b"half a picture")
        raise KeyboardInterrupt

    folder = _coco(tmp_path)
    before = _files(tmp_path)
    monkeypatch.setattr(Image.Image, "save", half)
    assert main(["coco_stuff", "--data-root", str(tmp_path), "--workers", "1"]) == 130
    after = _files(tmp_path)
    assert after.pop(".prepare.lock") == b"" and after == before
    monkeypatch.undo()
    assert main(["coco_stuff", "--data_root", str(tmp_path), "--workers", "1"]) == 0
    assert _read(folder / "000000000000_labelTrainIds.png") == [STUFF]


def test_a_broken_source_is_named_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _coco(tmp_path, count=4)
    whole = (folder / "000000000000.png").read_bytes()
    (folder / "000000000000.png").write_bytes(whole[: len(whole) // 2])
    (folder / "000000000001.png").write_bytes(b"no picture")
    _write(folder / "000000000002.png", np.zeros((1, 1, 3)))
    assert main(["coco_stuff", "--data-root", str(tmp_path), "--workers", "1"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  failed: ")]
    assert len(lines) == 3 and "of mode RGB" in lines[2]
    assert [path.name for path in folder.glob("*TrainIds*")] == ["000000000003_labelTrainIds.png"]


def test_a_full_disk_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = _coco(tmp_path, count=2)
    monkeypatch.setattr(Image.Image, "save", full)
    assert main(["coco_stuff", "--data-root", str(tmp_path), "--workers", "1"]) == 2
    assert (
        "000000000000_labelTrainIds.png' cannot be written (No space left on device): free" in capsys.readouterr().err
    )
    assert not list(folder.glob("*TrainIds*"))
    monkeypatch.undo()
    (tmp_path / "coco_object").mkdir()
    (tmp_path / "coco_object/images").write_bytes(b"a file where a folder belongs")
    assert main(["coco_object", "--data-root", str(tmp_path), "--workers", "1"]) == 2
    taken = tmp_path / "coco_object/images"
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: Folder {str(taken / 'val2017')!r} cannot be written ({str(taken)!r} is a file where a folder is "
        "wanted): move it away or choose another folder."
    )
    shutil.rmtree(tmp_path / "coco_object")
    (tmp_path / "coco_object").write_bytes(b"")
    assert main(["coco_object", "--data-root", str(tmp_path), "--workers", "1"]) == 2
    assert f"({str(tmp_path / 'coco_object')!r} is a file where a folder is wanted)" in capsys.readouterr().err
    (tmp_path / ".prepare.lock").unlink()
    (tmp_path / ".prepare.lock").mkdir()
    assert main(["coco_object", "--data-root", str(tmp_path), "--workers", "1"]) == 2
    assert ".prepare.lock' cannot be written (it is a folder where a file is wanted)" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_labels_folder_stops_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = _context(tmp_path) / "SegmentationClassContext"
    taken.touch()
    assert main(["pascal_context", "--data-root", str(tmp_path), "--workers", "1"]) == 2
    (error,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert f"({str(taken)!r} is a file where a folder is wanted): move it away" in error


def test_missing_sources_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-root", str(tmp_path), "--workers", "1"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == list(DATASETS)
    assert all(line.startswith("missing: ") and str(tmp_path) in line and "; unpack " in line for line in lines)
    _cityscapes(tmp_path)
    # What is there is done; it is an error only where a missing one was asked for.
    assert main(["--data-root", str(tmp_path), "--workers", "1"]) == 0
    assert main(["cityscapes", "coco_stuff", "--data-root", str(tmp_path), "--workers", "1"]) == 2
    captured = capsys.readouterr()
    assert "cityscapes val: 1 labels (0 written, 1 there already)" in captured.out
    assert "error: 1 of 2 data sets could not be prepared" in captured.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["citiscapes"], "unknown data set 'citiscapes'; there are voc, ade20k, cityscapes"),
        (["--workers", "0"], "--workers must be at least 1, not 0"),
        (["--data-root", "nowhere"], "nowhere is not a folder"),
        (["--data", "nowhere"], "unrecognized arguments"),
    ],
)
def test_wrong_command_lines(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2 and sentence in capsys.readouterr().err


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        common.only_run(tmp_path),
        pytest.raises(CannotPrepare, match="another run prepares data"),
        common.only_run(tmp_path),
    ):
        pass


def _kill_self(source: Path, target: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_do_not_matter_and_one_that_dies_is_noticed(tmp_path: Path) -> None:
    made = []
    for workers in (1, 2):
        root = tmp_path / str(workers)
        folder = _coco(root, count=9)
        split = coco_stuff.convert(root, workers).splits[0]
        assert split.written == 9 and split.remarks[0][1] == 9
        made.append(_files(folder))
    assert made[0] == made[1]
    jobs = [(folder / "a.png", folder / "b.png"), (folder / "c.png", folder / "d.png")]
    with pytest.raises(CannotPrepare, match="a worker was killed"):
        common.make_all(_kill_self, jobs, Split("val2017", 2), 2, "kill")


def _run(script: list[str], root: Path, cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.Popen(
        [*script, "coco_stuff", "--data-root", str(root), "--workers", "2"],
        env=environment,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_killed_and_started_again_through_the_shell_script(tmp_path: Path) -> None:
    folder = _coco(tmp_path / "data with blanks", count=400)
    script = ["bash", str(CHECKOUT / "process_dataset.sh")]
    process = _run(script, Path("data with blanks"), tmp_path)
    _wait(lambda: len(list(folder.glob("*_labelTrainIds.png"))) > 20 or process.poll() is not None)
    process.kill()
    process.communicate()
    # Pictures under their final names are whole, and the workers end with their parent.
    for path in folder.glob("*_labelTrainIds.png"):
        _read(path)
    before = len(list(folder.glob("*_labelTrainIds.png")))
    process = _run(script, Path("data with blanks"), tmp_path)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "coco_stuff val2017: 400 labels (" in output and f" {before} there already)" in output
    assert "400/400" in errors
    clean = tmp_path / "clean"
    shutil.copytree(tmp_path / "data with blanks", clean, ignore=shutil.ignore_patterns("*TrainIds*", ".prepare.lock"))
    coco_stuff.convert(clean, workers=1)
    assert _files(folder) == _files(clean / "coco_stuff164k/annotations/val2017")
