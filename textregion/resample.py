"""Bilinear resizing one axis at a time, so that any rows and columns of a large mask can be had without the rest.

It is ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``, not antialiased, taken apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """Where n target pixels sample a source axis: two neighbours and the weight of the second."""

    lower: Tensor
    """(n,) int64."""
    upper: Tensor
    """(n,) int64."""
    fraction: Tensor
    """(n,) float32 in [0, 1)."""

    def __getitem__(self, index: slice | Tensor) -> Axis:
        return Axis(self.lower[index], self.upper[index], self.fraction[index])

    def __len__(self) -> int:
        return len(self.lower)

    def shifted(self, by: int) -> Axis:
        """The same sampling of a source whose first ``by`` pixels are left out."""
        return Axis(self.lower - by, self.upper - by, self.fraction)

    def cells(self) -> tuple[Axis, Tensor]:
        """The pairs of source neighbours that targets lie between, each once, and the pair of every target (n,)."""
        lower, cell_of = self.lower.unique_consecutive(return_inverse=True)
        first = torch.searchsorted(self.lower, lower)
        return self[first], cell_of

    def blocks(self, source: int) -> tuple[Tensor, Tensor]:
        """Summed over the targets between source pixel i and i + 1, the weight of pixel i and that of i + 1.

        Returns:
            (source,) each; behind the last pixel there is no next one, and its weight is 0.
        """
        own, following = (torch.zeros(source, device=self.fraction.device) for _ in range(2))
        own.index_add_(0, self.lower, 1 - self.fraction)
        last = self.upper == self.lower
        own.index_add_(0, self.lower, self.fraction * last)
        return own, following.index_add_(0, self.lower, self.fraction * ~last)

    def totals(self, source: int) -> Tensor:
        """(source,) how much each source pixel contributes to the sum over all targets."""
        totals = torch.zeros(source, device=self.fraction.device)
        totals.index_add_(0, self.lower, 1 - self.fraction)
        return totals.index_add_(0, self.upper, self.fraction)


def bilinear_axis(source: int, target: int, device: torch.device | str = "cpu") -> Axis:
    """The sampling of ``target`` pixels on an axis of ``source`` pixels (half-pixel centres)."""
    position = (torch.arange(target, device=device, dtype=torch.float32) + 0.5) * (source / target) - 0.5
    position = position.clamp(min=0)
    lower = position.floor().long().clamp(max=source - 1)
    return Axis(lower, (lower + 1).clamp(max=source - 1), position - lower)


def sample(values: Tensor, rows: Axis, cols: Axis) -> Tensor:
    """Bilinear samples of (..., h, w) at the given rows and columns: (..., len(rows), len(cols)) float32."""
    weight = rows.fraction[:, None]
    picked = values[..., rows.lower, :].float() * (1 - weight) + values[..., rows.upper, :].float() * weight
    return picked[..., cols.lower] * (1 - cols.fraction) + picked[..., cols.upper] * cols.fraction


def sample_points(values: Tensor, rows: Axis, cols: Axis) -> Tensor:
    """What :func:`sample` gives at p points: channels last (h, w, C) at (row, column) pairs -> (p, C) float32."""
    weight = rows.fraction[:, None]
    left, right = (
        values[rows.lower, side].float() * (1 - weight) + values[rows.upper, side].float() * weight
        for side in (cols.lower, cols.upper)
    )
    return left * (1 - cols.fraction[:, None]) + right * cols.fraction[:, None]
