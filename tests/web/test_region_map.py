"""One number a pixel stands for all regions over it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from textregion import RegionMasks, RegionTokens, UserError
from textregion.web.region_map import RegionMap, region_map


def regions_of(masks: np.ndarray, size_hw: tuple[int, int] | None = None) -> RegionTokens:
    soft = RegionMasks.from_masks(torch.from_numpy(masks), size_hw)
    tokens = torch.ones(len(masks), 1)
    return RegionTokens(tokens, soft, size_hw or masks.shape[1:], size_hw or masks.shape[1:])


def chain(found: RegionMap, y: int, x: int) -> list[int]:
    node, regions = int(found.nodes[y, x]), []
    while node:
        regions.append(int(found.region[node]))
        node = int(found.parent[node])
    return regions


def test_a_small_case_by_hand() -> None:
    masks = np.zeros((3, 2, 4), bool)
    masks[0, :, 0] = True  # 2 pixels, within the next
    masks[1, :, :3] = True  # 6 pixels
    masks[2, 0, 2:] = True  # 2 pixels, across its border
    found = region_map(regions_of(masks))
    assert found.area.tolist() == [2, 6, 2]
    assert chain(found, 0, 0) == [0, 1]
    assert chain(found, 0, 1) == [1]
    assert chain(found, 0, 2) == [2, 1]
    assert chain(found, 0, 3) == [2]
    assert chain(found, 1, 3) == []
    assert found.nodes[1, 3] == 0


@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_every_pixel_has_its_regions_from_the_smallest(seed: int, count: int) -> None:
    masks = np.random.default_rng(seed).random((count, 5, 7)) < 0.4
    found = region_map(regions_of(masks))
    assert (found.parent[1:] < np.arange(1, len(found.parent))).all()
    for y in range(5):
        for x in range(7):
            regions = chain(found, y, x)
            assert sorted(regions) == np.flatnonzero(masks[:, y, x]).tolist()
            assert found.area[regions].tolist() == sorted(found.area[regions])


def test_soft_masks_count_from_a_half_and_weak_ones_wherever_they_are() -> None:
    masks = np.array([[[0.0, 0.4, 0.6, 3.0]], [[0.0, 0.0, 0.2, 0.4]]], np.float32)
    found = region_map(regions_of(masks))
    assert [chain(found, 0, x) for x in range(4)] == [[], [], [1, 0], [1, 0]]


def test_no_regions_is_a_map_of_zeros() -> None:
    found = region_map(regions_of(np.zeros((0, 4, 6), bool)))
    assert found.nodes.shape == (4, 6) and not found.nodes.any()
    assert found.parent.tolist() == found.region.tolist() == [-1]


@pytest.mark.parametrize(
    ("size_hw", "expected"), [((3000, 4000), (768, 1024)), ((1, 5000), (1, 1024)), ((9, 7), (9, 7))]
)
def test_a_map_is_bounded_and_never_larger_than_the_picture(
    size_hw: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert region_map(regions_of(np.ones((1, 4, 4), bool), size_hw)).nodes.shape == expected


@pytest.mark.parametrize(("count", "mode"), [(4, "L"), (9, "I;16")])
def test_the_png_holds_the_nodes_in_as_few_bits_as_they_need(count: int, mode: str) -> None:
    masks = np.random.default_rng(0).random((count, 40, 40)) < 0.5
    found = region_map(regions_of(masks))
    assert (len(found.parent) > 256) == (mode == "I;16")
    image = Image.open(io.BytesIO(found.png()))
    assert image.mode == mode
    assert np.array_equal(np.asarray(image), found.nodes)


def test_too_many_ways_to_overlap_make_the_map_smaller_and_then_a_sentence() -> None:
    masks = np.random.default_rng(0).random((11, 128, 128)) < 0.5
    whole = region_map(regions_of(masks))
    assert whole.nodes.shape == (128, 128)
    fewer = region_map(regions_of(masks), most_nodes=len(whole.parent) - 1)
    assert fewer.nodes.shape == (64, 64)
    with pytest.raises(UserError, match="more than the page can show"):
        region_map(regions_of(masks), most_nodes=100)
