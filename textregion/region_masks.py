"""Soft region masks kept at low resolution: a region is the pixelwise maximum of its full-size member masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .resample import Axis, bilinear_axis, sample


@dataclass(frozen=True)
class RegionMasks:
    """R regions made of M >= R low-resolution member masks.

    The maximum is taken after resizing, so members are kept apart. Validated once, at construction.
    """

    logits: Tensor
    """(M, h, w) float16, soft, in [0, 3]; members of one region lie side by side."""
    region_of: Tensor
    """(M,) int64: region of each member, 0, 1, ... without gaps."""
    scores: Tensor
    """(R,) predicted IoU of each region's first member."""
    stability: Tensor
    """(R,) its stability score."""
    output_hw: tuple[int, int]
    """Size of the picture that the masks were taken for."""

    def __post_init__(self) -> None:
        count = len(self.logits)
        if self.logits.ndim != 3 or self.region_of.shape != (count,):
            raise ValueError(
                f"expected logits (M, h, w) and region_of (M,), but got {tuple(self.logits.shape)} "
                f"and {tuple(self.region_of.shape)}"
            )
        regions = int(self.region_of[-1]) + 1 if count else 0
        steps = self.region_of.diff()
        if count and (int(self.region_of[0]) != 0 or bool(((steps < 0) | (steps > 1)).any())):
            raise ValueError("region_of must count up from 0 without gaps")
        if len(self.scores) != regions or len(self.stability) != regions:
            raise ValueError(
                f"expected {regions} scores and stabilities, but got {len(self.scores)} and {len(self.stability)}"
            )

    @classmethod
    def from_masks(cls, masks: Tensor, output_hw: tuple[int, int] | None = None) -> RegionMasks:
        """Regions from given masks (R, h, w): boolean, or soft values that are clamped to [0, 3]."""
        soft = masks.to(torch.float16).clamp(0, 3)
        count = len(masks)
        ones = torch.ones(count, device=masks.device)
        size = output_hw or (masks.shape[1], masks.shape[2])
        return cls(soft, torch.arange(count, device=masks.device), ones, ones, size)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def device(self) -> torch.device:
        return self.logits.device

    def __getitem__(self, keep: Tensor) -> RegionMasks:
        """The regions that a boolean mask (R,) or an index tensor picks, in that order."""
        index = keep.nonzero().flatten() if keep.dtype == torch.bool else keep
        index = index.to(self.device)
        places = [(self.region_of == region).nonzero().flatten() for region in index.tolist()]
        sizes = torch.tensor([len(place) for place in places], dtype=torch.long, device=self.device)
        members = torch.cat(places) if places else torch.zeros(0, dtype=torch.long, device=self.device)
        region_of = torch.arange(len(places), device=self.device).repeat_interleave(sizes)
        return RegionMasks(self.logits[members], region_of, self.scores[index], self.stability[index], self.output_hw)

    def to(self, device: torch.device | str) -> RegionMasks:
        """The same regions on another device."""
        return RegionMasks(
            self.logits.to(device),
            self.region_of.to(device),
            self.scores.to(device),
            self.stability.to(device),
            self.output_hw,
        )

    def full(self, size_hw: tuple[int, int] | None = None, regions: Tensor | None = None) -> Tensor:
        """(R, H, W) float16 soft masks in [0, 3] of all or of the given regions, at any size."""
        chosen = self if regions is None else self[regions]
        rows, cols = self.axes(size_hw or self.output_hw)
        return chosen.at(rows, cols)

    def axes(self, size_hw: tuple[int, int]) -> tuple[Axis, Axis]:
        """How the rows and columns of a picture of that size sample the low-resolution masks."""
        _, height, width = self.logits.shape
        return bilinear_axis(height, size_hw[0], self.device), bilinear_axis(width, size_hw[1], self.device)

    def at(self, rows: Axis, cols: Axis) -> Tensor:
        """(R, len(rows), len(cols)) float16: the soft masks at some rows and columns of the full size."""
        # float16, as the published code stores full-size masks
        members = sample(self.logits, rows, cols).half()
        return self.join(members)

    def join(self, members: Tensor) -> Tensor:
        """(M, ...) member values -> (R, ...) the maximum over each region's members."""
        leads = torch.ones_like(self.region_of, dtype=torch.bool)
        leads[1:] = self.region_of.diff() > 0
        joined = members[leads]
        for member in (~leads).nonzero().flatten().tolist():
            region = self.region_of[member]
            joined[region] = torch.maximum(joined[region], members[member])
        return joined

    def low_res_boxes(self) -> Tensor:
        """(R, 4) int64 top, left, bottom, right (exclusive) of each region's non-zero low-resolution pixels."""
        hit_rows = self.join((self.logits > 0).any(2))
        hit_cols = self.join((self.logits > 0).any(1))
        spans = []
        for hit in (hit_rows, hit_cols):
            first = hit.int().argmax(1)
            spans.append((first, hit.shape[1] - hit.flip(1).int().argmax(1)))
        (top, bottom), (left, right) = spans
        return torch.stack([top, left, bottom, right], dim=1)


