"""How well the bundled miniatures segment scenes that they never saw: python -m miniatures.scores --json FILE

Grounds and things are named, 24 classes, every pixel counts. The region masks of a picture are made once and used by
every variant, so that a row differs from the first in what its name says and in nothing else.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from miniatures.scenes import Scene, render_scene
from miniatures.scenes.formats import LABEL_CLASSES
from textregion import RegionMasks, TextRegionSegmenter, views
from textregion.cli import Parser, add_model_options, check_model_options, load_segmenter, run
from textregion.cli.models import choose_models
from textregion.image import RGB, resize, resized_hw
from utils.results import settings_of, write_results

SIZE_HW = (320, 448)
HELD_OUT = 100
"""Scenes of seeds 0 to 99: neither miniature was trained on them."""

MaskChoice = Callable[[Scene, RegionMasks], RegionMasks]


@dataclass(frozen=True)
class Variant:
    """A way to segment."""

    name: str
    options: Mapping[str, Any]
    masks: MaskChoice = lambda scene, found: found


def _none(scene: Scene, found: RegionMasks) -> RegionMasks:
    return found[torch.zeros(len(found), dtype=torch.bool)]


def _true(scene: Scene, found: RegionMasks) -> RegionMasks:
    masks = np.stack([item.mask for item in scene.objects if item.role != "part"])
    return replace(RegionMasks.from_masks(masks, found.output_hw), source=None)  # filtered as SAM 2's are


VARIANTS = (
    Variant("whole pipeline", {}),
    Variant("global-patch filter off", {"remove_global_patch": False}),
    Variant("one resolution", {"resize_method": "resize", "global_views": 1}),
    Variant("hard masks", {"mask_type": "hard"}),
    Variant("no regions: dense CLIP scores", {}, _none),
    Variant("true masks in SAM 2's place", {}, _true),
)


PATCHES_ALONE = "no regions: every patch's own value"


def mean_iou(confusion: np.ndarray) -> float:
    """mIoU in percent over the classes that occur, of a (truth, prediction) confusion matrix."""
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    occurs = union > 0
    return float((hits[occurs] / union[occurs]).mean() * 100)


def score(segmenter: TextRegionSegmenter, count: int) -> dict[str, np.ndarray]:
    """(classes, classes) pixels by truth and prediction, of every variant, over ``count`` scenes."""
    classes = len(LABEL_CLASSES)
    confusion = {variant.name: np.zeros((classes, classes), np.int64) for variant in VARIANTS}
    confusion[PATCHES_ALONE] = np.zeros((classes, classes), np.int64)
    for seed in tqdm(range(count), unit="scene", disable=None):
        scene = render_scene(seed, SIZE_HW)
        truth = scene.labels(LABEL_CLASSES).astype(np.int64)
        valid = truth < classes
        for name, labels in segment_variants(segmenter, scene):
            pairs = truth[valid] * classes + labels[valid]
            confusion[name] += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    return confusion


def segment_variants(segmenter: TextRegionSegmenter, scene: Scene) -> Iterator[tuple[str, np.ndarray]]:
    """(H, W) labels of every variant for one scene."""
    options = segmenter.options
    seen: RGB = resize(scene.image, resized_hw(SIZE_HW, options.scale))
    found = segmenter.mask_generator.generate(seen, SIZE_HW, options)
    for variant in VARIANTS:
        changed = TextRegionSegmenter(
            segmenter.encoder,
            segmenter.mask_generator,
            options.replace(**variant.options),
            text=segmenter.text,
            precision=segmenter.precision,
        )
        regions = changed.encode(scene.image, variant.masks(scene, found))
        yield variant.name, changed.segment(regions, LABEL_CLASSES).labels.cpu().numpy()
    yield PATCHES_ALONE, _name_patches(segmenter, seen)


@torch.no_grad()
def _name_patches(segmenter: TextRegionSegmenter, seen: RGB) -> np.ndarray:
    """(H, W) labels where every patch is a region: its value through the region tokens' head."""
    encoder, options = segmenter.encoder, segmenter.options
    plan = segmenter._plan((seen.shape[0], seen.shape[1]))
    values = segmenter._patch_features(seen, plan, dense=False).values
    fused = views.fuse(values, plan, encoder.global_weight).flatten(1).T
    tokens = encoder.project(fused, feature=options.pool_feature, mlp=options.pool_mlp)
    scores = encoder.scores(tokens, segmenter.text.encode(LABEL_CLASSES)).T.unflatten(1, plan.grid_hw)
    upsampled = F.interpolate(scores[None], SIZE_HW, mode="bilinear", align_corners=False)
    labels: np.ndarray = upsampled[0].argmax(0).cpu().numpy()
    return labels


def _parse() -> argparse.Namespace:
    parser = Parser(prog="python -m miniatures.scores", description=__doc__)
    parser.add_argument("--count", type=int, default=HELD_OUT, help=f"scenes (default {HELD_OUT})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores here too")
    add_model_options(parser)
    args: argparse.Namespace = parser.parse_args()
    if args.count < 1:
        parser.error("--count must be at least 1")
    return args


def main() -> int:
    """Print a table and, if asked to, write it."""
    args = _parse()
    choose_models(args, rendered=True)
    check_model_options(args, "semantic")
    segmenter = load_segmenter(args, "semantic")
    logging.getLogger("textregion.segmenter").setLevel(logging.ERROR)  # one variant has no regions at all
    start = time.perf_counter()
    confusion = score(segmenter, args.count)
    rows = {name: round(mean_iou(matrix), 2) for name, matrix in confusion.items()}
    accuracy = {name: round(float(np.trace(matrix) / matrix.sum() * 100), 2) for name, matrix in confusion.items()}
    width = max(map(len, rows))
    print(f"{args.count} scenes, {len(LABEL_CLASSES)} classes: grounds and things\n")
    print(f"{'':<{width}}    mIoU    aAcc")
    for name, value in rows.items():
        print(f"{name:<{width}}  {value:6.2f}  {accuracy[name]:6.2f}")
    if args.json is not None:
        facts = {"scenes": args.count, "size_hw": SIZE_HW, "classes": LABEL_CLASSES}
        settings = settings_of(segmenter, **facts)
        timing = {"seconds": round(time.perf_counter() - start, 1)}
        write_results(args.json, {"mIoU": rows, "aAcc": accuracy, "timing": timing}, settings)
    return 0


if __name__ == "__main__":
    run(main)
