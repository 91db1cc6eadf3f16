"""Readers of ReasonSeg: questions, polygons and interpreted queries (data.md section 5)."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from eval.shared.keys import digest_of
from eval.shared.metrics import IGNORED
from eval.shared.runner import Picture
from textregion import UserError

logger = logging.getLogger(__name__)

SPLITS = ("test", "val", "train")
DEFAULT_PLACEHOLDER = "background, anything but"
PLAIN_BACKGROUND = "background, any other thing"
_LARGEST_COORDINATE = 2**24
"""Points are brought within this before they become whole numbers; pictures are far smaller."""


@dataclass(frozen=True)
class Shape:
    """One polygon of an annotation."""

    points_xy: tuple[tuple[int, int], ...]
    ignored: bool
    """Its pixels count for nothing."""


@dataclass(frozen=True)
class Annotation:
    """What a picture's JSON file says."""

    text: str
    """The first question."""
    is_sentence: bool
    """True: a long question; False: a short phrase."""
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Query:
    """One question with its ground truth."""

    name: str
    """The picture's file name without its ending."""
    question: str
    is_sentence: bool
    words: tuple[str, str]
    """Background first, then the target."""
    shapes: tuple[Shape, ...]

    @property
    def subset(self) -> str:
        return "long" if self.is_sentence else "short"


def split_name(name: str) -> str:
    """``ReasonSeg|test`` or ``test`` -> ``test``.

    Raises:
        UserError: no split of ReasonSeg.
    """
    split = name.removeprefix("ReasonSeg|")
    if split not in SPLITS:
        raise UserError(f"--val_dataset must be ReasonSeg|test, ReasonSeg|val or ReasonSeg|train, but got {name!r}.")
    return split


def split_folder(dataset_dir: Path, split: str) -> Path:
    """``reason_seg/<split>``, or LISA's ``reason_seg/ReasonSeg/<split>``.

    Raises:
        UserError: neither is there.
    """
    folders = [dataset_dir / "reason_seg" / split, dataset_dir / "reason_seg" / "ReasonSeg" / split]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise UserError(
        f"Neither {str(folders[0])!r} nor {str(folders[1])!r} is there: check --dataset_dir and --val_dataset."
    )


def read_queries(
    folder: Path,
    interpreted_dir: Path | None,
    subset: str = "overall",
    placeholder: str = DEFAULT_PLACEHOLDER,
    limit: int | None = None,
) -> list[Picture]:
    """The pictures of a split, sorted by name, with one query each.

    Args:
        folder: of ``<name>.jpg`` and ``<name>.json``.
        interpreted_dir: of the interpreted queries; None: the questions themselves are asked.
        subset: short (phrases), long (sentences) or overall.
        placeholder: the background query in front of an interpreted target.
        limit: only the first pictures.

    Raises:
        UserError: no pictures, or a file that is missing or not of the expected form.
    """
    paths = sorted(path for path in folder.iterdir() if path.name.endswith(".jpg"))
    if not paths:
        raise UserError(f"Folder {str(folder)!r} holds no *.jpg pictures: check --dataset_dir.")
    pictures = []
    for path in paths:
        query = _query(path, interpreted_dir, placeholder)
        if subset in ("overall", query.subset):
            facts = (query.words, query.is_sentence, [(shape.points_xy, shape.ignored) for shape in query.shapes])
            pictures.append(Picture(path, {f"{query.name}/{digest_of(*facts)}": query}))
    if not pictures:
        raise UserError(f"No picture of {str(folder)!r} has a {subset} question: choose another --eval_query_type.")
    return pictures[:limit]


