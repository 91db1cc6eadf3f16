"""COCO-Stuff 164k: the raw maps of things and stuff -> 171 labels, 255 where nothing is labelled."""

from __future__ import annotations

from pathlib import Path

from eval.prepare.common import IGNORED, MissingSource, Relabelling, Report, Split, make_all, need, stems_in, unpaired
from utils.text_files import visible

FOLDER = "coco_stuff164k"
COUNTS = {"val2017": 5000, "train2017": 118287}
# First and last raw value of a run, and what is taken off to close the gaps of the ids that COCO never used.
_RUNS = (
    (0, 10, 0),
    (12, 24, 1),
    (26, 27, 2),
    (30, 43, 4),
    (45, 64, 5),
    (66, 66, 6),
    (69, 69, 8),
    (71, 81, 9),
    (83, 89, 10),
    (91, 181, 11),
)
TRAIN_IDS = {raw: raw - offset for first, last, offset in _RUNS for raw in range(first, last + 1)}
"""Raw value (COCO-Stuff id - 1: things 0..90, stuff 91..181) -> one of 171 labels."""
FIRST_STUFF = 91
RAW_IGNORED = 255
_ORIGIN = (
    "stuffthingmaps_trainval2017.zip from the COCO-Stuff page (github.com/nightrome/cocostuff) into annotations/, "
    "and val2017.zip from cocodataset.org into images/"
)
_TASK = Relabelling({**TRAIN_IDS, RAW_IGNORED: IGNORED}, other=IGNORED)


def raw_maps(folder: Path) -> list[Path]:
    """The downloaded maps of a folder, sorted; what any converter wrote beside them is left out."""
    return [path for path in visible(folder.glob("*.png")) if "TrainIds" not in path.name]


def source_of(data_root: Path, dataset: str) -> Path:
    """COCO-Stuff's folder, or :class:`MissingSource`."""
    source = data_root / FOLDER
    need(source / "annotations", dataset, f"{_ORIGIN} (below {source})")
    return source


def convert(data_root: Path, workers: int) -> Report:
    """Write ``<id>_labelTrainIds.png`` beside the raw maps of every split that is there.

    Raises:
        MissingSource: no raw map is there.
    """
    source = source_of(data_root, "coco_stuff")
    splits: list[Split] = []
    warnings: list[str] = []
    for name, count in COUNTS.items():
        folder = source / "annotations" / name
        maps = raw_maps(folder)
        if maps:
            jobs = [(path, folder / f"{path.stem}_labelTrainIds.png") for path in maps]
            splits.append(make_all(_TASK, jobs, Split(name, count), workers, f"coco_stuff {name}"))
            pictures = stems_in(source / "images" / name, "*.jpg")
            warnings += unpaired(name, pictures, {path.stem for path in maps})
    if not splits:
        raise MissingSource(f"coco_stuff: no label map in {source / 'annotations'}/val2017; unpack {_ORIGIN}")
    return Report("coco_stuff", source, tuple(splits), tuple(warnings))
