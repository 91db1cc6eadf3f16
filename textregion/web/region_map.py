"""What a page needs to know which regions lie under every pixel: one number a pixel, and a tree of regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..errors import UserError
from ..export import png
from ..regions import RegionTokens

LONGEST_SIDE = 1024
"""Pixels along the longer side of a map; a larger picture's map is smaller than the picture."""
SMALLEST_SIDE = 64
"""A map is made no smaller than this to have few enough numbers."""
MOST_NODES = 2**16
"""Numbers that a pixel of a 16-bit PNG can have."""


@dataclass(frozen=True)
class RegionMap:
    """Regions overlap and nest, but a pixel of a PNG holds one number: that of a node in a tree.

    A node adds one region to those of its parent, and no region is larger than those above it. So a node is the
    smallest region over a pixel, and the way to the root passes the larger ones, one by one. A region may be in many
    nodes. Node 0, the root, has no region. Parents have lower numbers than their children.
    """

    nodes: npt.NDArray[np.uint16]
    """(H, W) number of the node at every pixel."""
    parent: npt.NDArray[np.int64]
    """(N,) parent of each node; -1 for the root."""
    region: npt.NDArray[np.int64]
    """(N,) region that each node adds; -1 for the root."""
    area: npt.NDArray[np.int64]
    """(R,) pixels of each region in the map."""

    def png(self) -> bytes:
        """The nodes as a greyscale PNG file, of 8 bits where they fit, else of 16."""
        eight_bits = len(self.parent) <= 256
        return png(Image.fromarray(self.nodes.astype(np.uint8) if eight_bits else self.nodes))


def region_map(regions: RegionTokens, longest: int = LONGEST_SIDE, most_nodes: int = MOST_NODES) -> RegionMap:
    """The map of a picture's regions, which are taken as hard: all pixels where the soft mask is at least a half.

    Args:
        regions: R regions.
        longest: the map's longer side where the picture's is no shorter.
        most_nodes: where the regions overlap in more ways than this, the map is made smaller.

    Raises:
        UserError: even a small map would have too many nodes.
    """
    longest = min(longest, max(regions.size_hw))
    while True:
        found = _map_at(regions, _fitted(regions.size_hw, longest))
        if len(found.parent) <= most_nodes:
            return found
        if longest <= SMALLEST_SIDE:
            raise UserError(
                f"The {len(regions)} regions overlap in {len(found.parent)} ways, more than the page can show "
                f"({most_nodes}): raise --pred_iou_thresh to have fewer."
            )
        longest = max(longest // 2, SMALLEST_SIDE)


def _map_at(regions: RegionTokens, size_hw: tuple[int, int]) -> RegionMap:
    masks = [np.packbits(_hard(regions, region, size_hw).cpu().numpy()) for region in range(len(regions))]
    pixels = size_hw[0] * size_hw[1]
    area = np.array([np.unpackbits(mask, count=pixels).sum(dtype=np.int64) for mask in masks], np.int64)
    nodes = np.zeros(pixels, np.int64)
    parents, added = [np.array([-1])], [np.array([-1])]
    count = 1
    for region in np.argsort(-area, kind="stable"):
        inside = np.unpackbits(masks[region], count=pixels).view(bool)
        under = nodes[inside]
        covered = np.bincount(under).nonzero()[0]
        renumbered = np.zeros(count, np.int64)
        renumbered[covered] = np.arange(count, count + len(covered))
        nodes[inside] = renumbered[under]
        parents.append(covered)
        added.append(np.full(len(covered), region))
        count += len(covered)
    return RegionMap(nodes.astype(np.uint16).reshape(size_hw), np.concatenate(parents), np.concatenate(added), area)


def _hard(regions: RegionTokens, region: int, size_hw: tuple[int, int]) -> Tensor:
    """(H, W) bool. A mask that is nowhere half there is shown wherever it is at all."""
    half = regions.masks(size_hw, torch.tensor([region]))[0] >= 0.5
    return half if bool(half.any()) else regions.foreground(region, size_hw)


def _fitted(size_hw: tuple[int, int], longest: int) -> tuple[int, int]:
    factor = longest / max(size_hw)
    return max(1, round(size_hw[0] * factor)), max(1, round(size_hw[1] * factor))
