"""Pure functions on boxes, masks and counts; how numbers are aggregated is in each name (data.md 4, 5)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels, continuous (no + 1)."""
Mask = npt.NDArray[np.bool_]

IGNORED = 255
"""Ground-truth value of pixels that count for nothing."""
_IOU_EPSILON, _COUNT_EPSILON, _TOTAL_EPSILON = 1e-5, 1e-5, 1e-10  # LISA's own guards against division by zero


def box_ious(box_xywh: Sequence[float], boxes_xywh: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    """IoU of one box with each of B boxes, (B,) in [0, 1]; 0 where both have no area."""
    x, y, width, height = (float(value) for value in box_xywh)
    others = np.asarray(boxes_xywh, dtype=np.float64).reshape(-1, 4)
    left, top = np.maximum(others[:, 0], x), np.maximum(others[:, 1], y)
    right = np.minimum(others[:, 0] + others[:, 2], x + width)
    bottom = np.minimum(others[:, 1] + others[:, 3], y + height)
    shared = np.clip(right - left, 0, None) * np.clip(bottom - top, 0, None)
    union = width * height + others[:, 2] * others[:, 3] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def largest_component(mask: Mask) -> Mask:
    """The largest 8-connected part of an (H, W) mask (the first on ties); an empty mask stays empty."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return np.zeros(mask.shape, dtype=np.bool_)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    component: Mask = labels == largest
    return component


def mask_box(mask: Mask) -> Box | None:
    """Box x_min, y_min, x_max - x_min, y_max - y_min of an (H, W) mask; None where it is empty."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return float(cols[0]), float(rows[0]), float(cols[-1] - cols[0]), float(rows[-1] - rows[0])


def snap_to_detection(box_xywh: Box, detections_xywh: Sequence[Box]) -> Box:
    """The detector box with the highest IoU (the first on ties); the box itself where none overlaps it."""
    ious = box_ious(box_xywh, detections_xywh)
    if len(ious) == 0 or ious.max() <= 0:
        return box_xywh
    return detections_xywh[int(ious.argmax())]


def best_iou(box_xywh: Box | None, gold_xywh: Sequence[Box]) -> float:
    """Highest IoU with any gold box; 0 where there is no box or no gold."""
    if box_xywh is None or len(gold_xywh) == 0:
        return 0.0
    return float(box_ious(box_xywh, gold_xywh).max())


def is_hit(iou: float) -> bool:
    """The verdict on a referring expression: IoU above 0.5, strictly."""
    return iou > 0.5


def expression_accuracy(verdicts: Sequence[bool]) -> float:
    """Share of expressions found, in [0, 1]; NaN without any."""
    return sum(verdicts) / len(verdicts) if verdicts else float("nan")


def foreground_counts(predicted: Mask, truth: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Intersection and union of the foreground, in pixels.

    Args:
        predicted: (H, W) true where the target was found.
        truth: (H, W) 1 target, 0 background, 255 ignored.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"prediction {predicted.shape} and ground truth {truth.shape} differ in size")
    valid = truth != IGNORED
    target = (truth == 1) & valid
    found = predicted & valid
    return int((found & target).sum()), int((found | target).sum())


def foreground_iou(intersection: int, union: int) -> float:
    """IoU of one picture, as LISA defines it: an empty union counts 1."""
    return 1.0 if union == 0 else intersection / (union + _IOU_EPSILON)


def mean_giou(ious: Sequence[float]) -> float:
    """gIoU: the mean over pictures of their :func:`foreground_iou`; NaN without any."""
    if not ious:
        return float("nan")
    return sum(ious) / (len(ious) + _COUNT_EPSILON)


def cumulative_ciou(counts: Sequence[tuple[int, int]]) -> float:
    """cIoU over pictures' (intersection, union): summed intersections over summed unions; NaN without any."""
    if not counts:
        return float("nan")
    return sum(shared for shared, _ in counts) / (sum(union for _, union in counts) + _TOTAL_EPSILON)
