"""Stage 1: the whole picture and its tiles, and how their patch grids are fused (method.md sections 2 and 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class ViewPlan:
    """Where each view of a picture lies, in pixels and on the fused patch grid.

    Views are ordered: the global views (one, or left and right half, or none), then the tiles row by row.
    """

    image_hw: tuple[int, int]
    global_boxes: tuple[Box, ...]
    """(top, left, bottom, right) of the global views."""
    tile_boxes: tuple[Box, ...]
    rows: int
    cols: int
    view_patches: int
    """Patches along a side of one view's own grid (after upsampling)."""

    @property
    def boxes(self) -> tuple[Box, ...]:
        return self.global_boxes + self.tile_boxes

    @property
    def grid_hw(self) -> tuple[int, int]:
        """(gh, gw) of the fused grid."""
        return self.view_patches * self.rows, self.view_patches * self.cols


def plan_views(
    image_hw: tuple[int, int], crop_size: int, view_patches: int, *, tiles: bool = True, global_views: int = 1
) -> ViewPlan:
    """Lay out the views of a resized picture (section 2).

    Args:
        image_hw: height and width of the resized picture.
        crop_size: S, the side of the encoder's input.
        view_patches: patches along a side of one view's grid, upsampling included.
        tiles: False keeps the global view alone (``resize_method='resize'``).
        global_views: 1, 2 for the left and right half, or 0 for tiles alone.
    """
    height, width = image_hw
    whole = ((0, 0, height, width),)
    if not tiles:
        return ViewPlan(image_hw, whole, (), 1, 1, view_patches)
    halves = ((0, 0, height, max(width // 2, 1)), (0, min(width // 2, width - 1), height, width))
    global_boxes = ((), whole, halves)[global_views]
    rows, cols = max(height // crop_size, 1), max(width // crop_size, 1)
    boxes = tuple((*r, *c) for r in _spans(height, rows) for c in _spans(width, cols))
    tile_boxes = tuple((top, left, bottom, right) for top, bottom, left, right in boxes)
    return ViewPlan(image_hw, global_boxes, tile_boxes, rows, cols, view_patches)


def _spans(side: int, count: int) -> list[tuple[int, int]]:
    """Start and end of ``count`` equal spans; the last is moved back inside, so it keeps its size."""
    size = math.ceil(side / count)
    ends = [min(index * size + size, side) for index in range(count)]
    return [(max(end - size, 0), end) for end in ends]


def split(image: Tensor, plan: ViewPlan, crop_size: int, interpolation: str, antialias: bool = True) -> Tensor:
    """Cut and resize the views of a picture.

    Args:
        image: (3, H, W) float in 0..1.
        interpolation: ``bicubic`` or ``bilinear``.
        antialias: blur what would alias where a view shrinks.

    Returns:
        (V, 3, S, S) float, not normalised.
    """
    crops = [image[None, :, top:bottom, left:right] for top, left, bottom, right in plan.boxes]
    size = (crop_size, crop_size)
    resized = [F.interpolate(c, size, mode=interpolation, align_corners=False, antialias=antialias) for c in crops]
    return torch.cat(resized)


def fuse(values: Tensor, plan: ViewPlan, global_weight: float) -> Tensor:
    """Add the upsampled global view and the tiles on the fused grid (section 4).

    Args:
        values: (V, C, g, g) of all views, in the plan's order. Tiles of fewer patches than the plan's keep their
            scale and lie in the top left corner: so does the published dense fallback under ``upsample_times``.
        global_weight: a, the weight of the global view.

    Returns:
        (C, gh, gw).
    """
    grid_h, grid_w = plan.grid_hw
    count = len(plan.global_boxes)
    if not plan.tile_boxes:
        return values[0]
    tiles = _mosaic(values[count:], plan)
    tiles = F.pad(tiles, (0, grid_w - tiles.shape[2], 0, grid_h - tiles.shape[1]))
    if count == 0:
        return tiles
    widths = (grid_w,) if count == 1 else (grid_w // 2, grid_w - grid_w // 2)
    parts = [
        F.interpolate(view[None], (grid_h, width), mode="bilinear", align_corners=False)[0]
        for view, width in zip(values[:count], widths)
    ]
    return torch.cat(parts, dim=-1) * global_weight + tiles


def _mosaic(tiles: Tensor, plan: ViewPlan) -> Tensor:
    """(T, C, g, g) tiles, row by row, side by side as (C, rows * g, cols * g)."""
    channels, side = tiles.shape[1], tiles.shape[-1]
    grid = tiles.reshape(plan.rows, plan.cols, channels, side, side).permute(2, 0, 3, 1, 4)
    return grid.reshape(channels, plan.rows * side, plan.cols * side)
