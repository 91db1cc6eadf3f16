"""One line of a RefCOCO file in ReCLIP's format: a thing, and the sentences that refer to it (data.md section 4.2)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from eval.shared.metrics import Box
from eval.shared.orientation import SizeWH
from textregion.words import is_word

_COCO_NAME = re.compile(r"(?P<name>COCO_[a-z]+\d*_(?P<number>\d+))(?:_\d+)?(?:\.[a-z]+)?", re.IGNORECASE)
_FARTHEST = 2**24
"""No picture reaches so far."""


@dataclass(frozen=True)
class Reference:
    """What a line holds that can be judged."""

    file_name: str
    image_id: int | None
    """By which detections are found; None where it is no number."""
    texts: dict[int, str]
    """Sentences, lower-cased, by their place in the line."""
    odd_texts: dict[int, str]
    """Why the sentences at other places cannot be asked."""
    gold_xywh: tuple[Box, ...]
    all_xywh: tuple[Box, ...]
    """The boxes of everything that is annotated in the picture."""
    recorded_wh: SizeWH | None
    """The picture's size, if the line tells."""


def read_reference(entry: Any, needs_image_id: bool = True) -> Reference:
    """What a line says.

    Args:
        entry: the line's JSON.
        needs_image_id: detections will be looked for by it.

    Raises:
        ValueError: why none of its sentences can be judged.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"it is {entry!r:.40}, not a mapping")
    file_name = _of(entry, "file_name", str)
    texts: dict[int, str] = {}
    odd_texts: dict[int, str] = {}
    for order, sentence in enumerate(_of(entry, "sentences", list)):
        try:
            texts[order] = _text(sentence)
        except ValueError as error:
            odd_texts[order] = str(error)
    if not texts and not odd_texts:
        raise ValueError("it has no sentences")
    image_id = whole_number(entry.get("image_id"))
    if needs_image_id and image_id is None:
        raise _odd(entry, "image_id")
    boxes = [(ann.get("id"), ann.get("bbox")) for ann in _of(entry, "anns", list) if isinstance(ann, Mapping)]
    return Reference(
        file_name,
        image_id,
        texts,
        odd_texts,
        _gold(entry, boxes),
        tuple(_sound(box for _, box in boxes)),
        _recorded_size(entry),
    )


def sentence_count(entry: Any) -> int:
    """How many sentences a line has, whatever they are; 1 where that cannot be told."""
    sentences = entry.get("sentences") if isinstance(entry, Mapping) else None
    return max(1, len(sentences)) if isinstance(sentences, list) else 1


def picture_names(file_name: str) -> list[str]:
    """The names that a reference's picture may have, the likeliest first.

    COCO's carry a running number after the picture's that is dropped: ``COCO_train2014_000000581857_16.jpg``; any other
    name is the picture's own. What goes before the name, and COCO's prefix, may be missing on disk.
    """
    path = PurePosixPath(file_name.replace("\\", "/"))
    coco = _COCO_NAME.fullmatch(path.name)
    if coco is None:
        return list(dict.fromkeys([file_name, str(path), path.name]))
    name = f"{coco['name']}.jpg"
    return list(dict.fromkeys([str(path.with_name(name)), file_name, name, path.name, f"{coco['number']}.jpg"]))


def read_box(value: Any) -> Box:
    """A box x, y, width, height in numbers, or in text that is numbers.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f"{value!r:.60} is no box x, y, width, height")
    try:
        x, y, width, height = map(float, value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{value!r:.60} is no box of four numbers") from None
    if not all(math.isfinite(number) and abs(number) < _FARTHEST for number in (x, y, width, height)):
        raise ValueError(f"{value!r:.60} is no box x, y, width, height in pixels")
    if width < 0 or height < 0:
        raise ValueError(f"{value!r:.60} has a negative size")
    return x, y, width, height


def whole_number(value: Any) -> int | None:
    """A whole number, or text or a fraction that is one; else None."""
    try:
        return int(value) if float(value) == int(value) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _of(entry: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(entry.get(key), kind) or entry[key] == "":
        raise _odd(entry, key)
    return entry[key]


def _odd(entry: Mapping[str, Any], key: str) -> ValueError:
    return ValueError(f"its {key!r} is {entry[key]!r:.40}" if key in entry else f"{key!r} is missing")


def _text(sentence: Any) -> str:
    text = _of(sentence, "raw", str) if isinstance(sentence, Mapping) else sentence
    if not is_word(text):
        raise ValueError(f"the expression is {text!r:.40}")
    return str(text).lower()


def _gold(entry: Mapping[str, Any], boxes: Sequence[tuple[Any, Any]]) -> tuple[Box, ...]:
    """Boxes of the annotations that the reference names by one id or several, as numbers or text."""
    if "ann_id" not in entry:
        raise _odd(entry, "ann_id")
    named = entry["ann_id"] if isinstance(entry["ann_id"], list) else [entry["ann_id"]]
    wanted = {_id(ann_id) for ann_id in named}
    gold = [box for ann_id, box in boxes if _id(ann_id) in wanted]
    if not gold:
        raise ValueError(f"none of its anns has the id {entry['ann_id']!r:.40}")
    return tuple(_sound(gold)) or (read_box(gold[0]),)  # an odd one beside a sound one could not be found anyway


def _id(value: Any) -> str:
    number = whole_number(value)
    return str(value if number is None else number)


def _sound(boxes: Any) -> Iterator[Box]:
    for box in boxes:
        try:
            yield read_box(box)
        except ValueError:
            continue


def _recorded_size(entry: Mapping[str, Any]) -> SizeWH | None:
    width, height = whole_number(entry.get("width")), whole_number(entry.get("height"))
    return None if width is None or height is None else (width, height)
