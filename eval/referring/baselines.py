"""What a referring accuracy stands beside: a random detector box, and whole crops ranked by the same image tower."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eval.referring.files import Expression
from eval.shared.metrics import Box, best_iou, box_ious, is_hit
from eval.shared.records import Record
from textregion import RegionMasks, TextRegionSegmenter
from textregion.image import RGB


def chance(expression: Expression) -> float:
    """Expected accuracy of a random detector box: the share of boxes that would be right; 0 without any."""
    boxes = expression.detections_xywh
    if not boxes:
        return 0.0
    best = np.max([box_ious(gold, boxes) for gold in expression.gold_xywh], axis=0)
    return float(np.mean([is_hit(iou) for iou in best]))


class CropBaseline:
    """Every detector box cropped and compared with the expression as one whole picture.

    A crop goes through the segmenter's own image tower as a single view; its values are pooled uniformly over all
    patches and projected as a region's are. It has no masks, no tiles and no filter.
    """

    def __init__(self, segmenter: TextRegionSegmenter) -> None:
        options = segmenter.options.replace(resize_method="resize", global_views=1, remove_global_patch=False)
        self._segmenter = TextRegionSegmenter(
            segmenter.encoder,
            segmenter.mask_generator,
            options,
            text=segmenter.text,
            precision=segmenter.precision,
        )

    def encode(self, image: RGB, boxes_xywh: tuple[Box, ...]) -> Tensor:
        """(B, D) a token for each box; (0, D) without any."""
        tokens = [self._encode_one(image, box) for box in boxes_xywh]
        return torch.cat(tokens) if tokens else torch.zeros(0, self._segmenter.encoder.embed_dim)

    def _encode_one(self, image: RGB, box_xywh: Box) -> Tensor:
        x, y, width, height = box_xywh
        left, top = (int(np.clip(value, 0, side - 1)) for value, side in ((x, image.shape[1]), (y, image.shape[0])))
        crop = image[top : max(top + 1, round(y + height)), left : max(left + 1, round(x + width))]
        whole = RegionMasks.from_masks(torch.ones(1, 1, 1))
        return self._segmenter.encode(np.ascontiguousarray(crop), whole).tokens

    def record(self, expression: Expression, tokens: Tensor) -> Record:
        """The part of an expression's record that is the baseline's.

        Args:
            expression: with B detector boxes.
            tokens: (B, D), theirs.
        """
        box_xywh: Box | None = None
        if len(tokens):
            text = self._segmenter.text.encode([expression.text])
            scores = self._segmenter.encoder.scores(tokens.to(text), text)[:, 0].cpu()
            box_xywh = expression.detections_xywh[int(scores.argmax())]
        return {
            "crop_box_xywh": box_xywh,
            "crop_correct": is_hit(best_iou(box_xywh, expression.gold_xywh)),
        }
