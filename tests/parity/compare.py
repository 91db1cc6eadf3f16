"""Run one recorded case through the library and compare it stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from textregion import (
    MaskGenerator,
    RegionTokens,
    Segmentation,
    SegmenterOptions,
    TextRegionSegmenter,
    painting,
    pooling,
)
from textregion.masks import select
from textregion.views import ViewPlan

from .tiny_models import read_case, tiny_encoder, tiny_sam2

VALUES = 2e-3
COSINE = 0.9999
PIXELS = 0.998
MASK_PIXELS = 0.999
CONFIDENCE = 5e-3
LIMITS = {
    "out.resized_hw": 0.0,
    "out.region_keep_count": 0.0,
    "sam2.kept_boxes_xywh": 0.0,
    "pool.keep": 0.0,
    "out.confidence": CONFIDENCE,
    "sam2.low_res_logits": 4e-2,  # the spacing of float16 at 32
}
"""Largest absolute difference allowed; VALUES where a stage is not named."""
MASK_STAGES = {"sam2.region_masks": VALUES, "out.seg_probs": CONFIDENCE}

TASKS = {"demo": "demo", "semantic": "semantic", "reason": "reasoning"}


@dataclass(frozen=True)
class Row:
    """One line of the table: a stage, both shapes, the figure that is compared, and its limit."""

    stage: str
    recorded_shape: tuple[int, ...]
    own_shape: tuple[int, ...]
    figure: float
    limit: str
    ok: bool

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "FAIL"
        return (
            f"  {self.stage:<24} recorded {self.recorded_shape!s:<18} own {self.own_shape!s:<18} "
            f"{self.figure:10.3g}  {self.limit:<22} {verdict}"
        )


def options_of(case: dict[str, Any]) -> SegmenterOptions:
    """The options that a case's settings mean."""
    known = SegmenterOptions().as_dict()
    chosen = {name: case[name] for name in known if name in case}
    if case["family"] != "clip":
        chosen.pop("crop_size", None)
    if "city_scape" in case.get("config", ""):
        chosen["global_views"] = 2
    if case["task"] != "semantic":
        chosen["output_size"] = "resized"
    return SegmenterOptions.for_task(TASKS[case["task"]], **chosen)  # type: ignore[arg-type]


class GivenText:
    """Recorded text features in the place of a text bank (the SigLIP2 cases record no text tower)."""

    def __init__(self, words: list[str], features: Tensor) -> None:
        self._features = dict(zip(words, features))

    def encode(self, words: list[str]) -> Tensor:
        """(K, D)."""
        return torch.stack([self._features[word] for word in words])


