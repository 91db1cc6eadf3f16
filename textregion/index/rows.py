"""What an index keeps of one picture: the facts of its file, and columns with a row for each of its regions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from ..region_masks import RegionMasks, span
from ..regions import RegionTokens
from ..resample import Axis, bilinear_axis

Masks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FileFacts:
    """What a file system says of a file before its bytes are read."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str) -> FileFacts:
        """Those of a file that is there."""
        stat = os.stat(path)
        return cls(stat.st_size, stat.st_mtime_ns)


@dataclass(frozen=True)
class PictureFacts:
    """A picture's file, and how large it and its masks are."""

    path: str
    """Absolute."""
    file: FileFacts
    sha256: str
    size_hw: tuple[int, int]
    mask_hw: tuple[int, int]
    """Size of the low-resolution masks, each of which covers the whole picture."""
    regions: int
    """R."""


@dataclass(frozen=True)
class PictureRows:
    """A picture's facts and the columns of its R regions."""

    facts: PictureFacts
    tokens: Tensor
    """(R, D) float16, L2-normalised."""
    boxes_xywh: Tensor
    """(R, 4) int32, in the picture's pixels."""
    areas: Tensor
    """(R,) float32, in the picture's pixels, from the low-resolution mask."""
    scores: Tensor
    """(R,) float16, SAM 2's predicted IoU."""
    masks_rle: tuple[bytes, ...]
    """R low-resolution masks in COCO's compressed RLE."""

    @classmethod
    def of(cls, path: str, file: FileFacts, sha256: str, regions: RegionTokens) -> PictureRows:
        """The rows of a picture that was encoded."""
        masks = regions.region_masks
        inside = masks.join(masks.logits.view(torch.int16) > 0).cpu().numpy()  # as of floats that are not negative
        mask_hw = (inside.shape[1], inside.shape[2])
        facts = PictureFacts(path, file, sha256, regions.size_hw, mask_hw, len(regions))
        axes = [bilinear_axis(source, target) for source, target in zip(mask_hw, regions.size_hw)]
        pixels = regions.size_hw[0] * regions.size_hw[1] / (mask_hw[0] * mask_hw[1])
        rles = encode_masks(inside)
        areas = coco_mask.area(_with_size(rles, mask_hw)) if rles else []
        return cls(
            facts,
            regions.tokens.detach().cpu().half(),
            _boxes(inside, *axes),
            torch.tensor(areas, dtype=torch.float32) * pixels,
            regions.scores.cpu().half(),
            rles,
        )

    def of_file(self, path: str, file: FileFacts) -> PictureRows:
        """The same rows for a file of the same bytes."""
        return replace(self, facts=replace(self.facts, path=path, file=file))


def _boxes(inside: Masks, rows: Axis, cols: Axis) -> Tensor:
    """(R, h, w) bool -> (R, 4) int32: boxes of the pixels that :meth:`RegionMasks.foreground` is true at."""
    sampled_rows, sampled_cols = _sampled(rows, inside.shape[1]), _sampled(cols, inside.shape[2])
    if not sampled_rows.all():
        inside = inside & sampled_rows[:, None]
    if not sampled_cols.all():
        inside = inside & sampled_cols
    x, width = _extent(torch.from_numpy(inside.any(1)), cols)
    y, height = _extent(torch.from_numpy(inside.any(2)), rows)
    return torch.stack([x, y, width, height], dim=1).int()


def _sampled(axis: Axis, source: int) -> npt.NDArray[np.bool_]:
    """(source,) bool: the source pixels that any target pixel samples; few do where a picture is small."""
    sampled = torch.zeros(source, dtype=torch.bool)
    sampled[axis.lower] = True
    sampled[axis.upper[axis.fraction > 0]] = True
    return sampled.numpy()


def _extent(source: Tensor, axis: Axis) -> tuple[Tensor, Tensor]:
    """(R, n) bool of source pixels -> (R,) the first target pixel that samples one of them, and how far they reach."""
    hit = source[:, axis.lower] | (source[:, axis.upper] & (axis.fraction > 0))
    first, last = span(hit)
    found = hit.any(1)
    return first * found, (last - first) * found


def encode_masks(inside: Masks) -> tuple[bytes, ...]:
    """(R, h, w) bool -> R masks in COCO's compressed RLE, without their size."""
    if not len(inside):
        return ()
    by_column = np.stack([cv2.transpose(mask.view(np.uint8)) for mask in inside])  # many times faster than NumPy's copy
    return tuple(rle["counts"] for rle in coco_mask.encode(by_column.T))


def _with_size(rles: Sequence[bytes], mask_hw: tuple[int, int]) -> list[dict[str, object]]:
    return [{"size": list(mask_hw), "counts": counts} for counts in rles]


def decode_masks(masks_rle: tuple[bytes, ...], mask_hw: tuple[int, int]) -> Masks:
    """What :func:`encode_masks` encoded, as (R, h, w) bool.

    Raises:
        ValueError: no RLE of that size.
    """
    if not masks_rle:
        return np.zeros((0, *mask_hw), bool)
    return np.ascontiguousarray(coco_mask.decode(_with_size(masks_rle, mask_hw)).transpose(2, 0, 1)).astype(bool)


def foreground(mask: npt.NDArray[np.bool_], size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(h, w) low-resolution mask -> (H, W), the pixels of :meth:`textregion.RegionTokens.foreground`."""
    full: npt.NDArray[np.bool_] = RegionMasks.from_masks(torch.from_numpy(mask)[None], size_hw).foreground(0).numpy()
    return full
