"""Regions as annotations of COCO: what pycocotools and the labelling tools read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from torch import Tensor

from .region_masks import RegionMasks
from .runtime import first_max

Annotation = dict[str, Any]


def encode_rle(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """(H, W) boolean mask -> COCO's compressed RLE: ``{"size": [H, W], "counts": str}``."""
    by_column = cv2.transpose(mask.view(np.uint8))  # many times faster than NumPy's copy to that order
    rle = coco_mask.encode(by_column.T)
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def region_annotations(
    masks: RegionMasks,
    size_hw: tuple[int, int],
    scores: Tensor | None = None,
    words: Sequence[str] | None = None,
    *,
    image_id: int = 1,
    first_id: int = 1,
    category_ids: Sequence[int] | None = None,
) -> list[Annotation]:
    """See :meth:`textregion.RegionTokens.to_coco`."""
    _check_columns(len(masks), scores, words, category_ids)
    # Told before the masks are made: the word of each region, and how well it suits.
    suits, best = (masks.scores, None) if scores is None else first_max(scores)
    found: list[Annotation] = []
    for region in range(len(masks)):
        rle = encode_rle(masks.foreground(region, size_hw).cpu().numpy())
        if not (area := int(coco_mask.area(rle))):
            continue
        word = 0 if best is None else int(best[region])
        found.append(
            {
                "id": first_id + len(found),
                "image_id": image_id,
                "category_id": word + 1 if category_ids is None else int(category_ids[word]),
                "segmentation": rle,
                "area": area,
                "bbox": [int(side) for side in coco_mask.toBbox(rle)],
                "iscrowd": 0,
                "score": round(float(suits[region]), 6),
                "predicted_iou": round(float(masks.scores[region]), 6),
                "region": region,
            }
            | ({} if words is None else {"word": words[word]})
        )
    return found


def _check_columns(
    regions: int, scores: Tensor | None, words: Sequence[str] | None, category_ids: Sequence[int] | None
) -> None:
    if scores is None:
        if words is not None:
            raise ValueError("to_coco needs the scores of the words: give segmenter.scores(regions, words)")
        columns = 1
    elif scores.ndim != 2 or len(scores) != regions or scores.shape[1] == 0:
        raise ValueError(f"expected scores ({regions}, K) of regions and words, but got {tuple(scores.shape)}")
    else:
        columns = scores.shape[1]
    for name, given in (("words", words), ("category_ids", category_ids)):
        if given is not None and len(given) != columns:
            raise ValueError(f"expected {columns} {name}, one a column of the scores, but got {len(given)}")
