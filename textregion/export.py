"""Results as files that other programs read: COCO RLE regions as JSON, label maps as indexed-palette PNG."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

from .errors import UserError
from .regions import RegionTokens

MAX_PALETTE = 256
"""Words that an 8-bit indexed PNG can tell apart."""
_COMPRESSION = 3
"""A third of the time of zlib's default for a sixth more bytes."""


def encode_rle(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """(H, W) boolean mask -> COCO's compressed RLE: ``{"size": [H, W], "counts": str}``."""
    by_column = cv2.transpose(mask.view(np.uint8))  # many times faster than NumPy's copy to that order
    rle = coco_mask.encode(by_column.T)
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def region_records(regions: RegionTokens, scores: Tensor, words: Sequence[str]) -> list[dict[str, Any]]:
    """One plain record a region, at the picture's own size.

    Args:
        regions: R regions.
        scores: (R, K) score of every region and word.
        words: K words.

    Returns:
        R records: ``segmentation`` (COCO RLE of the pixels where the soft mask is above 0), ``bbox`` (x, y, width,
        height; zeros for an empty mask) and ``area`` in pixels, ``score`` (SAM 2's predicted IoU), ``word``,
        ``word_index`` and ``word_score`` of the best word.
    """
    best_scores, best = scores.max(1)
    records = []
    for region in range(len(regions)):
        rle = encode_rle(regions.foreground(region).cpu().numpy())
        records.append(
            {
                "segmentation": rle,
                "bbox": [int(side) for side in coco_mask.toBbox(rle)],
                "area": int(coco_mask.area(rle)),
                "score": round(float(regions.scores[region]), 6),
                "word": words[int(best[region])],
                "word_index": int(best[region]),
                "word_score": round(float(best_scores[region]), 6),
            }
        )
    return records


def regions_json(regions: RegionTokens, scores: Tensor, words: Sequence[str], **facts: Any) -> bytes:
    """A JSON file of a picture: ``facts``, ``size`` [H, W], ``words``, ``regions`` (:func:`region_records`).

    It is UTF-8 whatever the texts hold: half characters, as file names in another encoding have, are escaped.
    """
    content = {
        **facts,
        "size": list(regions.size_hw),
        "words": list(words),
        "regions": region_records(regions, scores, words),
    }
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")


def label_map_png(labels: Tensor, colours: npt.NDArray[np.uint8]) -> bytes:
    """An indexed-palette PNG file: a pixel's index is the position of its word in the list.

    Args:
        labels: (H, W) integers in 0..K-1.
        colours: (K, 3) uint8 RGB, the palette; K of at most 256.

    Raises:
        UserError: more than 256 words.
    """
    if len(colours) > MAX_PALETTE:
        raise UserError(f"A label map holds at most {MAX_PALETTE} words, but there are {len(colours)}: give fewer.")
    image = Image.fromarray(labels.cpu().numpy().astype(np.uint8))
    image.putpalette(colours.astype(np.uint8).tobytes(), "RGB")
    return png(image)


def png(image: Image.Image) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all of them to temporary names first, then renamed.

    Raises:
        UserError: a file that cannot be written; then no file of the set was touched.
    """
    temporary = {path.with_name(f".{path.name}.{os.getpid()}.tmp"): path for path in files}
    where = next(iter(files), Path())
    try:
        for name, where in temporary.items():
            name.write_bytes(files[where])
        for where in files:
            if where.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        for name, where in temporary.items():
            os.replace(name, where)
    except OSError as error:
        raise UserError(f"Result {os.fspath(where)!r} cannot be written: {error.strerror or error}.") from None
    finally:
        for name in temporary:
            with contextlib.suppress(OSError):
                name.unlink(missing_ok=True)
