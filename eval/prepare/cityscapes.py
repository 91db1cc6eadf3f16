"""Cityscapes: label ids -> 19 train ids, 255 for everything that is not evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from eval.prepare.common import IGNORED, MissingSource, Relabelling, Report, Split, make_all, need, save_image, unpaired
from utils.text_files import read_json, visible

FOLDER = "cityscapes"
COUNTS = {"train": 2975, "val": 500, "test": 1525}
# fmt: off
TRAIN_ID_OF_NAME = {  # in the order of the label ids, 0..33
    "unlabeled": 255, "ego vehicle": 255, "rectification border": 255, "out of roi": 255, "static": 255, "dynamic": 255,
    "ground": 255, "road": 0, "sidewalk": 1, "parking": 255, "rail track": 255, "building": 2, "wall": 3, "fence": 4,
    "guard rail": 255, "bridge": 255, "tunnel": 255, "pole": 5, "polegroup": 255, "traffic light": 6, "traffic sign": 7,
    "vegetation": 8, "terrain": 9, "sky": 10, "person": 11, "rider": 12, "car": 13, "truck": 14, "bus": 15,
    "caravan": 255, "trailer": 255, "train": 16, "motorcycle": 17, "bicycle": 18,
}
# fmt: on
TRAIN_IDS = dict(enumerate(TRAIN_ID_OF_NAME.values()))
"""Label id, 0..33 -> train id, 0..18 or 255."""
_NEVER_DRAWN = "license plate"
_ORIGIN = "gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip from cityscapes-dataset.com (after registration)"
_IDS, _POLYGONS, _TRAIN = (f"_gtFine_{kind}" for kind in ("labelIds.png", "polygons.json", "labelTrainIds.png"))
_relabel = Relabelling(TRAIN_IDS, other=IGNORED)


def convert(data_root: Path, workers: int) -> Report:
    """Write ``*_gtFine_labelTrainIds.png`` beside the sources of every split that is there.

    Raises:
        MissingSource: neither label ids nor polygons are there.
    """
    source = data_root / FOLDER
    need(source / "gtFine", "cityscapes", f"{_ORIGIN} into {source}")
    splits: list[Split] = []
    warnings: list[str] = []
    for name, count in COUNTS.items():
        labelled = _sources(source / "gtFine" / name)
        if labelled:
            jobs = [(path, path.with_name(stem + _TRAIN)) for stem, path in sorted(labelled.items())]
            splits.append(make_all(make_train_ids, jobs, Split(name, count), workers, f"cityscapes {name}"))
            pictures = visible((source / "leftImg8bit" / name).glob("*/*_leftImg8bit.png"))
            warnings += unpaired(name, {path.name.removesuffix("_leftImg8bit.png") for path in pictures}, set(labelled))
    if not splits:
        raise MissingSource(f"cityscapes: no *{_IDS} and no *{_POLYGONS} in {source / 'gtFine'}; unpack {_ORIGIN}")
    return Report("cityscapes", source, tuple(splits), tuple(warnings))


def _sources(folder: Path) -> dict[str, Path]:
    """What every label is made from: its label ids, or its polygons where those are all there is."""
    found: dict[str, Path] = {}
    for ending in (_POLYGONS, _IDS):
        found |= {path.name.removesuffix(ending): path for path in visible(folder.glob(f"*/*{ending}"))}
    return found


def make_train_ids(source: Path, target: Path) -> str | None:
    """One label map, from label ids (PNG) or polygons (JSON)."""
    if source.suffix == ".png":
        return _relabel(source, target)
    save_image(draw_polygons(read_json(source, "unpack it again")), target)
    return None


def draw_polygons(annotation: dict) -> np.ndarray:
    """Train ids of an annotation, (H, W) uint8: its polygons in file order, later ones over earlier ones.

    Args:
        annotation: keys ``imgHeight``, ``imgWidth`` and ``objects``, each of these a ``label`` and a ``polygon``.

    Raises:
        ValueError: an object of an unknown label.
    """
    canvas = Image.new("L", (annotation["imgWidth"], annotation["imgHeight"]), IGNORED)
    drawing = ImageDraw.Draw(canvas)
    for item in annotation["objects"]:
        name = item["label"]
        if name not in TRAIN_ID_OF_NAME and name != _NEVER_DRAWN:
            # Several things in one outline: "cargroup" is drawn as "car".
            name = name.removesuffix("group")
        if item.get("deleted") or name == _NEVER_DRAWN:
            continue
        if name not in TRAIN_ID_OF_NAME:
            raise ValueError(f"label {item['label']!r} is none of Cityscapes'")
        drawing.polygon([(x, y) for x, y in item["polygon"]], fill=TRAIN_ID_OF_NAME[name])
    return np.asarray(canvas)
