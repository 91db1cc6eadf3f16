"""One ReasonSeg annotation: its question, its polygons, and the ground truth that they draw (data.md 5.2 to 5.4)."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from eval.shared.metrics import IGNORED
from eval.shared.orientation import SizeWH, Turn, turned
from textregion import UserError
from textregion.words import is_word
from utils.text_files import read_json

logger = logging.getLogger(__name__)

_LARGEST_COORDINATE = 2**24
"""Points are brought within this before they become whole numbers; pictures are far smaller."""


@dataclass(frozen=True)
class Shape:
    """One polygon of an annotation; of one or two points, a dot or a line."""

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
    recorded_wh: SizeWH | None = None
    """The picture's size, if the file tells."""


@dataclass(frozen=True)
class Interpreted:
    """What a file of interpreted queries says; what it leaves out is the annotation's."""

    answer: str
    """What was understood; may be blank."""
    text: str
    is_sentence: bool


def read_annotation(path: Path) -> Annotation:
    """A picture's JSON file.

    Raises:
        UserError: a file that is missing, not JSON, or without its fields.
    """
    content = read_json(path, "complete the data set")
    try:
        shapes = (_shape(entry, path) for entry in content["shapes"])
        return Annotation(
            _first_text(content["text"]),
            _flag(content["is_sentence"]),
            tuple(shape for shape in shapes if shape is not None),
            _recorded_size(content),
        )
    except KeyError as error:
        raise UserError(f"Annotation {str(path)!r} has no {error}: it is not a ReasonSeg file.") from None
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise UserError(f"Annotation {str(path)!r} is not of ReasonSeg's form ({error}).") from None


def read_interpreted(path: Path, annotation: Annotation) -> Interpreted:
    """The interpreted query of a picture.

    Raises:
        UserError: a file that is missing, not JSON, or without answers.
    """
    content = read_json(path, "make it with python -m eval.reason_seg.interpret_queries")
    try:
        answers = content["answers"]
        answer = answers if isinstance(answers, str) else answers[0] if answers else ""
        if not isinstance(answer, str) or (answer.strip() and not is_word(answer)):
            raise ValueError(f"its answer is {answer!r:.60}")
        text = _first_text(content["text"]) if content.get("text") else annotation.text
        is_sentence = content.get("is_sentence", annotation.is_sentence)
        return Interpreted(answer.strip(), text, _flag(is_sentence))
    except KeyError:
        raise UserError(f"Interpreted query {str(path)!r} has no list of answers.") from None
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"Interpreted query {str(path)!r} is not of its form ({error}).") from None


def ground_truth(shapes: Sequence[Shape], size_hw: tuple[int, int], turn: Turn | None = None) -> npt.NDArray[np.uint8]:
    """(H, W) 0 background, 1 target, 255 ignored: polygons with their outlines, the largest first (data.md 5.3).

    Args:
        shapes: in the file's order.
        size_hw: of the upright picture.
        turn: what puts the shapes upright; None: they are.
    """
    stored_hw = turned(np.empty(size_hw, np.bool_), turn).shape  # what swaps the sides one way does so back
    drawn = [_fill(shape, stored_hw) for shape in shapes]
    # The published order on equal areas: the later polygon comes first.
    order = np.argsort([int(mask.sum()) for mask in drawn], kind="stable")[::-1]
    truth = np.zeros(stored_hw, np.uint8)
    for index in order:
        truth[drawn[index] > 0] = IGNORED if shapes[index].ignored else 1
    return np.ascontiguousarray(turned(truth, turn))


def _fill(shape: Shape, size_hw: Sequence[int]) -> npt.NDArray[np.uint8]:
    mask = np.zeros(size_hw, np.uint8)
    points = np.array(shape.points_xy, dtype=np.int32)
    cv2.polylines(mask, [points], isClosed=True, color=1, thickness=1)
    cv2.fillPoly(mask, [points], color=1)
    return mask


def _first_text(texts: Any) -> str:
    text = texts if isinstance(texts, str) else texts[0]
    if not is_word(text):
        raise ValueError(f"its text is {texts!r:.60}")
    return str(text)


def _flag(value: Any) -> bool:
    if value not in (True, False):  # 0 and 1 too
        raise ValueError(f"its is_sentence is {value!r:.60}")
    return bool(value)


def _shape(entry: Mapping[str, Any], path: Path) -> Shape | None:
    """A polygon with its points truncated to whole pixels; None for flags and for what has no point."""
    label = str(entry["label"]).lower()
    if label == "flag":
        return None
    if len(entry["points"]) == 0:
        logger.warning("A polygon of %s has no point and is skipped.", path)
        return None
    return Shape(tuple((_whole(x), _whole(y)) for x, y in entry["points"]), "ignore" in label)


def _whole(value: Any) -> int:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a point is at {value}")
    return int(min(max(number, -_LARGEST_COORDINATE), _LARGEST_COORDINATE))


def _recorded_size(content: Mapping[str, Any]) -> SizeWH | None:
    """Width and height as the labelme family of tools writes them."""
    width, height = content.get("imageWidth"), content.get("imageHeight")
    return (int(width), int(height)) if isinstance(width, (int, float)) and isinstance(height, (int, float)) else None
