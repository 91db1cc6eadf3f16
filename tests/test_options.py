"""Options: one default each, presets of the tasks, and refusals."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from textregion import SegmenterOptions, UserError
from textregion.options import PRESETS


def test_presets_differ_from_the_demo_only_where_the_method_says() -> None:
    demo = SegmenterOptions().as_dict()

    def changes(task: Any) -> dict[str, Any]:
        chosen = SegmenterOptions.for_task(task).as_dict()
        return {name: value for name, value in chosen.items() if value != demo[name]}

    assert changes("demo") == {}
    square = {"square": "view"}
    assert changes("semantic") == {**square, "mask_size": "original", "pool_mlp": False, "uncovered": "dense"}
    assert changes("referring") == {"scale": (2016, 2016)}
    assert changes("reasoning") == {"min_size": 0, "uncovered": "first", "pool_mlp": False}


def test_openais_values_are_not_normalised_in_semantic_segmentation() -> None:
    for task in PRESETS:
        usual, laion = SegmenterOptions.for_task(task), SegmenterOptions.for_task(task, weights_origin="laion2b")  # type: ignore[arg-type]
        openai = SegmenterOptions.for_task(task, weights_origin="openai")  # type: ignore[arg-type]
        assert usual == laion and usual.normalize_values
        assert openai == usual.replace(normalize_values=task != "semantic")
    given = SegmenterOptions.for_task("semantic", weights_origin="openai", normalize_values=True)
    assert given == SegmenterOptions.for_task("semantic")


def test_defaults_of_the_paper() -> None:
    options = SegmenterOptions()
    assert (options.scale, options.points_per_side, options.min_size) == ((2016, 672), 16, 100)
    assert (options.pred_iou_thresh, options.stability_score_thresh, options.box_nms_thresh) == (0.6, 0.6, 0.9)
    assert (options.fuse_mask_threshold, options.global_patch_threshold, options.region_logit_scale) == (0.8, 0.07, 50)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"points_per_sid": 8}, "points_per_side"),
        ({"zzz": 1}, "known options"),
        ({"points_per_side": 0}, "at least 1"),
        ({"points_per_side": True}, "at least 1"),
        ({"min_size": -1}, "at least 0"),
        ({"scale": (10,)}, "two positive whole numbers"),
        ({"scale": "2016 672"}, "two positive whole numbers"),
        ({"scale": (10, -3)}, "two positive whole numbers"),
        ({"mask_type": "medium"}, "soft, hard"),
        ({"remove_global_patch": "False"}, "true or false"),
        ({"pred_iou_thresh": 1.5}, "from 0 to 1"),
        ({"prob_thd": "high"}, "from 0 to 1"),
        ({"global_views": 3}, "0, 1 or 2"),
        ({"global_views": True}, "0, 1 or 2"),
        ({"global_views": 0, "resize_method": "resize"}, "has no other view"),
        ({"square": "tile"}, "picture, view"),
        ({"crop_size": 0}, "crop_size"),
        ({"region_logit_scale": None}, "a finite number"),
        ({"region_logit_scale": float("inf")}, "a finite number"),
        ({"global_patch_threshold": float("nan")}, "a finite number"),
        ({"scale": (10**400, 1)}, "at most 65536"),
        ({"points_per_side": 10**6}, "at most 256"),
        ({"upsample_times": 17}, "at most 16"),
        ({"crop_size": 10**5}, "at most 4096"),
    ],
)
def test_a_wrong_option_is_one_clear_sentence(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        SegmenterOptions().replace(**change)
    assert next(iter(change)) in str(caught.value)


def test_options_are_frozen_and_lists_become_tuples() -> None:
    options = SegmenterOptions.from_mapping({"scale": [100, 50]})
    assert options.scale == (100, 50)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.scale = (1, 1)  # type: ignore[misc]


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UserError, match="semantic"):
        SegmenterOptions.for_task("semantics")  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [None, "scale", [1], {1: 2}, {"points_per_sid": 8}])
def test_what_is_no_mapping_of_known_names_is_refused(values: Any) -> None:
    with pytest.raises(UserError, match=r"must be a mapping|did you mean 'points_per_side'"):
        SegmenterOptions.from_mapping(values)


def test_every_default_is_that_of_the_method() -> None:
    expected: dict[str, Any] = {
        "resize_method": "multi_resolution",
        "scale": (2016, 672),
        "square": "picture",
        "crop_size": None,
        "global_views": 1,
        "antialias": True,
        "upsample_times": 1,
        "view_batch": 0,
        "points_per_side": 16,
        "pred_iou_thresh": 0.6,
        "stability_score_thresh": 0.6,
        "box_nms_thresh": 0.9,
        "min_size": 100,
        "fuse_mask": True,
        "fuse_mask_threshold": 0.8,
        "fuse_box_iou": 0.2,
        "points_per_batch": 0,
        "mask_size": "resized",
        "mask_type": "soft",
        "remove_global_patch": True,
        "global_patch_threshold": 0.07,
        "pool_feature": "value",
        "pool_mlp": True,
        "normalize_values": True,
        "region_logit_scale": 50.0,
        "uncovered": "uniform",
        "prob_thd": 0.0,
        "output_size": "original",
    }
    defaults = SegmenterOptions().as_dict()
    assert {name: defaults[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("pred_iou_thresh", [0, 1, 0.0, 1.0], [-0.001, 1.001, True]),
        ("stability_score_thresh", [0, 1], [-0.001, 1.001]),
        ("box_nms_thresh", [0, 1], [-0.001, 1.001]),
        ("fuse_mask_threshold", [0, 1], [-0.001, 1.001]),
        ("fuse_box_iou", [0, 1], [-0.001, 1.001]),
        ("prob_thd", [0, 1], [-0.001, 1.001]),
        ("points_per_side", [1, 256], [0, 257, 1.0]),
        ("upsample_times", [1, 16], [0, 17, 2.0]),
        ("crop_size", [None, 1, 4096], [0, 4097, 2.0]),
        ("global_views", [0, 1, 2], [-1, 3]),
        ("min_size", [0, 1], [-1, 0.5]),
        ("points_per_batch", [0, 1], [-1, True]),
        ("view_batch", [0, 1], [-1, 0.5]),
        ("scale", [(1, 1), (65536, 1), [1, 65536]], [(0, 1), (1, 65537), (1, 2, 3), (1.0, 2), 5]),
        ("global_patch_threshold", [-5, 9e29, 0], [1e30, True]),
        ("region_logit_scale", [-5, 9e29, 0], [1e30, -1e30, "50"]),
        ("fuse_mask", [True, False], [0, 1]),
        ("pool_mlp", [True, False], [0]),
        ("normalize_values", [True, False], [0]),
        ("remove_global_patch", [True, False], [0]),
        ("resize_method", ["multi_resolution", "resize"], ["resized", None]),
        ("pool_feature", ["value", "input", "output"], ["values"]),
        ("mask_size", ["resized", "original"], ["resize"]),
        ("output_size", ["resized", "original"], ["resize"]),
        ("uncovered", ["uniform", "first", "dense", "none"], ["nothing"]),
        ("mask_type", ["soft", "hard"], ["binary"]),
        ("square", ["picture"], ["both"]),
        ("antialias", [True, False], [0]),
    ],
)
def test_ranges_end_where_they_say(name: str, inside: list[Any], outside: list[Any]) -> None:
    for value in inside:
        SegmenterOptions().replace(**{name: value})
    for value in outside:
        with pytest.raises(UserError, match=name):
            SegmenterOptions().replace(**{name: value})


def test_a_tasks_preset_gives_way_to_what_is_asked_for() -> None:
    options = SegmenterOptions.for_task("reasoning", min_size=5, prob_thd=0.5)
    assert (options.min_size, options.prob_thd, options.uncovered, options.pool_mlp) == (5, 0.5, "first", False)
