"""Masks that a user gives, in the forms that other tools make them: read as one, and held against the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

from .errors import UserError, described, reason_of

MaskArray = Tensor | npt.NDArray[np.generic]
Masks = MaskArray | Sequence[MaskArray | Mapping[str, Any]]
"""What :func:`read_masks` takes."""
_FORMS = "(R, H, W) or (H, W), a list of (H, W) masks, or SAM's list of dicts"
_SOFT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_TURNS = {
    Image.Transpose.ROTATE_270: "numpy.rot90(masks, -1, (1, 2))",
    Image.Transpose.ROTATE_90: "numpy.rot90(masks, 1, (1, 2))",
    Image.Transpose.TRANSPOSE: "masks.swapaxes(1, 2)",
    Image.Transpose.TRANSVERSE: "numpy.rot90(masks, 2, (1, 2)).swapaxes(1, 2)",
}
"""What does with masks (R, H, W) as each turn does with a picture; the turns that keep its shape are left out."""


@dataclass(frozen=True)
class GivenMasks:
    """R masks of one size, and what is said of each."""

    soft: Tensor
    """(R, h, w) float16 in [0, 3]."""
    scores: Tensor
    """(R,) float32 predicted IoU, 1 where nothing is said."""
    stability: Tensor
    """(R,) float32 stability score, 1 where nothing is said."""


def read_masks(masks: Masks) -> GivenMasks:
    """Masks of any form as one object, on the device where they are.

    Args:
        masks: an array or a tensor (R, H, W), (R, 1, H, W) or (H, W); a list of (H, W) ones; or SAM's list of dicts,
            whose ``segmentation`` is (H, W) or a COCO RLE. They hold booleans, 0 and one other whole number, or soft
            values, which are clamped to [0, 3].

    Raises:
        UserError: another form, several sizes in a list, NaN, a label map.
    """
    if isinstance(masks, (list, tuple)):
        return _read_list(masks)
    soft = _soft(masks, "Masks")
    if soft.ndim == 2:
        soft = soft[None]
    elif soft.ndim == 4 and soft.shape[1] == 1:
        soft = soft[:, 0]
    if soft.ndim != 3 or 0 in soft.shape[1:]:
        raise UserError(f"Masks must be {_FORMS}, but got {described(masks)}.")
    ones = torch.ones(len(soft), device=soft.device)
    return GivenMasks(soft, ones, ones)


def _read_list(masks: Sequence[object]) -> GivenMasks:
    if not masks:
        raise UserError("The list of masks is empty: leave masks out to have SAM 2 find the regions.")
    read = [_read_one(mask, f"Mask {index}") for index, mask in enumerate(masks)]
    first = read[0][0]
    for index, (soft, _, _) in enumerate(read):
        if soft.shape != first.shape:
            raise UserError(
                f"All masks must have one size, but mask 0 is {_size(first.shape)} and mask {index} is "
                f"{_size(soft.shape)}."
            )
    scores, stability = (torch.tensor([one[i] for one in read], device=first.device) for i in (1, 2))
    return GivenMasks(torch.stack([soft.to(first.device) for soft, _, _ in read]), scores, stability)


def _read_one(mask: object, name: str) -> tuple[Tensor, float, float]:
    """(h, w) soft values, predicted IoU and stability of one mask of a list."""
    facts = mask if isinstance(mask, Mapping) else {"segmentation": mask}
    if "segmentation" not in facts:
        raise UserError(f"{name} is a dict without 'segmentation': give dicts as SAM makes them.")
    values = facts["segmentation"]
    soft = _soft(_decode_rle(values, name) if isinstance(values, Mapping) else values, name)
    soft = soft[0] if soft.ndim == 3 and len(soft) == 1 else soft
    if soft.ndim != 2 or 0 in soft.shape:
        raise UserError(f"{name} must be (H, W), but got {described(values)}.")
    iou, stability = (_number(facts.get(key, 1.0), key, name) for key in ("predicted_iou", "stability_score"))
    return soft, iou, stability


def _soft(masks: object, name: str) -> Tensor:
    """Values of any shape as float16 in [0, 3]."""
    if isinstance(masks, np.ndarray) and masks.dtype.kind in "biuf":
        # PyTorch does not know the other byte order, nor every unsigned type.
        masks = torch.from_numpy(masks.astype(np.float32) if masks.dtype.kind == "f" else _inside(masks, name))
    elif isinstance(masks, Tensor) and not (masks.is_floating_point() or masks.is_complex() or masks.is_quantized):
        masks = torch.as_tensor(_inside(masks.detach(), name))
    if not isinstance(masks, Tensor) or masks.dtype not in (torch.bool, *_SOFT_TYPES):
        raise UserError(f"{name} must be arrays or tensors of booleans or numbers, but got {described(masks)}.")
    if bool(masks.isnan().any()):
        raise UserError(f"{name} must hold numbers only, but got NaN.")
    soft: Tensor = masks.detach().as_subclass(Tensor).to(torch.float16).clamp(0, 3)
    return soft


def _inside(masks: Any, name: str) -> Any:
    """Where an array or a tensor of booleans or of 0 and one other whole number is not 0."""
    if 0 not in masks.shape and str(masks.dtype).removeprefix("torch.") != "bool":
        top = masks.max()
        if not bool(((masks == 0) | (masks == top)).all()) or top < 0:
            raise UserError(
                f"{name} must hold one value besides 0, but got a label map: give one mask a region, as labels == 1."
            )
    return masks > 0


def _decode_rle(rle: Mapping[str, Any], name: str) -> npt.NDArray[np.bool_]:
    """(h, w) mask of a COCO RLE, compressed or not."""
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        if not isinstance(counts, (str, bytes)):
            if sum(counts) != height * width:
                raise ValueError(f"its counts make {sum(counts)} pixels of {height} x {width}")
            rle = coco_mask.frPyObjects({"size": [height, width], "counts": list(counts)}, height, width)
        return np.asarray(coco_mask.decode(rle), dtype=bool)
    except Exception as error:  # whatever a made-up RLE happens to cause
        raise UserError(f"{name} is no COCO RLE ({reason_of(error)}): give its 'size' and 'counts'.") from None


def _number(value: Any, key: str, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"The {key!r} of {name.lower()} must be a number, but is {described(value)}.") from None


def _size(size_hw: Sequence[int]) -> str:
    return f"{size_hw[0]} x {size_hw[1]}"


def check_size(masks_hw: tuple[int, int], picture_hw: tuple[int, int], turn: Image.Transpose | None) -> None:
    """Refuse masks that were drawn on a picture of another shape.

    Args:
        masks_hw: height and width of the picture that the masks belong to, or of that picture made larger or smaller.
        picture_hw: those of the upright picture.
        turn: what put it upright; None: nothing had to.

    Raises:
        UserError: the shapes differ.
    """
    if _is_scaled(masks_hw, picture_hw):
        return
    came = f"Masks of {_size(masks_hw)} pixels (height x width)"
    if turn in _TURNS and _is_scaled(masks_hw[::-1], picture_hw):
        raise UserError(
            f"{came} fit the picture as it is stored, but its EXIF orientation turns it to {_size(picture_hw)}: turn "
            f"them as well, {_TURNS[turn]}."
        )
    raise UserError(
        f"{came} do not fit a picture of {_size(picture_hw)}: give them in its shape, or, if they are a squeezed "
        f"version such as SAM's square logits, RegionMasks.from_masks(masks, output_hw={picture_hw})."
    )


def _is_scaled(size_hw: tuple[int, int], other_hw: tuple[int, int]) -> bool:
    """Whether a size is another one times some factor, each side rounded up or down."""
    lower, upper = ([(side + off) / other for side, other in zip(size_hw, other_hw)] for off in (-1, 1))
    return max(lower) < min(upper)
