"""Stage 3: region masks from SAM 2 (method.md section 5): point grid, filters, NMS, fusion.

Masks stay at SAM 2's low resolution; a full-size mask is made only where and when it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou, nms

from .image import RGB
from .mask_decoder import decode_points
from .options import SegmenterOptions
from .region_masks import RegionMasks, containment_exceeds, span
from .runtime import Precision

SOFT_MAX = 3.0
"""Soft masks are logits clamped to [0, 3]."""
MASKS_AT_A_TIME = 64
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class MaskCandidates:
    """Columns of one length M: candidate masks, filtered as one object."""

    logits: Tensor
    """(M, h, w) float16, clamped to [-32, 32]."""
    iou: Tensor
    """(M,) predicted IoU."""
    stability: Tensor
    """(M,) stability score."""
    boxes_xyxy: Tensor
    """(M, 4) float, inclusive corners in low-resolution pixels."""
    output_index: Tensor
    """(M,) which of the three outputs: 2 whole, 1 part, 0 sub-part."""

    def __len__(self) -> int:
        return len(self.iou)


class MaskGenerator:
    """Region masks of a picture from a frozen SAM 2 or 2.1 model of any image size.

    Args:
        sam2_model: a ``SAM2Base`` built without postprocessing.
        options: thresholds and sizes; the demo's by default.
        precision: autocast of the model's passes.
    """

    def __init__(
        self, sam2_model: nn.Module, options: SegmenterOptions | None = None, precision: Precision | None = None
    ) -> None:
        self.model: Any = sam2_model
        self.options = options or SegmenterOptions()
        self.precision = precision or Precision()

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.no_mem_embed.device
        return device

    @torch.no_grad()
    def generate(
        self, image: RGB, output_hw: tuple[int, int] | None = None, options: SegmenterOptions | None = None
    ) -> RegionMasks:
        """Soft region masks of a resized picture.

        Args:
            image: (H, W, 3) uint8.
            output_hw: size at which masks are compared and later shown; None: the picture's.
            options: instead of the generator's own.

        Returns:
            R regions, whole masks first, then parts, then sub-parts, each by predicted IoU; R may be 0.
        """
        options = options or self.options
        kept = select(self.predict(image, options), options)
        return fuse_regions(kept, output_hw or image.shape[:2], options)

    @torch.no_grad()
    def predict(self, image: RGB, options: SegmenterOptions | None = None) -> tuple[Tensor, Tensor]:
        """Low-resolution logits (P, 3, h, w) float16 and predicted IoU (P, 3) for a grid of P points."""
        options = options or self.options
        with self.precision.autocast(self.device):
            embedding, high_res = self._encode(image)
            points = point_grid(options.points_per_side, self.device) * self.model.image_size
            return decode_points(self.model, embedding, high_res, points, options.points_per_batch)

    def _encode(self, image: RGB) -> tuple[Tensor, list[Tensor]]:
        size = self.model.image_size
        pixels = torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 255
        pixels = F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False)
        mean, std = (pixels.new_tensor(v)[:, None, None] for v in (_IMAGENET_MEAN, _IMAGENET_STD))
        levels = self.model.forward_image((pixels - mean) / std)["backbone_fpn"][-self.model.num_feature_levels :]
        embedding = levels[-1]
        if self.model.directly_add_no_mem_embed:
            embedding = embedding + self.model.no_mem_embed.reshape(1, -1, 1, 1)
        return embedding, levels[:-1]


def point_grid(per_side: int, device: torch.device | str = "cpu") -> Tensor:
    """(per_side ** 2, 2) points (x, y) in 0..1, row by row, at the centres of a regular grid."""
    centres = (torch.arange(per_side, device=device, dtype=torch.float32) + 0.5) / per_side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def select(prediction: tuple[Tensor, Tensor], options: SegmenterOptions) -> MaskCandidates:
    """Filters, NMS and minimal size; the survivors in the order of fusing.

    Args:
        prediction: logits (P, 3, h, w) and predicted IoU (P, 3).
    """
    logits, iou = prediction
    outputs = torch.tensor([2, 1, 0], device=iou.device)
    iou_by_output = iou.T[outputs]
    level, point = (iou_by_output > options.pred_iou_thresh).nonzero(as_tuple=True)
    iou, output = iou_by_output[level, point], outputs[level]
    stability, area, boxes = _measure(logits, point, output)
    keep = (stability >= options.stability_score_thresh).nonzero().flatten()
    keep = keep[nms(boxes[keep], iou[keep], options.box_nms_thresh)]
    keep = keep[area[keep] > options.min_size]
    keep = keep[iou[keep].argsort(descending=True, stable=True)]
    keep = keep[output[keep].argsort(descending=True, stable=True)]
    return MaskCandidates(logits[point[keep], output[keep]], iou[keep], stability[keep], boxes[keep], output[keep])


def _measure(logits: Tensor, point: Tensor, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Stability (n,), area (n,) and box (n, 4) of the masks of n points and outputs, a few at a time."""
    parts = []
    for index in torch.arange(len(point), device=point.device).split(MASKS_AT_A_TIME):
        masks = logits[point[index], output[index]]
        parts.append((stability_score(masks), _area(masks, 0.0), mask_boxes(masks)))
    stability, area, boxes = (torch.cat(columns) for columns in zip(*parts))
    return stability, area, boxes


