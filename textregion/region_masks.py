"""Soft region masks kept at low resolution: a region is the pixelwise maximum of its full-size member masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from .given_masks import Masks, read_masks
from .indexing import Index, positions
from .resample import Axis, bilinear_axis, sample, sample_points


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
    source: Tensor | None = None
    """(R,) int64, which of the given masks each region came from; None: SAM 2 found them."""

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
        if self.source is not None and self.source.shape != (regions,):
            raise ValueError(f"expected source ({regions},), but got {tuple(self.source.shape)}")

    @classmethod
    def from_masks(cls, masks: Masks, output_hw: tuple[int, int] | None = None) -> RegionMasks:
        """Regions from given masks, one each and in their order.

        Args:
            masks: see :func:`textregion.given_masks.read_masks`.
            output_hw: size of the picture that they belong to, where they are a squeezed version of it, as SAM's
                256 x 256 logits are; None: their own.

        Raises:
            UserError: masks of another form.
        """
        given = read_masks(masks)
        count, height, width = given.soft.shape
        each = torch.arange(count, device=given.soft.device)
        return cls(given.soft, each, given.scores, given.stability, output_hw or (height, width), each)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def device(self) -> torch.device:
        return self.logits.device

    def __getitem__(self, index: Index) -> RegionMasks:
        """The regions that an int, a slice, a list of ints or a boolean mask (R,) picks, in that order."""
        index = positions(index, len(self)).to(self.device)
        counts = self.region_of.bincount(minlength=len(self))
        sizes = counts[index]
        region_of = torch.arange(len(index), device=self.device).repeat_interleave(sizes)
        place = torch.arange(len(region_of), device=self.device) - (sizes.cumsum(0) - sizes)[region_of]
        members = (counts.cumsum(0) - counts)[index][region_of] + place
        source = None if self.source is None else self.source[index]
        return RegionMasks(
            self.logits[members], region_of, self.scores[index], self.stability[index], self.output_hw, source
        )

    def to(self, device: torch.device | str) -> RegionMasks:
        """The same regions on another device."""
        return RegionMasks(
            self.logits.to(device),
            self.region_of.to(device),
            self.scores.to(device),
            self.stability.to(device),
            self.output_hw,
            None if self.source is None else self.source.to(device),
        )

    def full(self, size_hw: tuple[int, int] | None = None, regions: Index | None = None) -> Tensor:
        """(R, H, W) float16 soft masks in [0, 3] of all or of the given regions, at any size."""
        chosen = self if regions is None else self[regions]
        rows, cols = self.axes(size_hw or self.output_hw)
        return chosen.at(rows, cols)

    def foreground(self, region: int, size_hw: tuple[int, int] | None = None) -> Tensor:
        """(H, W) bool: where the soft mask of one region is above 0, at any size."""
        rows, cols = self.axes(size_hw or self.output_hw)
        (cell_rows, row_cell), (cell_cols, col_cell) = rows.cells(), cols.cells()
        window = self[region].window(rows, cols)
        mask = torch.zeros(len(rows), len(cols), dtype=torch.bool, device=self.device)
        if len(window.regions) == 0:
            return mask  # it lies between the few pixels of a narrow picture
        inside, touched = (bound[0] > 0 for bound in window.bounds(cell_rows, cell_cols))
        y, x = touched.any(1)[row_cell].nonzero().flatten(), touched.any(0)[col_cell].nonzero().flatten()
        if len(y) == 0:
            return mask
        box = slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)
        row_cell, col_cell = row_cell[box[0]], col_cell[box[1]]
        part = inside[row_cell][:, col_cell]
        # Only the cells that the region's border runs through have to be looked at pixel by pixel.
        y, x = (touched & ~inside)[row_cell][:, col_cell].nonzero(as_tuple=True)
        part[y, x] = window.at_points(rows[y + box[0].start], cols[x + box[1].start])[:, 0] > 0
        mask[box] = part
        return mask

    def axes(self, size_hw: tuple[int, int]) -> tuple[Axis, Axis]:
        """How the rows and columns of a picture of that size sample the low-resolution masks."""
        _, height, width = self.logits.shape
        return bilinear_axis(height, size_hw[0], self.device), bilinear_axis(width, size_hw[1], self.device)

    def at(self, rows: Axis, cols: Axis) -> Tensor:
        """(R, len(rows), len(cols)) float16: the soft masks at some rows and columns of the full size."""
        # float16, as the published code stores full-size masks
        members = sample(self.logits, rows, cols).half()
        return self.join(members)

    def window(self, rows: Axis, cols: Axis) -> Window:
        """What is to be seen of the regions through neighbouring rows and neighbouring columns of the full size."""
        top, bottom = int(rows.lower[0]), int(rows.upper[-1]) + 1
        left, right = int(cols.lower[0]), int(cols.upper[-1]) + 1
        box = self._member_boxes
        near = (box[:, 0] < bottom) & (box[:, 2] > top) & (box[:, 1] < right) & (box[:, 3] > left)
        members = near.nonzero().flatten().to(self.device)
        regions, region_of = self.region_of[members].unique_consecutive(return_inverse=True)
        return Window(self.logits[:, top:bottom, left:right][members], region_of, regions, (top, left))

    def join(self, members: Tensor) -> Tensor:
        """(M, ...) member values -> (R, ...) the maximum over each region's members."""
        return _join(members, self.region_of)

    @cached_property
    def _member_boxes(self) -> Tensor:
        """(M, 4) top, left, bottom, right (exclusive) of the members' non-zero low-resolution pixels, on the CPU."""
        return _boxes(self.logits.amax(2) > 0, self.logits.amax(1) > 0).cpu()


