"""What a person takes away: the files that the library makes, at the picture's own size."""

from __future__ import annotations

import json
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image

from ..export import coco_head, label_map_png, png
from ..image import RGB
from ..regions import RegionTokens
from ..segmenter import TextRegionSegmenter
from ..visualize import word_colours
from ..words import against_background


def coco_json(segmenter: TextRegionSegmenter, regions: RegionTokens, words: Sequence[str], name: str) -> bytes:
    """A COCO file of one picture: its regions as annotations, the words as categories."""
    words = against_background(words)
    height, width = regions.size_hw
    image = {"id": 1, "file_name": name, "height": height, "width": width}
    head = coco_head([image], words, encoder=regions.encoder, options=segmenter.options.as_dict())
    return json.dumps({**head, "annotations": regions.to_coco(segmenter.scores(regions, words), words)}).encode()


def labels_png(segmenter: TextRegionSegmenter, regions: RegionTokens, words: Sequence[str]) -> bytes:
    """The label map as the demo writes it: soft masks, a pixel's index is its word's place in the list, 255 none."""
    words = against_background(words)
    return label_map_png(segmenter.segment(regions, words).labels, word_colours(words))


def cut_out_png(image: RGB, regions: RegionTokens, region: int) -> bytes:
    """One region of a picture within its box, everything else transparent; its soft border is half transparent.

    Args:
        image: (H, W, 3), the picture.
        regions: its regions.
        region: index of the region.
    """
    soft = regions.masks(regions.size_hw, torch.tensor([region], device=regions.region_masks.device))[0]
    alpha = (soft.float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    left, top, width, height = cv2.boundingRect(alpha)
    box = slice(top, top + max(height, 1)), slice(left, left + max(width, 1))
    return png(Image.fromarray(np.dstack([image[box], alpha[box]])))
