"""Readers of the RefCOCO, RefCOCO+ and RefCOCOg files in ReCLIP's format (data.md section 4)."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from eval.shared.keys import digest_of
from eval.shared.metrics import Box
from eval.shared.runner import Picture
from textregion import UserError

logger = logging.getLogger(__name__)

SPLITS = (
    "refcoco_val",
    "refcoco_testa",
    "refcoco_testb",
    "refcoco+_val",
    "refcoco+_testa",
    "refcoco+_testb",
    "refcocog_val",
    "refcocog_test",
)
"""All splits, in the order of the published tables."""


@dataclass(frozen=True)
class Expression:
    """One sentence that refers to one thing."""

    split: str
    reference: int
    """Line of the split's file, from 0: the sentences of a line refer to one thing."""
    picture: str
    """File name."""
    text: str
    """Lower-cased."""
    gold_xywh: tuple[Box, ...]
    detections_xywh: tuple[Box, ...]


def splits_there(folder: Path, wanted: Sequence[str] | None) -> list[str]:
    """The splits to evaluate: those that are asked for, or all whose file is in the folder.

    Raises:
        UserError: a folder or file that is missing.
    """
    if not folder.is_dir():
        raise UserError(f"Folder {str(folder)!r} does not exist: give that of the *.jsonl files as --input_file_root.")
    there = [split for split in SPLITS if (folder / f"{split}.jsonl").is_file()]
    if wanted is None and not there:
        raise UserError(
            f"Folder {str(folder)!r} holds none of the files {SPLITS[0]}.jsonl, ...: check --input_file_root."
        )
    for split in wanted or ():
        if split not in there:
            raise UserError(f"File {str(folder / f'{split}.jsonl')!r} does not exist: leave {split} out of --datasets.")
    return there if wanted is None else list(dict.fromkeys(wanted))


def read_pictures(
    folder: Path, image_root: Path, splits: Sequence[str], use_detections: bool = True, limit: int | None = None
) -> list[Picture]:
    """Pictures with all their expressions in all splits, in the order of the data.

    Args:
        folder: of the ``<split>.jsonl`` and ``<data set>_dets_dict.json`` files.
        image_root: of the pictures.
        splits: names such as ``refcoco+_val``.
        use_detections: False: the detections' files are not read.
        limit: only the first pictures of every split.

    Raises:
        UserError: a file or folder that is missing or not of the expected form, named with its line.
    """
    if not image_root.is_dir():
        raise UserError(f"Folder {str(image_root)!r} does not exist: give that of the pictures as --image_root.")
    by_picture: dict[str, dict[str, Expression]] = {}
    detections: dict[str, dict[int, tuple[Box, ...]]] = {}
    for split in splits:
        name = split.split("_")[0]
        if use_detections and name not in detections:
            detections[name] = read_detections(folder / f"{name}_dets_dict.json")
        in_split: set[str] = set()
        without: set[str] = set()
        for key, expression, has_entry in _read_split(folder / f"{split}.jsonl", split, detections.get(name, {})):
            if expression.picture not in in_split and len(in_split) == limit:
                continue
            in_split.add(expression.picture)
            by_picture.setdefault(expression.picture, {})[key] = expression
            if use_detections and not has_entry:
                without.add(expression.picture)
        if without:
            logger.warning("%s: %d pictures without an entry in the detections keep mask boxes.", split, len(without))
    return [Picture(image_root / name, examples) for name, examples in by_picture.items()]


def read_detections(path: Path) -> dict[int, tuple[Box, ...]]:
    """Detector boxes by image id, from a mapping ``{"id": [box, ...]}`` or a list ``[{"image_id", "box"}, ...]``.

    Raises:
        UserError: a file that is missing or of another form.
    """
    content = _read_json(path)
    boxes: dict[int, list[Box]] = {}
    try:
        if isinstance(content, list):
            for entry in content:
                boxes.setdefault(int(entry["image_id"]), []).append(_box(entry["box"]))
        else:
            boxes = {int(image_id): [_box(box) for box in listed] for image_id, listed in content.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"Detections {str(path)!r} are neither {{image id: [[x, y, w, h], ...]}} nor a list of image_id and box "
            f"({_reason(error)})."
        ) from None
    return {image_id: tuple(listed) for image_id, listed in boxes.items()}


def picture_name(file_name: str) -> str:
    """The picture's own file name: COCO's names carry a running number after the picture's that is dropped."""
    path = PurePosixPath(file_name)
    tokens = path.stem.split("_")
    if "coco" in path.name.lower() and len(tokens) > 3:
        return str(path.with_name("_".join(tokens[:-1]) + ".jpg"))
    return file_name


def _read_split(
    path: Path, split: str, detections: Mapping[int, tuple[Box, ...]]
) -> list[tuple[str, Expression, bool]]:
    """Key, expression, and whether the picture has an entry in the detections."""
    found = []
    for number, line in enumerate(_read_text(path).split("\n")):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            image_id = int(entry["image_id"])
            gold = _gold(entry)
            name = picture_name(str(entry["file_name"]))
            texts = [str(sentence["raw"]).lower() for sentence in entry["sentences"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"Line {number + 1} of {str(path)!r} is not a reference ({_reason(error)}).") from None
        for order, text in enumerate(texts):
            expression = Expression(split, number, name, text, gold, detections.get(image_id, ()))
            found.append((_key(expression, order), expression, image_id in detections))
    return found


def _gold(entry: Mapping[str, Any]) -> tuple[Box, ...]:
    """Boxes of the annotations that the reference names by one id or several, as numbers or text."""
    named = entry["ann_id"] if isinstance(entry["ann_id"], list) else [entry["ann_id"]]
    wanted = {str(ann_id) for ann_id in named}
    gold = tuple(_box(ann["bbox"]) for ann in entry["anns"] if str(ann["id"]) in wanted)
    if not gold:
        raise ValueError(f"none of its anns has the id {entry['ann_id']}")
    return gold


def _box(value: Any) -> Box:
    x, y, width, height = (float(number) for number in value)
    if not all(map(math.isfinite, (x, y, width, height))) or width < 0 or height < 0:
        raise ValueError(f"{value} is no box x, y, width, height")
    return x, y, width, height


def _key(expression: Expression, order: int) -> str:
    """Tells the split, the reference and the sentence; records of changed data have other keys."""
    facts = (expression.picture, expression.text, expression.gold_xywh, expression.detections_xywh)
    return f"{expression.split}/{expression.reference}/{order}/{digest_of(*facts)}"


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except ValueError as error:
        raise UserError(f"File {str(path)!r} is not JSON ({error}): download it again.") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"File {str(path)!r} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise UserError(f"File {str(path)!r} is not UTF-8 text: download it again.") from None


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
