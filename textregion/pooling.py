"""Stage 4: masks on the patch grid, global patches removed, values pooled (method.md sections 6 to 8)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .region_masks import RegionMasks
from .resample import Axis, bilinear_axis

REGIONS_AT_A_TIME = 64


def to_grid(masks: RegionMasks, grid_hw: tuple[int, int]) -> Tensor:
    """Region masks on the patch grid: (R, gh * gw) float32 in [0, 1] (section 6).

    It equals a bilinear resize of the full-size masks, of which only the rows and columns that it samples are made.
    """
    grid_rows = bilinear_axis(masks.output_hw[0], grid_hw[0], masks.device)
    grid_cols = bilinear_axis(masks.output_hw[1], grid_hw[1], masks.device)
    full_rows, full_cols = masks.axes(masks.output_hw)
    rows, cols = _neighbours(full_rows, grid_rows), _neighbours(full_cols, grid_cols)
    parts = []
    for index in torch.arange(len(masks), device=masks.device).split(REGIONS_AT_A_TIME):
        corners = masks[index].at(rows, cols).float()
        parts.append(_blend(corners, grid_rows.fraction, grid_cols.fraction).clamp(0, 1).flatten(1))
    return torch.cat(parts) if parts else torch.zeros(0, grid_hw[0] * grid_hw[1], device=masks.device)


def _neighbours(full: Axis, grid: Axis) -> Axis:
    """The full-size pixels that a grid axis samples: all lower neighbours, then all upper ones."""
    return full[torch.cat([grid.lower, grid.upper])]


def _blend(corners: Tensor, row_weight: Tensor, col_weight: Tensor) -> Tensor:
    """(R, 2 gh, 2 gw) values at lower and upper neighbours -> (R, gh, gw)."""
    upper, lower = corners.chunk(2, dim=1)
    rows = upper * (1 - row_weight[:, None]) + lower * row_weight[:, None]
    left, right = rows.chunk(2, dim=2)
    return left * (1 - col_weight) + right * col_weight


def patch_locality(values: Tensor, grid: Tensor) -> Tensor:
    """How much more a patch resembles the regions it lies in than the others: (N,) (section 7).

    A low figure marks a patch that carries global, not local, content.

    Args:
        values: (N, C) fused patch values.
        grid: (R, N) masks on the patch grid.
    """
    unit = F.normalize(values, dim=-1)
    inside = (grid > 0).to(unit.dtype)
    region_mean = (inside @ unit) / inside.sum(1, keepdim=True).clamp(min=1e-9)
    similarity = unit @ region_mean.T
    member = inside.T
    own = (similarity * member).sum(1) / (member.sum(1) + 1e-9)
    other = (similarity * (1 - member)).sum(1) / ((1 - member).sum(1) + 1e-9)
    return own - other


def drop_global_patches(grid: Tensor, locality: Tensor, threshold: float) -> Tensor:
    """(R, N) masks with the patches of a locality below the threshold cleared from every region (section 7)."""
    return grid * (locality >= threshold).to(grid.dtype)


def pool(values: Tensor, grid: Tensor, how: Literal["sum", "mean"]) -> Tensor:
    """Pool patch values over regions: (R, C) (section 8).

    Args:
        values: (N, C).
        grid: (R, N); ``sum`` takes it as weights as it is, ``mean`` takes every patch above 0 alike.
    """
    if how == "sum":
        return grid @ values
    inside = (grid > 0).to(values.dtype)
    return (inside @ values) / inside.sum(1, keepdim=True).clamp(min=1)
