"""Stage 7: region scores and masks become a class map and a confidence, band by band (method.md sections 11, 12)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .options import MaskType, Uncovered
from .region_masks import RegionMasks
from .resample import Axis, bilinear_axis, sample

BAND_BYTES, GPU_BAND_BYTES = 4 * 2**20, 256 * 2**20
"""Memory for the logits of one band of rows: on a CPU a part of its cache."""
TILE_PIXELS, GPU_TILE_PIXELS = 2048, 2**20
"""A band's masks are made tile by tile, of the regions that are there."""


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
    words = scores.shape[1]
    from_end = torch.arange(words, 0, -1, dtype=torch.float32, device=scores.device)[:, None, None]
    space = torch.empty(0, device=scores.device)
    for rows, logits in _bands(masks, scores * scale, size_hw, scale, uncovered, dense, mask_type):
        space = space if space.shape == logits.shape else torch.empty_like(logits)
        # The most probable class holds the most probable word, so no class needs its own probability.
        logits.sub_(logits.amax(0))
        best = torch.eq(logits, 0, out=space)  # as numbers, which are faster than truth values
        labels[rows] = words - best.mul_(from_end).amax(0).long()
        confidence[rows] = logits.exp_().sum(0).reciprocal_()
    if _has_synonyms(class_of):
        labels = torch.tensor(class_of, device=labels.device).unique(return_inverse=True)[1][labels]
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
    for rows, logits in _bands(masks, scores * scale, size_hw, scale, uncovered, dense, mask_type):
        yield rows, _merge(torch.softmax(logits, dim=0), class_of)


def _bands(
    masks: RegionMasks,
    scaled: Tensor,
    size_hw: tuple[int, int],
    scale: float,
    uncovered: Uncovered,
    dense: DenseScores | None,
    mask_type: MaskType,
) -> Iterator[tuple[slice, Tensor]]:
    """Logits of the words, scaled, a band of rows at a time: (rows, (K, rows, W) float32), overwritten by the next."""
    all_rows, cols = masks.axes(size_hw)
    height, width = size_hw
    dense_axes = _dense_axes(dense, size_hw) if uncovered == "dense" else None
    budget = BAND_BYTES if scaled.device.type == "cpu" else GPU_BAND_BYTES
    band = max(1, budget // (4 * width * (scaled.shape[1] + 4)))
    # Memory that is asked for anew costs more than what is done in it.
    space = torch.empty(scaled.shape[1], min(band, height), width, device=scaled.device)
    for start in range(0, height, band):
        rows = slice(start, min(start + band, height))
        logits = space[:, : rows.stop - start]
        covered = _fill(logits, masks, scaled, all_rows[rows], cols, mask_type)
        if uncovered == "first":
            logits[0].masked_fill_(~covered, scale)
        elif dense is not None and dense_axes is not None and not bool(covered.all()):
            fallback = sample(dense.grid, dense_axes[0][rows], dense_axes[1]).mul_(scale)
            logits = torch.where(covered, logits, fallback)
        yield rows, logits


def _fill(logits: Tensor, masks: RegionMasks, scaled: Tensor, rows: Axis, cols: Axis, mask_type: MaskType) -> Tensor:
    """Write the sum over regions of score * mask into (K, rows, W); (rows, W) whether any region is there."""
    pixels = TILE_PIXELS if scaled.device.type == "cpu" else GPU_TILE_PIXELS
    columns = max(64, pixels // len(rows))
    covered = []
    for start in range(0, len(cols), columns):
        span = slice(start, min(start + columns, len(cols)))
        regions, values = masks.window(rows, cols[span])
        covered.append((values > 0).any(0))
        values = (values > 0).float() if mask_type == "hard" else values.float().clamp_(max=1)
        logits[..., span] = (scaled[regions].T.float() @ values.flatten(1)).unflatten(1, values.shape[1:])
    return torch.cat(covered, dim=1)


def _dense_axes(dense: DenseScores | None, size_hw: tuple[int, int]) -> tuple[Axis, Axis]:
    if dense is None:
        raise ValueError("uncovered='dense' needs dense scores; encode the picture with a CLIP ViT encoder")
    _, grid_h, grid_w = dense.grid.shape
    device = dense.grid.device
    return bilinear_axis(grid_h, size_hw[0], device), bilinear_axis(grid_w, size_hw[1], device)


def _merge(probabilities: Tensor, class_of: Sequence[int] | None) -> Tensor:
    """(K, ...) word probabilities -> (classes, ...) the maximum over each class's words."""
    if class_of is None or not _has_synonyms(class_of):
        return probabilities
    groups: dict[int, list[int]] = {}
    for word, index in enumerate(class_of):
        groups.setdefault(index, []).append(word)
    return torch.stack([probabilities[groups[index]].amax(0) for index in sorted(groups)])


def _has_synonyms(class_of: Sequence[int] | None) -> bool:
    return class_of is not None and len(set(class_of)) < len(class_of)