def _query(path: Path, interpreted_dir: Path | None, placeholder: str) -> Query:
    annotation = read_annotation(path.with_suffix(".json"))
    if interpreted_dir is None:
        words = (PLAIN_BACKGROUND, annotation.text.lower())
        return Query(path.stem, annotation.text, annotation.is_sentence, words, annotation.shapes)
    answer, question, is_sentence = _read_interpreted(interpreted_dir / f"{path.stem}.json", annotation)
    target = (answer if is_sentence or not answer else f"{answer}, {question}").lower()
    if not target.strip():
        logger.warning("The interpreted query of %s is blank; the question itself is asked.", path.name)
        target = question.lower()
    return Query(path.stem, question, is_sentence, (f"{placeholder} {target}", target), annotation.shapes)


def read_annotation(path: Path) -> Annotation:
    """A picture's JSON file (UTF-8, else cp1252).

    Raises:
        UserError: a file that is missing, not JSON, or without its fields.
    """
    content = read_json(path)
    try:
        shapes = [shape for entry in content["shapes"] if (shape := _shape(entry, path)) is not None]
        return Annotation(_first_text(content["text"]), bool(content["is_sentence"]), tuple(shapes))
    except KeyError as error:
        raise UserError(f"Annotation {str(path)!r} has no {error}: it is not a ReasonSeg file.") from None
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"Annotation {str(path)!r} is not of ReasonSeg's form ({error}).") from None


def _first_text(texts: Any) -> str:
    text = texts if isinstance(texts, str) else texts[0]
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"its text is {texts!r}")
    return text


def _shape(entry: dict[str, Any], path: Path) -> Shape | None:
    """A polygon with its points truncated to whole pixels; None for flags and for what is no polygon."""
    label = str(entry["label"]).lower()
    if label == "flag":
        return None
    if len(entry["points"]) < 3:
        logger.warning("A polygon of %s has fewer than 3 points and is skipped.", path)
        return None
    return Shape(tuple((_whole(x), _whole(y)) for x, y in entry["points"]), "ignore" in label)


def _whole(value: Any) -> int:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a point is at {value}")
    return int(min(max(number, -_LARGEST_COORDINATE), _LARGEST_COORDINATE))


def _read_interpreted(path: Path, annotation: Annotation) -> tuple[str, str, bool]:
    """Answer, question and whether it is a sentence; what the file leaves out is the annotation's."""
    if not path.is_file():
        raise UserError(
            f"Interpreted query {str(path)!r} does not exist: make it with "
            "python -m eval.reason_seg.interpret_queries, check --interpreted_query_dir, or run with "
            "--no-use_interpreted_query."
        )
    content = read_json(path)
    try:
        answers = content["answers"]
        answer = answers if isinstance(answers, str) else str(answers[0]) if answers else ""
        question = _first_text(content["text"]) if content.get("text") else annotation.text
        return answer.strip(), question, bool(content.get("is_sentence", annotation.is_sentence))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"Interpreted query {str(path)!r} has no list of answers ({error}).") from None


def read_json(path: Path) -> Any:
    """A JSON file in UTF-8, or in cp1252 where it is not that.

    Raises:
        UserError: a file that is missing or not JSON.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"File {str(path)!r} cannot be read ({error.strerror}).") from None
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return json.loads(data.decode(encoding))
        except ValueError as error:
            reason = error
    raise UserError(f"File {str(path)!r} is not JSON ({reason}).")


def ground_truth(shapes: Sequence[Shape], size_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W) 0 background, 1 target, 255 ignored: polygons with their outlines, the largest first (data.md 5.3)."""
    drawn = [_fill(shape, size_hw) for shape in shapes]
    # The published order on equal areas: the later polygon comes first.
    order = np.argsort([int(mask.sum()) for mask in drawn], kind="stable")[::-1]
    truth = np.zeros(size_hw, np.uint8)
    for index in order:
        truth[drawn[index] > 0] = IGNORED if shapes[index].ignored else 1
    return truth


def _fill(shape: Shape, size_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    mask = np.zeros(size_hw, np.uint8)
    points = np.array(shape.points_xy, dtype=np.int32)
    cv2.polylines(mask, [points], isClosed=True, color=1, thickness=1)
    cv2.fillPoly(mask, [points], color=1)
    return mask
