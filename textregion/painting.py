"""Stage 7: region scores and masks become a class map and a confidence, band by band (method.md sections 11, 12)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .options import MaskType, Uncovered
from .region_masks import RegionMasks
from .resample import Axis, bilinear_axis, sample

BAND_BYTES = 128 * 2**20
"""Memory for one band of rows: its masks and logits together."""


@dataclass(frozen=True)
class DenseScores:
    """Scores of every patch of the fused grid, for pixels that no region covers."""

    grid: Tensor
    """(K, gh, gw)."""


def paint(
    masks: RegionMasks,
    scores: Tensor,
    size_hw: tuple[int, int],
    *,
    scale: float = 50.0,
    uncovered: Uncovered = "uniform",
    dense: DenseScores | None = None,
    class_of: Sequence[int] | None = None,
    mask_type: MaskType = "soft",
    prob_thd: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Class map and confidence.

    Args:
        masks: R regions.
        scores: (R, K) score of every region and word.
        size_hw: (H, W) of the map.
        scale: factor on the logits before the softmax.
        uncovered: what stands at pixels that no region covers.
        dense: needed for ``uncovered='dense'``.
        class_of: class of each word; a class's probability is the maximum over its words. None: one word a class.
        mask_type: ``soft`` clamps the masks to [0, 1]; ``hard`` takes every pixel above 0 as 1.
        prob_thd: a pixel whose highest class probability is below this becomes class 0.

    Returns:
        labels (H, W) int64 and confidence (H, W) float32, the highest class probability.
    """
    labels = torch.empty(size_hw, dtype=torch.int64, device=scores.device)
    confidence = torch.empty(size_hw, dtype=torch.float32, device=scores.device)
    for rows, probabilities in class_probabilities(
        masks, scores, size_hw, scale=scale, uncovered=uncovered, dense=dense, class_of=class_of, mask_type=mask_type
    ):
        confidence[rows], labels[rows] = probabilities.max(0)
    if prob_thd > 0:
        labels[confidence < prob_thd] = 0
    return labels, confidence


def class_probabilities(
    masks: RegionMasks,
    scores: Tensor,
    size_hw: tuple[int, int],
    *,
    scale: float = 50.0,
    uncovered: Uncovered = "uniform",
    dense: DenseScores | None = None,
    class_of: Sequence[int] | None = None,
    mask_type: MaskType = "soft",
) -> Iterator[tuple[slice, Tensor]]:
    """Probabilities of the classes, a band of rows at a time: (rows, (classes, rows, W) float32).

    The arguments are those of :func:`paint`.
    """
    all_rows, cols = masks.axes(size_hw)
    height, width = size_hw
    words = scores.shape[1]
    dense_axes = _dense_axes(dense, size_hw) if uncovered == "dense" else None
    members = len(masks.logits)
    band = max(1, BAND_BYTES // (4 * width * (3 * words + 3 * members + 1)))
    for start in range(0, height, band):
        rows = slice(start, min(start + band, height))
        logits, covered = _band_logits(masks, scores, all_rows[rows], cols, mask_type)
        if uncovered == "first":
            logits[0].masked_fill_(~covered, 1.0)
        elif dense is not None and dense_axes is not None and not bool(covered.all()):
            fallback = sample(dense.grid, dense_axes[0][rows], dense_axes[1])
            logits = torch.where(covered, logits, fallback)
        probabilities = torch.softmax(logits.mul_(scale), dim=0)
        yield rows, _merge(probabilities, class_of)


def _band_logits(
    masks: RegionMasks, scores: Tensor, rows: Axis, cols: Axis, mask_type: MaskType
) -> tuple[Tensor, Tensor]:
    """(K, rows, W) sum over regions of score * mask, and (rows, W) whether any region is there."""
    values = masks.at(rows, cols).float()
    covered = (values > 0).any(0)
    values = (values > 0).float() if mask_type == "hard" else values.clamp_(max=1)
    flat = scores.T.float() @ values.flatten(1)
    return flat.unflatten(1, covered.shape), covered


def _dense_axes(dense: DenseScores | None, size_hw: tuple[int, int]) -> tuple[Axis, Axis]:
    if dense is None:
        raise ValueError("uncovered='dense' needs dense scores; encode the picture with a CLIP ViT encoder")
    _, grid_h, grid_w = dense.grid.shape
    device = dense.grid.device
    return bilinear_axis(grid_h, size_hw[0], device), bilinear_axis(grid_w, size_hw[1], device)


def _merge(probabilities: Tensor, class_of: Sequence[int] | None) -> Tensor:
    """(K, ...) word probabilities -> (classes, ...) the maximum over each class's words."""
    if class_of is None or len(set(class_of)) == len(class_of):
        return probabilities
    groups: dict[int, list[int]] = {}
    for word, index in enumerate(class_of):
        groups.setdefault(index, []).append(word)
    return torch.stack([probabilities[groups[index]].amax(0) for index in sorted(groups)])
