"""PASCAL VOC 2012 is used as it comes; this only looks whether it is all there."""

from __future__ import annotations

from pathlib import Path

from eval.prepare.common import Report, Split, need, read_names, stems_in, unpaired

FOLDER = "VOCdevkit/VOC2012"
COUNT = 1449
_ORIGIN = "VOCtrainval_11-May-2012.tar from the PASCAL VOC 2012 page (host.robots.ox.ac.uk/pascal/VOC/voc2012)"


def convert(data_root: Path, workers: int) -> Report:
    """Count the validation labels and their pictures; nothing is written.

    Raises:
        MissingSource: the list of the validation split is not there.
    """
    folder = data_root / FOLDER
    names = need(folder / "ImageSets" / "Segmentation" / "val.txt", "voc", f"{_ORIGIN} into {data_root}")
    stems = set(read_names(names))
    labels = stems_in(folder / "SegmentationClass", "*.png") & stems
    pictures = stems_in(folder / "JPEGImages", "*.jpg") & stems
    return Report("voc", folder, (Split("val", COUNT, kept=len(labels)),), tuple(unpaired("val", pictures, labels)))
