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


def patch_shares(masks: RegionMasks, grid_hw: tuple[int, int], *, hard: bool) -> Tensor:
    """How each mask is shared out among the patches, by area: (R, gh * gw) float32, 1 in all; 0 for an empty mask.

    It takes the place of :func:`to_grid` for masks that lie between the patches' centres, where that has nothing.

    Args:
        hard: take every pixel above 0 alike, instead of its soft value of at most 1.
    """
    soft = masks.join(masks.logits).float()
    soft = (soft > 0).float() if hard else soft.clamp(max=1)
    rows, cols = (_overlaps(side, patches, masks.device) for side, patches in zip(soft.shape[1:], grid_hw))
    areas = (rows @ soft @ cols.T).flatten(1)
    return areas / areas.sum(1, keepdim=True).clamp(min=torch.finfo(areas.dtype).tiny)


def _overlaps(pixels: int, patches: int, device: torch.device) -> Tensor:
    """(patches, pixels) how much of each pixel of an axis lies in each of the patches that divide it, 0 to 1."""
    # In whole numbers, a pixel being as long as there are patches, so that none reaches into the next by rounding.
    patch = torch.arange(patches, device=device)[:, None] * pixels
    pixel = torch.arange(pixels, device=device) * patches
    reach = torch.minimum(patch + pixels, pixel + patches) - torch.maximum(patch, pixel)
    return reach.clamp(min=0).float() / patches


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


def pool(values: Tensor, grid: Tensor, how: Literal["sum", "mean"], shared: Tensor | None = None) -> Tensor:
    """Pool patch values over regions: (R, C) (section 8).

    Args:
        values: (N, C).
        grid: (R, N); ``sum`` takes it as weights as it is, ``mean`` takes every patch above 0 alike.
        shared: (R,) bool, regions whose patches have shares (:func:`patch_shares`): either way they weigh by them, 1
            in all, so that a small mask counts as one patch wherever it lies.
    """
    if how == "sum":
        pooled = grid @ values
    else:
        inside = (grid > 0).to(values.dtype)
        pooled = (inside @ values) / inside.sum(1, keepdim=True).clamp(min=1)
    if shared is not None and bool(shared.any()):
        shares = grid[shared]
        pooled[shared] = (shares / shares.sum(1, keepdim=True)) @ values
    return pooled