class CaseRun:
    """A recorded case beside what the library makes of it."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.case = read_case(folder)
        self.recorded = load_file(folder / "expected.safetensors")
        self.image = np.array(Image.open(folder / "image.png").convert("RGB"))
        self.options = options_of(self.case)
        encoder = tiny_encoder(self.case["family"], weights)
        self.generator = MaskGenerator(tiny_sam2(weights), self.options)
        self.segmenter = TextRegionSegmenter(encoder, self.generator, self.options)
        if self.case["family"] == "siglip2":
            given = GivenText(self.case["words"], self.recorded["text.features"].float())
            self.segmenter.text = given  # type: ignore[assignment]
        self.class_of = self.case.get("query_idx")

    def rows(self) -> list[Row]:
        """The table: a row for each recorded stage; a stage that we do not know fails."""
        own = self._own_stages()
        rows = []
        for stage, recorded in self.recorded.items():
            if stage not in own:
                rows.append(Row(stage, tuple(recorded.shape), (), float("nan"), "unknown stage", False))
                continue
            if _same_size(recorded, own[stage]):
                recorded = recorded.reshape(own[stage].shape)
            rows.append(_row(stage, recorded, own[stage]))
            if stage == "pool.tokens_or_logits" and self.case["task"] != "semantic" and rows[-1].ok:
                rows.append(_cosine_row(recorded, own[stage]))
        return rows

    @torch.no_grad()
    def _own_stages(self) -> dict[str, Tensor]:
        words = self.case["words"]
        segmenter, options = self.segmenter, self.options
        resized = segmenter._resize(self.image)
        small_hw = (resized.shape[0], resized.shape[1])
        own = {"out.resized_hw": torch.tensor(small_hw), "text.features": segmenter.text.encode(words)}

        logits, iou = self.generator.predict(resized)
        kept = select((logits, iou), options)
        corners = kept.boxes_xyxy
        own["sam2.low_res_logits"], own["sam2.iou_predictions"] = logits, iou
        own["sam2.kept_boxes_xywh"] = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1)
        own["sam2.kept_iou"], own["sam2.kept_stability"] = kept.iou, kept.stability
        original_hw = (self.image.shape[0], self.image.shape[1])
        output_hw = original_hw if options.mask_size == "original" else small_hw
        all_masks = self.generator.generate(resized, output_hw)
        own["sam2.region_masks"] = all_masks.full()

        plan = segmenter._plan(small_hw)
        masks, grid = segmenter._on_grid(all_masks, plan)
        own["pool.last_hidden"] = self._hidden(resized, plan)
        values = segmenter._patch_features(resized, plan, dense=False).values
        _, _, locality = segmenter._pool(masks, grid, values, plan)
        local = grid
        if locality is not None:
            local = pooling.drop_global_patches(grid, locality.flatten(), options.global_patch_threshold)
        keep = local.sum(1) > 0
        own["pool.grid_masks"], own["pool.grid_masks_filtered"] = grid, local
        own["pool.keep"] = keep if bool(keep.any()) else torch.ones_like(keep)

        regions = segmenter.encode(self.image)
        result = segmenter.segment(regions, words, self.class_of)
        own["out.region_keep_count"] = torch.tensor(len(regions))
        own["out.region_logits"] = result.scores
        own["pool.tokens_or_logits"] = result.scores if self.case["task"] == "semantic" else regions.tokens
        own["out.pred"], own["out.confidence"] = result.labels[None], result.confidence[None]
        if regions.dense is not None:
            rules = segmenter.paint_rules(regions, words)
            own["out.dense_logits"] = cast(painting.DenseScores, rules.dense).grid[None]
        own["out.seg_probs"] = self._probabilities(regions, result)
        return own

    def _probabilities(self, regions: RegionTokens, result: Segmentation) -> Tensor:
        size_hw = self.segmenter._painted_hw(regions)
        rules = self.segmenter.paint_rules(regions, self.case["words"], self.class_of)
        bands = painting.class_probabilities(regions.region_masks, result.scores, size_hw, rules)
        return torch.cat([band for _, band in bands], dim=1)

    def _hidden(self, resized: np.ndarray, plan: ViewPlan) -> Tensor:
        """The tower's tokens that the values are made from, in the recorded layout."""
        encoder: Any = self.segmenter.encoder
        views = self.segmenter._views(resized, plan)
        if self.case["family"] != "clip":
            tokens: Tensor = encoder._trunk.forward_features(views)
            return tokens
        hidden = encoder._last_block_input(views)
        if self.options.pool_feature == "output":
            hidden = encoder._visual.transformer.resblocks[-1](hidden)
        result: Tensor = hidden.transpose(0, 1)
        return result


def _same_size(recorded: Tensor, own: Tensor) -> bool:
    """The recordings carry axes of length 1 in places; they say nothing."""
    return [n for n in recorded.shape if n != 1] == [n for n in own.shape if n != 1]


def _row(stage: str, recorded: Tensor, own: Tensor) -> Row:
    if stage in MASK_STAGES:
        return _share_row(stage, recorded, own, MASK_STAGES[stage])
    if stage == "out.pred":
        return _agreement_row(stage, recorded, own)
    limit = LIMITS.get(stage, VALUES)
    same = recorded.shape == own.shape
    figure = float("nan")
    if same:
        figure = float((recorded.double() - own.double()).abs().max()) if own.numel() else 0.0
    return Row(stage, tuple(recorded.shape), tuple(own.shape), figure, f"<= {limit:g}", same and figure <= limit)


def _share_row(stage: str, recorded: Tensor, own: Tensor, tolerance: float) -> Row:
    """Of every mask, the share of pixels within tolerance; the row holds the lowest share."""
    same = recorded.shape == own.shape
    share = float("nan")
    if same:
        close = (recorded.double() - own.double()).abs() <= tolerance
        share = float(close.flatten(1).double().mean(1).min()) if len(close) else 1.0
    limit = f"{tolerance:g} in {MASK_PIXELS:.1%}"
    return Row(stage, tuple(recorded.shape), tuple(own.shape), share, limit, same and share >= MASK_PIXELS)


def _agreement_row(stage: str, recorded: Tensor, own: Tensor) -> Row:
    same = recorded.shape == own.shape
    share = float((recorded.long() == own.long()).double().mean()) if same else float("nan")
    return Row(stage, tuple(recorded.shape), tuple(own.shape), share, f">= {PIXELS}", same and share >= PIXELS)


def _cosine_row(recorded: Tensor, own: Tensor) -> Row:
    cosine = float(F.cosine_similarity(recorded.float().reshape(own.shape), own, dim=1).min())
    shape = tuple(own.shape)
    return Row("pool.tokens cosine", shape, shape, cosine, f">= {COSINE}", cosine >= COSINE)


def compare(folder: Path, weights: Path) -> list[Row]:
    """The table of one case."""
    return CaseRun(folder, weights).rows()
