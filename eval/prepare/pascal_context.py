"""PASCAL Context with 59 classes and background: the merged annotation file -> label maps, without the detail API."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from eval.prepare.common import (
    MissingSource,
    Report,
    Split,
    is_whole,
    make_all,
    need,
    read_names,
    save_image,
    save_lines,
    stems_in,
)
from utils.text_files import read_json

FOLDER = "VOCdevkit/VOC2010"
COUNTS = {"train": 4998, "val": 5105}
CATEGORY_IDS = (
    *(0, 2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85),
    *(98, 104, 105, 113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296),
    *(308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)
"""The category of every label: positions in the alphabetical list of 459 names, 0 for background."""
_LABELS = {category: label for label, category in enumerate(CATEGORY_IDS)}
_ORIGIN = (
    "VOCtrainval_03-May-2010.tar from the PASCAL VOC 2010 page, and put trainval_merged.json from the PASCAL in Detail "
    "page (the one that the detail-api names) into VOC2010"
)
Painted = tuple[tuple[int, int], list[tuple[int, dict[str, Any]]]]
"""Height and width of a picture, and (category, run-length mask) of its segments in file order."""


def convert(data_root: Path, workers: int) -> Report:
    """Write ``SegmentationClassContext/<stem>.png`` and ``ImageSets/SegmentationContext/{train,val}.txt``.

    Raises:
        MissingSource: the merged annotation file is not there, or another one is.
        UserError: it cannot be read.
    """
    folder = data_root / FOLDER
    splits = _finished(folder)
    if not splits:
        merged = need(folder / "trainval_merged.json", "pascal_context", f"{_ORIGIN} (below {data_root})")
        jobs = _read(merged, folder / "SegmentationClassContext")
        for name, expected in COUNTS.items():
            splits.append(make_all(paint, jobs[name], Split(name, expected), workers, f"pascal_context {name}"))
            # The lists come last, so that they stand for labels that are there.
            save_lines((target.stem for _, target in jobs[name]), split_list(folder, name))
    return Report("pascal_context", folder, tuple(splits), tuple(_without_picture(folder)))


def split_list(folder: Path, name: str) -> Path:
    """Where the stems of a split are listed."""
    return folder / "ImageSets" / "SegmentationContext" / f"{name}.txt"


def _finished(folder: Path) -> list[Split]:
    """Both splits if all their labels are there, which spares reading the large annotation file; else nothing."""
    splits = []
    for name, expected in COUNTS.items():
        if not split_list(folder, name).is_file():
            return []
        stems = read_names(split_list(folder, name))
        if not all(is_whole(folder / "SegmentationClassContext" / f"{stem}.png") for stem in stems):
            return []
        splits.append(Split(name, expected, kept=len(stems)))
    return splits


def _read(merged: Path, target: Path) -> dict[str, list[tuple[Painted, Path]]]:
    """What is to be painted, and where to, by split and sorted by stem."""
    content = read_json(merged, "fetch it")
    try:
        segments: dict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for item in content["annos_segmentation"]:
            segments[item["image_id"]].append((item["category_id"], item["segmentation"]))
        jobs: dict[str, list[tuple[Painted, Path]]] = {name: [] for name in COUNTS}
        images = {Path(image["file_name"]).stem: image for image in content["images"]}
        for stem, image in sorted(images.items()):
            if image["phase"] in jobs:
                painted = ((image["height"], image["width"]), segments[image["image_id"]])
                jobs[image["phase"]].append((painted, target / f"{stem}.png"))
    except (ValueError, KeyError, TypeError) as error:
        raise MissingSource(f"pascal_context: {merged} is no such file ({error!r}); fetch it anew") from None
    return jobs


def paint(painted: Painted, target: Path) -> None:
    """Paint the segments one over the other in file order, on background.

    Raises:
        ValueError: a category that is none of the 60, or a mask of another size.
    """
    size_hw, segments = painted
    labels = np.zeros(size_hw, dtype=np.uint8)
    for category, segmentation in segments:
        if category not in _LABELS:
            raise ValueError(f"category {category} is none of the 60 of PASCAL Context")
        mask = coco_mask.decode(segmentation)
        if mask.shape != size_hw:
            raise ValueError(f"a mask of {mask.shape[:2]} pixels for a picture of {size_hw}")
        labels[mask > 0] = _LABELS[category]
    save_image(labels, target)


def _without_picture(folder: Path) -> list[str]:
    """A sentence for labels that the download of the pictures does not cover."""
    stems = [stem for name in COUNTS for stem in read_names(split_list(folder, name))]
    there = stems_in(folder / "JPEGImages", "*.jpg")
    alone = [stem for stem in stems if stem not in there]
    return [f"{len(alone)} labels have no picture in JPEGImages (the first: {alone[0]})"] if alone else []
