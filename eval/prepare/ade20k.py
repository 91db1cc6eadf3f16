"""ADE20K with 150 classes is used as it comes; this only looks whether it is all there."""

from __future__ import annotations

from pathlib import Path

from eval.prepare.common import Report, Split, need, stems_in, unpaired

FOLDER = "ade/ADEChallengeData2016"
COUNT = 2000
_ORIGIN = "ADEChallengeData2016.zip from the scene parsing challenge's page (data.csail.mit.edu/places/ADEchallenge)"


def convert(data_root: Path, workers: int) -> Report:
    """Count the validation labels and their pictures; nothing is written.

    Raises:
        MissingSource: the labels are not there.
    """
    folder = data_root / FOLDER
    annotations = need(folder / "annotations" / "validation", "ade20k", f"{_ORIGIN} into {data_root / 'ade'}")
    labels = stems_in(annotations, "*.png")
    pictures = stems_in(folder / "images" / "validation", "*.jpg")
    split = Split("validation", COUNT, kept=len(labels))
    return Report("ade20k", folder, (split,), tuple(unpaired("validation", pictures, labels)))
