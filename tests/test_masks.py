"""From SAM 2's predictions to regions: filters, NMS, order, fusion, on masks drawn by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from textregion import MaskGenerator, SegmenterOptions, masks
from textregion.masks import fuse_regions, mask_boxes, point_grid, select, stability_score

OPTIONS = SegmenterOptions(min_size=3, pred_iou_thresh=0.5, stability_score_thresh=0.5)
SIZE = 16


def _prediction(*rows: list[tuple[tuple[int, int, int, int], float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of three outputs each (sub-part, part, whole): a box (top, left, bottom, right) and a predicted IoU."""
    logits = torch.full((len(rows), 3, SIZE, SIZE), -8.0)
    iou = torch.zeros(len(rows), 3)
    for point, outputs in enumerate(rows):
        for output, ((top, left, bottom, right), score) in enumerate(outputs):
            logits[point, output, top:bottom, left:right] = 8.0
            iou[point, output] = score
    return logits.half(), iou


NOTHING = ((0, 0, 0, 0), 0.0)


def test_point_grid_runs_row_by_row_through_centres() -> None:
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_boxes_have_inclusive_corners_and_empty_masks_none() -> None:
    logits = torch.full((2, 5, 6), -1.0)
    logits[0, 1:4, 2:6] = 1.0
    assert mask_boxes(logits).tolist() == [[2, 1, 5, 3], [0, 0, 0, 0]]


def test_stability_is_a_ratio_of_areas() -> None:
    logits = torch.tensor([[[2.0, 2.0], [0.5, -5.0]], [[-5.0, -5.0], [-5.0, -5.0]]])
    np.testing.assert_allclose(stability_score(logits), [2 / 3, 0.0], atol=1e-6)


def test_order_is_whole_part_subpart_then_predicted_iou() -> None:
    kept = select(
        _prediction(
            [((0, 0, 4, 4), 0.95), ((0, 8, 4, 12), 0.6), ((8, 0, 12, 4), 0.7)],
            [((8, 8, 12, 12), 0.55), NOTHING, ((12, 12, 16, 16), 0.9)],
        ),
        OPTIONS,
    )
    assert kept.output_index.tolist() == [2, 2, 1, 0, 0]
    np.testing.assert_allclose(kept.iou, [0.9, 0.7, 0.6, 0.95, 0.55], atol=1e-6)


def test_masks_and_scores_stay_together_through_the_filters() -> None:
    kept = select(
        _prediction(
            [((0, 0, 4, 4), 0.9), ((0, 0, 1, 2), 0.99), ((8, 8, 16, 16), 0.4)],
            [((8, 8, 16, 16), 0.6), NOTHING, ((8, 8, 16, 15), 0.8)],
        ),
        OPTIONS,
    )
    # 0.99 is too small, 0.4 too unsure, 0.6 overlaps 0.8 by 6 / 7 in box IoU: below 0.9, so both stay
    assert [tuple(box) for box in kept.boxes_xyxy.int().tolist()] == [(8, 8, 14, 15), (0, 0, 3, 3), (8, 8, 15, 15)]
    np.testing.assert_allclose(kept.iou, [0.8, 0.9, 0.6], atol=1e-6)
    pair = _prediction([((8, 8, 16, 16), 0.6), NOTHING, ((8, 8, 16, 15), 0.8)])
    strict = select(pair, OPTIONS.replace(box_nms_thresh=0.8))
    np.testing.assert_allclose(strict.iou, [0.8], atol=1e-6)


def test_nothing_passes_the_filters() -> None:
    kept = select(_prediction([NOTHING, NOTHING, NOTHING]), OPTIONS)
    assert len(kept) == 0
    regions = fuse_regions(kept, (32, 32), OPTIONS)
    assert len(regions) == 0
    assert regions.full().shape == (0, 32, 32)


def test_contained_masks_join_the_first_and_others_stay() -> None:
    kept = select(
        _prediction(
            [((0, 0, 6, 8), 0.9), NOTHING, ((0, 0, 8, 8), 0.8)],
            [((10, 10, 14, 14), 0.7), NOTHING, NOTHING],
        ),
        OPTIONS,
    )
    fused = fuse_regions(kept, (64, 64), OPTIONS)
    assert fused.region_of.tolist() == [0, 0, 1]
    np.testing.assert_allclose(fused.scores, [0.8, 0.7], atol=1e-6)
    assert fused.full()[0, 8, 8] == 3.0
    apart = fuse_regions(kept, (64, 64), OPTIONS.replace(fuse_mask=False))
    assert apart.region_of.tolist() == [0, 1, 2]
    # a small box inside a large one has a box IoU of 0.2 or less, so it is never compared
    far = select(_prediction([((0, 0, 3, 3), 0.9), NOTHING, ((0, 0, 8, 8), 0.8)]), OPTIONS)
    assert fuse_regions(far, (64, 64), OPTIONS).region_of.tolist() == [0, 1]


def test_chunks_of_points_do_not_change_the_masks(sam2_model: nn.Module) -> None:
    image = np.random.default_rng(3).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    options = SegmenterOptions(points_per_side=4)
    generator = MaskGenerator(sam2_model, options)
    whole, whole_iou = generator.predict(image)
    parts, parts_iou = generator.predict(image, options.replace(points_per_batch=5))
    assert whole.shape == (16, 3, 64, 64)
    torch.testing.assert_close(parts_iou, whole_iou, atol=1e-5, rtol=0)
    torch.testing.assert_close(parts.float(), whole.float(), atol=2e-2, rtol=1e-2)


