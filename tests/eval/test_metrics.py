"""Boxes, masks and counts by hand, and against a second implementation in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.shared.metrics import (
    best_iou,
    box_ious,
    cumulative_ciou,
    expression_accuracy,
    foreground_counts,
    foreground_iou,
    is_hit,
    largest_component,
    mask_box,
    mean_giou,
    snap_to_detection,
)


def test_iou_of_boxes_by_hand() -> None:
    box = (0, 0, 10, 10)
    others = [(0, 0, 10, 10), (5, 0, 10, 10), (10, 0, 10, 10), (2, 2, 5, 4), (20, 20, 1, 1)]
    np.testing.assert_allclose(box_ious(box, others), [1, 50 / 150, 0, 20 / 100, 0])
    assert box_ious(box, []).shape == (0,)
    assert box_ious((3, 3, 0, 0), [(3, 3, 0, 0)])[0] == 0  # no area, no division by zero


boxes = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 30)] * 2)


@given(boxes, boxes)
def test_iou_of_whole_boxes_counts_pixels(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    canvas = np.zeros((2, 80, 80), bool)
    for layer, (x, y, width, height) in zip(canvas, (first, second)):
        layer[y : y + height, x : x + width] = True
    expected = (canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum()
    assert box_ious(first, [second])[0] == pytest.approx(expected)


def test_half_is_not_enough() -> None:
    assert best_iou((0, 0, 10, 10), [(0, 0, 10, 5)]) == 0.5
    assert not is_hit(0.5)
    assert is_hit(best_iou((0, 0, 10, 10), [(50, 50, 1, 1), (0, 0, 10, 5.01)]))  # any gold box will do
    assert best_iou(None, [(0, 0, 1, 1)]) == best_iou((0, 0, 1, 1), []) == 0


def test_largest_component_joins_diagonals() -> None:
    mask = np.zeros((6, 8), bool)
    mask[0, 0] = mask[1, 1] = mask[2, 2] = mask[3, 3] = True  # four pixels, touching at corners only
    mask[0, 5:8] = True
    part = largest_component(mask)
    assert part.sum() == 4 and part[3, 3] and not part[0, 5]
    assert not largest_component(np.zeros((3, 3), bool)).any()
    assert largest_component(np.ones((3, 3), bool)).all()


def test_box_of_a_mask_has_no_plus_one() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4:9, 7:17] = True
    assert mask_box(mask) == (7, 4, 9, 4)
    assert mask_box(np.zeros((2, 2), bool)) is None


def test_snap_takes_the_best_overlap_and_the_first_on_ties() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    best, worse = (1.0, 0.0, 10.0, 10.0), (5.0, 0.0, 10.0, 10.0)
    assert snap_to_detection(box, [worse, best]) == best
    assert snap_to_detection(box, [(-1.0, 0.0, 10.0, 10.0), best]) == (-1.0, 0.0, 10.0, 10.0)
    assert snap_to_detection(box, [(50.0, 50.0, 5.0, 5.0)]) == box
    assert snap_to_detection(box, []) == box


def test_accuracy_is_over_expressions() -> None:
    assert expression_accuracy([True, False, False, True]) == 0.5
    assert math.isnan(expression_accuracy([]))


@given(st.integers(0, 2**32 - 1))
def test_giou_and_ciou_against_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [(rng.random((5, 7)) < 0.4, rng.choice([0, 1, 255], (5, 7)).astype(np.uint8)) for _ in range(4)]
    pairs.append((np.zeros((5, 7), bool), np.zeros((5, 7), np.uint8)))  # nothing there, nothing found
    counts = [foreground_counts(found, truth) for found, truth in pairs]
    ious, shared_sum, union_sum = [], 0, 0
    for found, truth in pairs:
        keep = truth.ravel() != 255
        label, guess = truth.ravel()[keep], found.ravel()[keep].astype(int)
        shared = np.histogram(guess[guess == label], bins=2, range=(0, 1))[0][1]
        union = (
            np.histogram(guess, bins=2, range=(0, 1))[0][1] + np.histogram(label, bins=2, range=(0, 1))[0][1] - shared
        )
        ious.append(1.0 if union == 0 else shared / (union + 1e-5))
        shared_sum, union_sum = shared_sum + shared, union_sum + union
    assert mean_giou([foreground_iou(*count) for count in counts]) == pytest.approx(sum(ious) / (5 + 1e-5), abs=1e-12)
    assert cumulative_ciou(counts) == pytest.approx(shared_sum / (union_sum + 1e-10), abs=1e-12)


def test_empty_ground_truth() -> None:
    empty = np.zeros((4, 4), np.uint8)
    found = np.eye(4, dtype=bool)
    assert foreground_counts(found, empty) == (0, 4)
    assert foreground_iou(0, 4) == 0 and foreground_iou(0, 0) == 1
    ignored = np.full((4, 4), 255, np.uint8)
    assert foreground_counts(found, ignored) == (0, 0)
    assert math.isnan(mean_giou([])) and math.isnan(cumulative_ciou([]))
    with pytest.raises(ValueError, match="differ in size"):
        foreground_counts(found, np.zeros((4, 5), np.uint8))


def test_of_parts_of_one_size_the_first_is_taken() -> None:
    mask = np.zeros((5, 9), bool)
    mask[1, 1:4] = mask[1, 5:8] = mask[3, 3:6] = True
    part = largest_component(mask)
    assert part.sum() == 3 and part[1, 1:4].all()
    assert part.dtype == np.bool_


def test_a_box_that_only_touches_does_not_replace_the_masks() -> None:
    assert snap_to_detection((0.0, 0.0, 10.0, 10.0), [(10.0, 0.0, 5.0, 5.0)]) == (0.0, 0.0, 10.0, 10.0)


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and ground truth \(3, 2\)"):
        foreground_counts(np.zeros((2, 3), bool), np.zeros((3, 2), np.uint8))
