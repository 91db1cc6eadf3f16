"""Files of the rendered benchmarks: written under another name first, so that none is ever half there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from textregion.files import write_bytes
from textregion.rendered import marked

JPEG_QUALITY = 95


def write_json(path: Path, content: Any) -> None:
    """Write one JSON document as UTF-8."""
    write_bytes(path, json.dumps(content, ensure_ascii=False).encode())


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one JSON record a line as UTF-8."""
    write_bytes(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode())


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG or JPEG, whichever the name says; it says in it that it was rendered."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
    _, encoded = cv2.imencode(path.suffix, image[..., ::-1], options)
    write_bytes(path, marked(encoded.tobytes()))


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Write (H, W) uint8 as a palette PNG in PASCAL VOC's colours, whose values are the labels."""
    picture = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    picture.putpalette(voc_palette().ravel().tolist())
    content = io.BytesIO()
    picture.save(content, format="PNG")
    write_bytes(path, content.getvalue())


def voc_palette() -> np.ndarray:
    """(256, 3) uint8: PASCAL VOC's colours; an index's bits are dealt to red, green and blue in turn."""
    index = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


def trace(mask: np.ndarray) -> list[list[list[int]]]:
    """Polygons [[x, y], ...] that fill a bool mask again; a hole is cut in along a bridge one pixel wide."""
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [contour[:, 0] for contour in contours]
    polygons = []
    for number, outline in enumerate(outlines):
        if hierarchy[0, number, 3] >= 0 or len(outline) < 3:
            continue
        holes = [outlines[hole] for hole in np.flatnonzero(hierarchy[0, :, 3] == number)]
        for hole in holes:
            outline = _cut_in(outline, hole)
        polygons.append(outline.tolist())
    return polygons


def _cut_in(outline: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One closed polygon: along the outline, across to the hole where it is closest, around it and back."""
    distances = np.abs(outline[:, None] - hole[None]).sum(axis=2)
    at, start = np.unravel_index(int(distances.argmin()), distances.shape)
    around = np.roll(hole, -int(start), axis=0)
    return np.concatenate([outline[: at + 1], around, around[:1], outline[at:]])