def stability_score(logits: Tensor, offset: float = 1.0) -> Tensor:
    """(M, h, w) -> (M,): area(logit > offset) / area(logit > -offset), 0 where the latter is empty."""
    return _area(logits, offset) / _area(logits, -offset).clamp(min=1)


def _area(logits: Tensor, threshold: float) -> Tensor:
    """(M, h, w) -> (M,) pixels above a threshold."""
    # Without its dtype the sum would first turn every pixel into an int64.
    return (logits > threshold).flatten(1).sum(1, dtype=torch.int32)


def mask_boxes(logits: Tensor) -> Tensor:
    """(M, h, w) -> (M, 4) float x_min, y_min, x_max, y_max of logit > 0, inclusive; zeros for an empty mask."""
    cols, rows = logits.amax(1) > 0, logits.amax(2) > 0
    (left, right), (top, bottom) = span(cols), span(rows)
    boxes = torch.stack([left, top, right - 1, bottom - 1], dim=1).float()
    return boxes * cols.any(1)[:, None]


def fuse_regions(found: MaskCandidates, output_hw: tuple[int, int], options: SegmenterOptions) -> RegionMasks:
    """Join masks that contain one another (section 5, last step).

    Args:
        found: M candidates in the order of fusing.
        output_hw: size of the soft masks that are compared.
    """
    soft = found.logits.clamp(0, SOFT_MAX)
    groups = _groups(soft, found.boxes_xyxy, output_hw, options)
    members = torch.tensor([m for group in groups for m in group], dtype=torch.long, device=soft.device)
    region_of = torch.tensor([r for r, group in enumerate(groups) for _ in group], dtype=torch.long, device=soft.device)
    first = torch.tensor([group[0] for group in groups], dtype=torch.long, device=soft.device)
    return RegionMasks(soft[members], region_of, found.iou[first], found.stability[first], output_hw)


def _groups(soft: Tensor, boxes: Tensor, output_hw: tuple[int, int], options: SegmenterOptions) -> list[list[int]]:
    """Member indices of every region; the first member leads."""
    free = soft.flatten(1).any(1).tolist()
    if not options.fuse_mask:
        return [[index] for index, alive in enumerate(free) if alive]
    near = (box_iou(boxes, boxes) > options.fuse_box_iou).cpu()
    groups = []
    for index in range(len(soft)):
        if not free[index]:
            continue
        free[index] = False
        later = [j for j in near[index].nonzero().flatten().tolist() if j > index and free[j]]
        joins = containment_exceeds(soft[index], soft[later], output_hw, options.fuse_mask_threshold)
        group = [j for j, joined in zip(later, joins) if joined]
        for j in group:
            free[j] = False
        groups.append([index, *group])
    return groups