def test_each_threshold_has_its_side() -> None:
    """A predicted IoU and an area must exceed theirs; a stability may equal it."""
    prediction = _prediction([((0, 0, 2, 4), 0.75), ((4, 0, 6, 4), 0.75), ((8, 0, 10, 4), 0.75)])
    prediction[0][0, 1, 4, 0] = 0.5  # one of eight pixels is unsure: stability 7 / 8
    options = SegmenterOptions(min_size=7, pred_iou_thresh=0.5, stability_score_thresh=0.875)
    assert len(select(prediction, options)) == 3
    assert len(select(prediction, options.replace(pred_iou_thresh=0.75))) == 0
    assert len(select(prediction, options.replace(min_size=8))) == 0
    assert len(select(prediction, options.replace(stability_score_thresh=0.876))) == 2


def test_of_masks_that_are_alike_the_surer_one_stays() -> None:
    box = (0, 0, 8, 8)
    kept = select(_prediction([(box, 0.7), (box, 0.9), (box, 0.8)]), OPTIONS)
    assert (kept.output_index.tolist(), [round(v, 3) for v in kept.iou.tolist()]) == ([1], [0.9])
    # boxes of 8 x 9 and 8 x 8 pixels, taken between corners, overlap by 7 * 7 / (7 * 8) = 0.875
    pair = _prediction([(box, 0.7), ((0, 0, 8, 9), 0.9), NOTHING])
    assert len(select(pair, OPTIONS.replace(box_nms_thresh=0.87))) == 1
    assert len(select(pair, OPTIONS.replace(box_nms_thresh=0.88))) == 2


def test_masks_of_one_predicted_iou_keep_the_order_of_their_points() -> None:
    rows = [
        [((4 * row, 4 * col, 4 * row + 3, 4 * col + 3), 0.75), NOTHING, NOTHING] for row in range(4) for col in range(4)
    ]
    kept = select(_prediction(*rows), OPTIONS)
    assert [tuple(box[:2]) for box in kept.boxes_xyxy.int().tolist()] == [
        (4 * x, 4 * y) for y in range(4) for x in range(4)
    ]


def _fused(first: tuple[int, int, int, int], second: tuple[int, int, int, int], **changes: object) -> int:
    """How many regions become of two boxes."""
    options = OPTIONS.replace(**changes)
    kept = select(_prediction([(first, 0.9), (second, 0.8), NOTHING]), options)
    assert len(kept) == 2
    return len(fuse_regions(kept, (SIZE, SIZE), options))


def test_masks_join_above_both_thresholds() -> None:
    whole, part = (0, 0, 8, 8), (0, 0, 8, 5)
    # boxes between corners: 7 * 4 of 7 * 7
    assert _fused(whole, part, fuse_box_iou=0.57) == 1
    assert _fused(whole, part, fuse_box_iou=0.58) == 2
    assert _fused(whole, part, fuse_mask_threshold=1.0) == 2  # contained wholly, but not by more than that
    assert _fused(whole, part, fuse_mask=False) == 2
    beside = (0, 2, 8, 10)  # six of its eight columns lie in the first
    assert _fused(whole, beside, fuse_mask_threshold=0.74) == 1
    assert _fused(whole, beside, fuse_mask_threshold=0.75) == 2


def test_soft_masks_end_at_3_and_empty_ones_are_no_regions() -> None:
    kept = select(_prediction([((0, 0, 4, 4), 0.9), ((8, 8, 12, 12), 0.8), NOTHING]), OPTIONS)
    assert float(kept.logits.max()) == 8.0
    regions = fuse_regions(kept, (SIZE, SIZE), OPTIONS)
    assert sorted(regions.logits.unique().tolist()) == [0.0, 3.0]
    kept.logits[0] = -1.0
    for fuse_mask in (True, False):
        left = fuse_regions(kept, (SIZE, SIZE), OPTIONS.replace(fuse_mask=fuse_mask))
        assert [round(v, 3) for v in left.scores.tolist()] == [0.9]


def test_a_generators_options_hold_where_no_others_are_given(
    sam2_model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    decode = masks.decode_points

    def watched(model: Any, embedding: Any, high_res: Any, points: torch.Tensor, chunk: int) -> Any:
        asked.append((len(points), chunk))
        assert float(points.min()) == model.image_size / 2 / len(points) ** 0.5
        assert embedding.shape[-1] * 4 == high_res[0].shape[-1]
        return decode(model, embedding, high_res, points, chunk)

    monkeypatch.setattr(masks, "decode_points", watched)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    loose = SegmenterOptions(points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.0, min_size=0)
    generator = MaskGenerator(sam2_model, loose.replace(points_per_batch=3))
    regions = generator.generate(image)
    assert regions.output_hw == (40, 60)
    assert generator.generate(image, (7, 9)).output_hw == (7, 9)
    strict = loose.replace(points_per_side=4, pred_iou_thresh=1.0)
    assert len(regions) > 0
    assert len(generator.generate(image, options=strict)) == 0
    assert generator.predict(image, strict)[1].shape == (16, 3)
    assert generator.predict(image)[1].shape == (4, 3)
    assert asked == [(4, 3), (4, 3), (16, 0), (16, 0), (4, 3)]
    assert MaskGenerator(sam2_model).options == SegmenterOptions()
    assert MaskGenerator(sam2_model).precision.dtype == "fp32"


@torch.no_grad()
def test_the_picture_is_put_to_sam2_as_it_was_trained(sam2_model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    forward = sam2_model.forward_image
    monkeypatch.setattr(sam2_model, "forward_image", lambda pixels: seen.append(pixels) or forward(pixels))
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    MaskGenerator(sam2_model, SegmenterOptions(points_per_side=1)).predict(image)
    size = sam2_model.image_size
    assert seen[0].shape == (1, 3, size, size)
    resized = nn.functional.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None].float(), (size, size), mode="bilinear", align_corners=False
    )
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    expected = (resized - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(seen[0], expected, atol=1e-4, rtol=0)