def containment_exceeds(one: Tensor, others: Tensor, output_hw: tuple[int, int], threshold: float) -> list[bool]:
    """Whether the containment of ``one`` and each of ``others`` is above a threshold, at full size.

    containment(a, b) = sum(min(a, b)) / min(sum(a), sum(b)) on the soft full-size masks (section 5). Bounds from the
    low-resolution masks decide nearly all pairs; the rest are computed at full size, one by one.

    Args:
        one: (h, w) soft mask.
        others: (J, h, w) soft masks.
    """
    if len(others) == 0:
        return []
    height, width = one.shape
    rows, cols = (bilinear_axis(s, t, one.device) for s, t in zip((height, width), output_hw))
    row_totals, col_totals = rows.totals(height), cols.totals(width)
    first, second = one.float(), others.float()
    total = _weighted_sum(torch.cat([first[None], second]), row_totals, col_totals)
    smaller = torch.minimum(total[0], total[1:])
    # min is concave, so resizing the minimum is at most the minimum of the resized masks.
    low = _weighted_sum(torch.minimum(first, second), row_totals, col_totals) / smaller
    # sum |R d| is at least the sum over blocks of |sum of R d|, which bounds sum(min) from above.
    difference = _block_sums(first - second, rows, cols).abs().sum((1, 2))
    high = (total[0] + total[1:] - difference) / 2 / smaller
    margin = 2e-3  # rounding of full-size masks to float16
    results = []
    for j, (at_least, at_most) in enumerate(zip(low.tolist(), high.tolist())):
        if at_least > threshold + margin or at_most < threshold - margin:
            results.append(at_least > threshold)
        else:
            results.append(_containment(one, others[j], rows, cols) > threshold)
    return results


def _containment(one: Tensor, other: Tensor, rows: Axis, cols: Axis, band: int = 256) -> float:
    shared = first_sum = second_sum = 0.0
    pair = torch.stack([one, other])
    for start in range(0, len(rows), band):
        first, second = sample(pair, rows[start : start + band], cols).half().float()
        shared += float(torch.minimum(first, second).sum())
        first_sum += float(first.sum())
        second_sum += float(second.sum())
    return shared / max(min(first_sum, second_sum), 1e-12)


def _weighted_sum(masks: Tensor, row_totals: Tensor, col_totals: Tensor) -> Tensor:
    """(J, h, w) -> (J,): the sum that each mask has once resized to full size."""
    return torch.einsum("jhw,h,w->j", masks, row_totals, col_totals)


def _block_sums(values: Tensor, rows: Axis, cols: Axis) -> Tensor:
    """(J, h, w) -> (J, h, w): sums of the full-size resized values over blocks, one block a low-resolution pixel."""
    return torch.einsum(
        "jhw,ah,bw->jab", values, _block_weights(rows, values.shape[1]), _block_weights(cols, values.shape[2])
    )


def _block_weights(axis: Axis, source: int) -> Tensor:
    """(source, source): how much of source pixel j falls into the targets whose lower neighbour is i."""
    weights = torch.zeros(source, source, device=axis.fraction.device)
    weights.index_put_((axis.lower, axis.lower), 1 - axis.fraction, accumulate=True)
    weights.index_put_((axis.lower, axis.upper), axis.fraction, accumulate=True)
    return weights
