"""Tiles and their fusion."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textregion.views import fuse, plan_views, split


@pytest.mark.parametrize(
    ("image_hw", "rows", "cols"),
    [((672, 896), 2, 2), ((672, 1196), 2, 3), ((566, 1008), 1, 3), ((896, 1195), 2, 3), ((1344, 2688), 4, 8)],
)
def test_tiles_of_336(image_hw: tuple[int, int], rows: int, cols: int) -> None:
    plan = plan_views(image_hw, 336, 21)
    assert (plan.rows, plan.cols, len(plan.boxes)) == (rows, cols, 1 + rows * cols)
    assert plan.grid_hw == (21 * rows, 21 * cols)


def test_the_last_tile_is_moved_back_and_keeps_its_size() -> None:
    plan = plan_views((10, 25), 8, 1)
    assert plan.tile_boxes == ((0, 0, 10, 9), (0, 9, 10, 18), (0, 16, 10, 25))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 64))
def test_tiles_cover_every_pixel_and_have_one_size(height: int, width: int, crop: int) -> None:
    plan = plan_views((height, width), crop, 2)
    seen = torch.zeros(height, width, dtype=torch.int)
    for top, left, bottom, right in plan.tile_boxes:
        seen[top:bottom, left:right] += 1
    assert bool((seen > 0).all())
    assert len({(b - t, r - left) for t, left, b, r in plan.tile_boxes}) == 1


def test_a_picture_smaller_than_a_tile_and_the_plain_resize() -> None:
    assert plan_views((1, 5), 96, 6).tile_boxes == ((0, 0, 1, 5),)
    plain = plan_views((96, 96), 96, 6, tiles=False)
    assert (plain.tile_boxes, plain.grid_hw, plain.boxes) == ((), (6, 6), ((0, 0, 96, 96),))


def test_without_a_global_view_the_tiles_stand_alone() -> None:
    plan = plan_views((8, 17), 8, 3, global_views=0)
    assert (plan.global_boxes, plan.boxes, plan.grid_hw) == ((), plan.tile_boxes, (3, 6))
    values = torch.rand(2, 5, 3, 3)
    assert torch.equal(fuse(values, plan, 0.5), torch.cat([values[0], values[1]], dim=-1))
    small = torch.rand(2, 5, 2, 2)  # as the dense fallback has under upsampling
    assert torch.equal(fuse(small, plan, 0.5), torch.nn.functional.pad(torch.cat([*small], dim=-1), (0, 2, 0, 1)))
    whole = plan_views((5, 6), 8, 3, global_views=0)  # smaller than a tile: the one tile is the whole picture
    assert (whole.boxes, whole.grid_hw) == (((0, 0, 5, 6),), (3, 3))
    assert torch.equal(fuse(values[:1], whole, 0.5), values[0])


def test_two_global_views_are_the_halves() -> None:
    plan = plan_views((8, 17), 8, 3, global_views=2)
    assert plan.global_boxes == ((0, 0, 8, 8), (0, 8, 8, 17))
    values = torch.stack([torch.full((1, 3, 3), float(v)) for v in range(4)])
    fused = fuse(values * torch.tensor([1.0, 1, 0, 0])[:, None, None, None], plan, 1.0)
    assert fused.shape == (1, 3, 6)
    assert fused[0, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_splitting_a_coordinate_image_and_fusing_it_gives_it_back() -> None:
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(36.0), indexing="ij")
    image = torch.stack([y, x, y * x])
    plan = plan_views((24, 36), 12, 12)
    views = split(image, plan, 12, "bicubic")
    fused = fuse(views, plan, 0.0)
    torch.testing.assert_close(fused, image)


def test_global_weight_and_tiles_add_up() -> None:
    plan = plan_views((4, 8), 4, 2)
    values = torch.zeros(3, 1, 2, 2)
    values[0] = 4.0
    values[1], values[2] = 1.0, 2.0
    assert fuse(values, plan, 0.5)[0].tolist() == [[3, 3, 4, 4], [3, 3, 4, 4]]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_shrinking_view_is_antialiased_unless_told_otherwise(interpolation: str) -> None:
    # Every fourth column is bright. Its share remains where the picture shrinks to a quarter; without antialiasing the
    # two columns in the middle of four (bicubic: all four, by -0.09375 and 0.59375) are all that is looked at.
    image = torch.zeros(3, 32, 32)
    image[:, :, ::4] = 1.0
    plan = plan_views((32, 32), 8, 2, tiles=False)
    blurred = split(image, plan, 8, interpolation)[:, :, 2:-2, 2:-2]
    assert float((blurred - 0.25).abs().max()) < 0.05
    sampled = split(image, plan, 8, interpolation, antialias=False)
    torch.testing.assert_close(sampled, torch.full_like(sampled, 0.0 if interpolation == "bilinear" else -0.09375))


def test_a_view_that_does_not_shrink_is_the_same_either_way() -> None:
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    plan = plan_views((8, 8), 8, 2)
    torch.testing.assert_close(split(image, plan, 8, "bicubic"), split(image, plan, 8, "bicubic", antialias=False))
    torch.testing.assert_close(split(image, plan, 8, "bicubic")[0], image)
