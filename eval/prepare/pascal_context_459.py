"""PASCAL Context with 459 classes: MATLAB label maps -> 16-bit TIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from eval.prepare.common import Report, Split, make_all, need, read_names, save_image
from eval.prepare.pascal_context import FOLDER, split_list

COUNT = 5105
_CLASSES = 459
_ORIGIN = "trainval.tar.gz from the PASCAL-Context page (roozbehm.info/pascal-context)"


def convert(data_root: Path, workers: int) -> Report:
    """Write ``annotations_detectron2/pc459_val/<stem>.tif`` for the stems of ``ImageSets/SegmentationContext/val.txt``.

    Raises:
        MissingSource: the label maps or the list are not there.
    """
    folder = data_root / FOLDER
    source = need(folder / "trainval", "pascal_context_459", f"{_ORIGIN} into {folder}")
    names = need(split_list(folder, "val"), "pascal_context_459", "PASCAL Context and convert pascal_context first")
    target = folder / "annotations_detectron2" / "pc459_val"
    jobs = [(source / f"{stem}.mat", target / f"{stem}.tif") for stem in read_names(names)]
    split = make_all(make_labels, jobs, Split("val", COUNT), workers, "pascal_context_459 val")
    return Report("pascal_context_459", folder, (split,))


def make_labels(source: Path, target: Path) -> None:
    """One label map: 1..459 become 0..458, and 0, which no pixel should have, becomes 65535.

    Raises:
        ValueError: a value above 459.
    """
    values = loadmat(source)["LabelMap"]
    if values.max() > _CLASSES:
        raise ValueError(f"{source} has label {values.max()}, but there are {_CLASSES}")
    # In unsigned 16 bits, 0 - 1 is the ignored value.
    save_image(values.astype(np.uint16) - np.uint16(1), target, compression="tiff_adobe_deflate")
