"""COCO-Object: COCO-Stuff's raw maps -> 80 things, and 0 for everything else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from eval.prepare.coco_stuff import COUNTS, FIRST_STUFF, RAW_IGNORED, TRAIN_IDS, raw_maps, source_of
from eval.prepare.common import CannotPrepare, MissingSource, Relabelling, Report, Split, make_all, stems_in, unpaired
from textregion.files import cannot_write
from utils.text_files import visible

FOLDER = "coco_object"
BACKGROUND = 0
# Stuff and unlabelled pixels alike are background, so nothing is ignored.
LABELS = {raw: train_id + 1 if raw < FIRST_STUFF else BACKGROUND for raw, train_id in TRAIN_IDS.items()}
LABELS[RAW_IGNORED] = BACKGROUND
_SPLIT = "val2017"
_TASK = Relabelling(LABELS, other=BACKGROUND)


def convert(data_root: Path, workers: int) -> Report:
    """Write ``coco_object/annotations/val2017/<id>_instanceTrainIds.png`` and link the pictures beside them.

    COCO-Stuff's folder is only read. Pictures are hard links, or symbolic links where the file system has no hard ones,
    or copies where it has neither.

    Raises:
        MissingSource: no raw map of COCO-Stuff is there.
        CannotPrepare: the pictures' folder cannot be written to.
    """
    source = source_of(data_root, "coco_object")
    maps = raw_maps(source / "annotations" / _SPLIT)
    if not maps:
        raise MissingSource(f"coco_object: no label map in {source / 'annotations' / _SPLIT}, which it is made from")
    folder = data_root / FOLDER
    targets = folder / "annotations" / _SPLIT
    jobs = [(path, targets / f"{path.stem}_instanceTrainIds.png") for path in maps]
    split = make_all(_TASK, jobs, Split(_SPLIT, COUNTS[_SPLIT]), workers, f"coco_object {_SPLIT}")
    pictures = folder / "images" / _SPLIT
    try:
        _link_all(source / "images" / _SPLIT, pictures)
    except OSError as error:
        raise CannotPrepare(str(cannot_write(pictures, error, "Folder"))) from None
    warnings = unpaired(_SPLIT, stems_in(pictures, "*.jpg"), {path.stem for path in maps})
    return Report("coco_object", folder, (split,), tuple(warnings))


def _link_all(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for picture in visible(source.glob("*.jpg")):
        link = target / picture.name
        if not link.exists():
            # A symbolic link whose picture has moved is there and yet does not exist.
            link.unlink(missing_ok=True)
            _link(picture.resolve(), link)


def _link(picture: Path, link: Path) -> None:
    try:
        link.hardlink_to(picture)
        return
    except OSError:
        pass  # another file system, or one without hard links
    try:
        link.symlink_to(os.path.relpath(picture, link.parent.resolve()))
    except OSError:
        shutil.copyfile(picture, link.with_name(f".{link.name}.part"))
        link.with_name(f".{link.name}.part").replace(link)
