"""The towers that torch.compile makes say what the others say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from textregion import TextRegionSegmenter

pytestmark = pytest.mark.endurance


def test_compiled_models_agree() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    plain = TextRegionSegmenter.from_pretrained(device="cpu", options={"pred_iou_thresh": 0.0})
    compiled = TextRegionSegmenter.from_pretrained(device="cpu", options={"pred_iou_thresh": 0.0}, compiled=True)
    masks = plain.encode(image).region_masks
    ours, theirs = compiled.encode(image, masks), plain.encode(image, masks)
    assert len(ours) == len(theirs) > 0
    torch.testing.assert_close(ours.tokens, theirs.tokens, atol=1e-4, rtol=0)
    found = compiled.mask_generator.generate(image)
    assert len(found) == len(plain.mask_generator.generate(image))
