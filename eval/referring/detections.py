"""Detector boxes in the two forms of ReCLIP's files (data.md section 4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.referring.references import read_box, whole_number
from eval.shared.metrics import Box
from eval.shared.odd import Odd
from textregion import UserError
from utils.text_files import read_json

Boxes = tuple[Box, ...]


def read_detections(path: Path) -> tuple[dict[int, Boxes], list[Odd]]:
    """Detector boxes by image id, from a mapping ``{"id": [box, ...]}`` or a list ``[{"image_id", "box"}, ...]``; and
    those that are none.

    Raises:
        UserError: a file that is missing or of another form.
    """
    content = read_json(path, "put ReCLIP's file there, or do without by --no-detector-boxes (and without --baselines)")
    boxes: dict[int, list[Box]] = {}
    odd: list[Odd] = []
    for where, image_id, listed in _entries(content, path.name):
        number = whole_number(image_id)
        if number is None or not isinstance(listed, list):
            reason = f"its image id is {image_id!r:.40}" if number is None else f"it holds {listed!r:.40}"
            odd.append(Odd(where, reason))
            continue
        found = boxes.setdefault(number, [])
        for place, box in enumerate(listed, 1):
            try:
                found.append(read_box(box))
            except ValueError as error:
                odd.append(Odd(f"box {place} of {where}", str(error)))
    if not isinstance(content, (dict, list)) or (odd and not any(boxes.values())):
        raise UserError(
            f"Detections {str(path)!r} are neither {{image id: [[x, y, w, h], ...]}} nor a list of image_id and box "
            f"({odd[0] if odd else f'they are {content!r:.40}'})."
        )
    return {image_id: tuple(listed) for image_id, listed in boxes.items()}, odd


def _entries(content: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Where something is, its image id, and its boxes."""
    if isinstance(content, dict):
        yield from ((f"image {image_id} in {name}", image_id, listed) for image_id, listed in content.items())
    elif isinstance(content, list):
        for number, entry in enumerate(content, 1):
            known = entry if isinstance(entry, dict) else {}
            yield f"detection {number} in {name}", known.get("image_id"), [known.get("box")]