@dataclass(frozen=True)
class Window:
    """The r regions that may be in a rectangle of the full size; all others are 0 there."""

    logits: Tensor
    """(m, h, w) float16, the low-resolution members as far as the rectangle samples them."""
    region_of: Tensor
    """(m,) int64, which of the r regions."""
    regions: Tensor
    """(r,) their indices among all."""
    corner: tuple[int, int]
    """Low-resolution row and column of the first pixel."""

    def bounds(self, rows: Axis, cols: Axis) -> tuple[Tensor, Tensor]:
        """The least and the most that soft masks can be between source neighbours: (r, len(rows), len(cols)) each."""
        rows, cols = rows.shifted(self.corner[0]), cols.shifted(self.corner[1])
        bounds = []
        for extreme in (torch.minimum, torch.maximum):
            lines = extreme(self.logits[:, rows.lower], self.logits[:, rows.upper])
            bounds.append(_join(extreme(lines[..., cols.lower], lines[..., cols.upper]), self.region_of))
        return bounds[0], bounds[1]

    @cached_property
    def _channels_last(self) -> Tensor:
        return self.logits.permute(1, 2, 0).contiguous()

    def at_points(self, rows: Axis, cols: Axis) -> Tensor:
        """(p, r) float16: the soft masks at p (row, column) pairs."""
        values = sample_points(self._channels_last, rows.shifted(self.corner[0]), cols.shifted(self.corner[1]))
        return _join(values.half().T, self.region_of).T


def _join(members: Tensor, region_of: Tensor) -> Tensor:
    """(M, ...) -> (R, ...) the maximum over the members of each region, which lie side by side."""
    regions = region_of.tolist()
    leads = [i for i, region in enumerate(regions) if i == 0 or region != regions[i - 1]]
    if len(leads) == len(regions):
        return members
    joined = members[torch.tensor(leads, device=members.device)]
    for member in sorted(set(range(len(regions))) - set(leads)):
        region = regions[member]
        torch.maximum(joined[region], members[member], out=joined[region])
    return joined


def _boxes(hit_rows: Tensor, hit_cols: Tensor) -> Tensor:
    """(n, h) and (n, w) bool -> (n, 4) int64 top, left, bottom, right (exclusive)."""
    (top, bottom), (left, right) = span(hit_rows), span(hit_cols)
    return torch.stack([top, left, bottom, right], dim=1)


def span(hit: Tensor) -> tuple[Tensor, Tensor]:
    """(n, length) bool -> first and last (exclusive) true place of every row (n,) int64; nothing of a row without any:
    its first place is ``length``, its last is 0."""
    places = torch.arange(hit.shape[1], device=hit.device)
    return torch.where(hit, places, hit.shape[1]).amin(1), torch.where(hit, places + 1, 0).amax(1)


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
    rows, cols = (_Weights.of(s, t, one.device) for s, t in zip(one.shape, output_hw))
    first, second = one.float(), others.float()
    total = _weighted_sum(torch.cat([first[None], second]), rows, cols)
    smaller = torch.minimum(total[0], total[1:])
    # min is concave, so resizing the minimum is at most the minimum of the resized masks.
    low = _weighted_sum(torch.minimum(first, second), rows, cols) / smaller
    # sum |R d| is at least the sum over blocks of |sum of R d|, which bounds sum(min) from above.
    difference = _block_sums(first - second, rows, cols).abs().sum((1, 2))
    high = (total[0] + total[1:] - difference) / 2 / smaller
    margin = 2e-3  # rounding of full-size masks to float16
    results = []
    for j, (at_least, at_most) in enumerate(zip(low.tolist(), high.tolist())):
        if at_least > threshold + margin or at_most < threshold - margin:
            results.append(at_least > threshold)
        else:
            results.append(_containment(one, others[j], rows.axis, cols.axis) > threshold)
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


@dataclass(frozen=True)
class _Weights:
    """What every pair of masks needs of one axis."""

    axis: Axis
    totals: Tensor
    own: Tensor
    following: Tensor

    @classmethod
    @lru_cache(maxsize=8)
    def of(cls, source: int, target: int, device: torch.device) -> _Weights:
        """The weights of a resize from ``source`` to ``target`` pixels, made once."""
        axis = bilinear_axis(source, target, device)
        return cls(axis, axis.totals(source), *axis.blocks(source))


def _weighted_sum(masks: Tensor, rows: _Weights, cols: _Weights) -> Tensor:
    """(J, h, w) -> (J,): the sum that each mask has once resized to full size."""
    return masks @ cols.totals @ rows.totals


def _block_sums(values: Tensor, rows: _Weights, cols: _Weights) -> Tensor:
    """(J, h, w) -> (J, h, w): sums of the full-size resized values over blocks, one block a low-resolution pixel."""
    across = values * cols.own
    across[..., :-1] += values[..., 1:] * cols.following[:-1]
    down = across * rows.own[:, None]
    down[:, :-1] += across[:, 1:] * rows.following[:-1, None]
    return down
