"""Masks on the grid, the global-patch filter, and pooling against slow and plain versions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import AttentionPoolLatent

from textregion import RegionMasks
from textregion.pooling import drop_global_patches, patch_locality, patch_shares, pool, to_grid


def _random_masks(seed: int, regions: int, size: int = 16, output_hw: tuple[int, int] = (50, 70)) -> RegionMasks:
    noise = torch.randn(regions, size, size, generator=torch.Generator().manual_seed(seed))
    smooth = F.avg_pool2d(noise[None], 5, 1, 2)[0] * 12
    return RegionMasks.from_masks(smooth, output_hw)


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 12), st.integers(1, 12))
def test_grid_masks_are_the_resized_full_masks(seed: int, regions: int, rows: int, cols: int) -> None:
    masks = _random_masks(seed, regions)
    whole = F.interpolate(masks.full().float()[None], (rows, cols), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(to_grid(masks, (rows, cols)), whole.clamp(0, 1).flatten(1), atol=1e-5, rtol=0)


def test_a_mask_of_ones_is_ones_on_the_grid_and_none_gives_none() -> None:
    masks = RegionMasks.from_masks(torch.ones(1, 4, 4), (9, 9))
    assert to_grid(masks, (2, 3)).tolist() == [[1.0] * 6]
    assert to_grid(RegionMasks.from_masks(torch.zeros(0, 4, 4), (9, 9)), (2, 3)).shape == (0, 6)


def test_the_shares_of_a_small_mask_by_hand() -> None:
    masks = torch.zeros(3, 4, 6)
    masks[0, 1:3, 1:3] = 1.0  # one pixel in the first patch of either row, one in the second
    masks[1, 0, 0], masks[1, 3, 5] = 0.25, 3.0
    given_masks = RegionMasks.from_masks(masks)
    # two rows and three columns of patches, of 2 x 2 pixels each
    assert patch_shares(given_masks, (2, 3), hard=False).tolist() == [
        [0.25, 0.25, 0, 0.25, 0.25, 0],
        pytest.approx([0.2, 0, 0, 0, 0, 0.8]),
        [0] * 6,
    ]
    assert patch_shares(given_masks, (2, 3), hard=True)[1].tolist() == [0.5, 0, 0, 0, 0, 0.5]
    # patches of 4/3 x 3/2 pixels: of the two rows the first has a third of one, the next 4/3; of the columns 1/2, 3/2
    rows, cols = [1 / 6, 4 / 6, 1 / 6], [0.25, 0.75, 0, 0]
    thirds = patch_shares(RegionMasks.from_masks(masks[:1]), (3, 4), hard=False)[0].reshape(3, 4)
    torch.testing.assert_close(thirds, torch.tensor(rows)[:, None] * torch.tensor(cols))


@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 9))
def test_shares_are_the_areas_of_the_mask_in_each_patch(seed: int, rows: int, cols: int) -> None:
    soft = torch.rand(2, 7, 5, generator=torch.Generator().manual_seed(seed))
    shares = patch_shares(RegionMasks.from_masks(soft), (rows, cols), hard=False)
    # every pixel as rows x cols smaller ones, of which each lies in one patch
    fine = soft.half().float().repeat_interleave(rows, 1).repeat_interleave(cols, 2)
    areas = fine.reshape(2, rows, 7, cols, 5).sum((2, 4)).flatten(1)
    torch.testing.assert_close(shares, areas / areas.sum(1, keepdim=True), atol=1e-5, rtol=0)


def test_fused_members_are_shared_out_as_one() -> None:
    members = torch.zeros(2, 2, 4).half()
    members[0, 0, :2], members[1, 0, 1:3] = 1.0, 1.0
    ones = torch.ones(1)
    region = RegionMasks(members, torch.tensor([0, 0]), ones, ones, (2, 4))
    assert patch_shares(region, (1, 2), hard=False).tolist() == [pytest.approx([2 / 3, 1 / 3])]


def _slow_locality(values: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    unit = F.normalize(values, dim=-1)
    result = torch.zeros(len(values))
    for patch in range(len(values)):
        inside, outside = [], []
        for region in grid:
            members = [float(unit[patch] @ unit[j]) for j in range(len(values)) if region[j] > 0]
            (inside if region[patch] > 0 else outside).append(sum(members) / len(members))
        own = sum(inside) / len(inside) if inside else 0.0
        result[patch] = own - (sum(outside) / len(outside) if outside else 0.0)
    return result


@given(st.integers(0, 1000))
def test_locality_equals_three_loops(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(9, 4, generator=generator)
    grid = (torch.rand(3, 9, generator=generator) - 0.4).clamp(min=0)
    grid[:, 0] = 0.5
    torch.testing.assert_close(patch_locality(values, grid), _slow_locality(values, grid), atol=1e-5, rtol=0)


def test_dropping_clears_columns_and_leaves_its_argument() -> None:
    grid = torch.tensor([[0.5, 1.0, 0.0], [0.0, 1.0, 1.0]])
    before = grid.clone()
    dropped = drop_global_patches(grid, torch.tensor([0.2, 0.07, 0.0699]), 0.07)
    assert dropped.tolist() == [[0.5, 1.0, 0.0], [0.0, 1.0, 0.0]]
    assert torch.equal(grid, before)


def test_pooling_by_hand() -> None:
    values = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 4.0]])
    grid = torch.tensor([[0.5, 1.0, 0.0], [0.0, 0.0, 0.25]])
    assert pool(values, grid, "sum").tolist() == [[3.5, 2.0], [1.25, 1.0]]
    assert pool(values, grid, "mean").tolist() == [[2.0, 1.0], [5.0, 4.0]]
    # the second region has shares of patches, of which one may be gone
    grid = torch.tensor([[0.5, 1.0, 0.0], [0.125, 0.0, 0.375]])
    shared = torch.tensor([False, True])
    assert pool(values, grid, "sum", shared).tolist() == [[3.5, 2.0], [4.0, 3.0]]
    assert pool(values, grid, "mean", shared).tolist() == [[2.0, 1.0], [4.0, 3.0]]


@given(st.integers(0, 1000), st.permutations(range(5)))
def test_permuting_regions_permutes_the_pooled(seed: int, order: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    values, grid = torch.randn(7, 3, generator=generator), torch.rand(5, 7, generator=generator)
    for how in ("sum", "mean"):
        torch.testing.assert_close(pool(values, grid[order], how), pool(values, grid, how)[order])


def test_the_mean_is_what_an_attention_pool_with_equal_keys_gives() -> None:
    torch.manual_seed(0)
    attention = AttentionPoolLatent(8, num_heads=2).eval()
    values, inside = torch.randn(6, 8), torch.tensor([True, False, True, True, False, False])
    width = 8
    with torch.no_grad():
        keys = torch.zeros(1, 2, 6, 4)
        projected = F.linear(values, attention.kv.weight[width:], attention.kv.bias[width:])
        heads = projected.reshape(1, 6, 2, 4).transpose(1, 2)
        query = attention.q(attention.latent).reshape(1, 1, 2, 4).transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, keys, heads, attn_mask=inside[None, None, None])
        expected = attended.transpose(1, 2).reshape(1, 8)
        mean = pool(values, inside[None].float(), "mean")
        own = F.linear(mean, attention.kv.weight[width:], attention.kv.bias[width:])
    torch.testing.assert_close(own, expected, atol=1e-6, rtol=0)
