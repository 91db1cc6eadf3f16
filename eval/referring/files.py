"""Readers of the RefCOCO, RefCOCO+ and RefCOCOg files in ReCLIP's format (data.md section 4)."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.referring.detections import Boxes, read_detections
from eval.referring.references import Reference, picture_names, read_reference, sentence_count
from eval.shared.keys import contents_of, digest_of
from eval.shared.metrics import Box
from eval.shared.odd import Odd, warn
from eval.shared.orientation import Orientation, SizeWH, read_orientation, turn_of_annotations, turned_box
from eval.shared.runner import Picture
from textregion import UserError
from utils.text_files import read_json_lines

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
    """One sentence that refers to one thing; boxes lie on the upright picture."""

    split: str
    reference: int
    """Line of the split's file, from 1: the sentences of a line refer to one thing."""
    picture: str
    """File name."""
    text: str
    """Lower-cased."""
    gold_xywh: Boxes
    detections_xywh: Boxes


@dataclass(frozen=True)
class Examples:
    """What is asked."""

    pictures: list[Picture]
    """With all their expressions in all splits, in the order of the data."""
    odd: list[Odd]
    """References and sentences that cannot be judged; they count as wrong."""
    odd_detections: list[Odd]
    """Detections that are left out."""


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


def read_examples(
    folder: Path, image_root: Path, splits: Sequence[str], use_detections: bool = True, limit: int | None = None
) -> Examples:
    """Everything that the splits ask.

    Args:
        folder: of the ``<split>.jsonl`` and ``<data set>_dets_dict.json`` files.
        image_root: of the pictures.
        splits: names such as ``refcoco+_val``.
        use_detections: False: the detections' files are not read.
        limit: only the first pictures of every split.

    Raises:
        UserError: a file or folder that is missing or of no use as a whole, or none of the pictures is there.
    """
    if not image_root.is_dir():
        raise UserError(f"Folder {str(image_root)!r} does not exist: give that of the pictures as --image_root.")
    name_of = functools.cache(functools.partial(_name_there, image_root))
    detections: dict[str, dict[int, Boxes]] = {}
    odd_detections: list[Odd] = []
    lines: list[_Line] = []
    for split in splits:
        name = _data_set(split)
        if use_detections and name not in detections:
            detections[name], left_out = read_detections(folder / f"{name}_dets_dict.json")
            odd_detections += left_out
        read = list(_first(_read_split(folder / f"{split}.jsonl", split, name_of, use_detections), limit))
        if use_detections:
            _warn_without(split, read, detections[name])
        lines += read
    odd = [each for line in lines for each in line.odd]
    warn(odd, "it counts as wrong")
    warn(odd_detections, "it is left out")
    return Examples(_pictures(image_root, lines, detections), odd, odd_detections)


@dataclass(frozen=True)
class _Line:
    """A line of a split: a reference, or why it is none."""

    split: str
    number: int
    picture: str
    """File name; empty where it is not known."""
    reference: Reference | None
    odd: tuple[Odd, ...]


def _name_there(image_root: Path, file_name: str) -> str:
    """The name that the picture of a reference has on disk; the likeliest where it is not there."""
    names = picture_names(file_name)
    return next((name for name in names if (image_root / name).is_file()), names[0])


def _read_split(path: Path, split: str, name_of: Callable[[str], str], use_detections: bool) -> list[_Line]:
    lines = []
    for number, entry in read_json_lines(path, f"leave {split} out of --datasets"):
        where = f"line {number} of {path.name}"
        try:
            reference = read_reference(entry, use_detections)
        except ValueError as error:
            file_name = entry.get("file_name") if isinstance(entry, dict) else None
            picture = name_of(file_name) if isinstance(file_name, str) and file_name else ""
            odd = Odd(where, str(error), split, sentence_count(entry), number)
            lines.append(_Line(split, number, picture, None, (odd,)))
            continue
        texts = (
            Odd(f"sentence {order + 1} of {where}", reason, split, line=number)
            for order, reason in reference.odd_texts.items()
        )
        lines.append(_Line(split, number, name_of(reference.file_name), reference, tuple(texts)))
    if not any(line.reference for line in lines):
        reason = f" ({lines[0].odd[0]})" if lines else ""
        raise UserError(f"File {str(path)!r} holds no references{reason}: copy or download it again.")
    return lines


def _first(lines: Sequence[_Line], limit: int | None) -> Iterator[_Line]:
    """The lines about the first so many pictures."""
    pictures: set[str] = set()
    for line in lines:
        if line.picture not in pictures and len(pictures) == limit:
            continue
        if line.picture:
            pictures.add(line.picture)
        yield line


def _warn_without(split: str, lines: Sequence[_Line], detections: Mapping[int, Boxes]) -> None:
    without = {line.picture for line in lines if line.reference and line.reference.image_id not in detections}
    if without:
        logger.warning("%s: %d pictures without an entry in the detections keep mask boxes.", split, len(without))


def _pictures(image_root: Path, lines: Sequence[_Line], detections: Mapping[str, Mapping[int, Boxes]]) -> list[Picture]:
    by_picture: dict[Path, list[_Line]] = {}
    for line in lines:
        if line.reference is not None:
            by_picture.setdefault(image_root / line.picture, []).append(line)
    contents = contents_of(by_picture)
    if not any(contents.values()):
        first = next(iter(contents))
        raise UserError(f"None of {len(contents)} pictures can be read, the first being {first!r}: check --image_root.")
    return [
        Picture(path, _expressions(asked, contents[os.fspath(path)], read_orientation(path), detections))
        for path, asked in by_picture.items()
    ]


def _expressions(
    lines: Sequence[_Line],
    content: str,
    orientation: Orientation | None,
    detections: Mapping[str, Mapping[int, Boxes]],
) -> dict[str, Expression]:
    """All expressions of one picture by their keys, which tell split, line, sentence, and what is judged."""
    references = [(line, line.reference) for line in lines if line.reference is not None]
    annotated = [box for _, reference in references for box in reference.all_xywh]
    recorded = next((reference.recorded_wh for _, reference in references if reference.recorded_wh), None)
    examples = {}
    for line, reference in references:
        by_image = detections.get(_data_set(line.split), {})
        detected = () if reference.image_id is None else by_image.get(reference.image_id, ())
        gold = _upright(reference.gold_xywh, orientation, annotated, recorded)
        detected = _upright(detected, orientation, detected)
        for order, text in reference.texts.items():
            digest = digest_of(content, line.picture, text, gold, detected)
            expression = Expression(line.split, line.number, line.picture, text, gold, detected)
            examples[f"{line.split}/{line.number}/{order}/{digest}"] = expression
    return examples


def _upright(
    boxes_xywh: Boxes, orientation: Orientation | None, beside: Sequence[Box], recorded_wh: SizeWH | None = None
) -> Boxes:
    """Boxes as they lie on the upright picture; those beside them lie on the same."""
    if orientation is None:
        return boxes_xywh
    corners = [(x + width, y + height) for x, y, width, height in beside]
    turn = turn_of_annotations(orientation, corners, recorded_wh)
    return tuple(turned_box(box, orientation.stored_wh, turn) for box in boxes_xywh)


def _data_set(split: str) -> str:
    return split.split("_")[0]
