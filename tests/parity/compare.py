"""Run one recorded case through the library and compare it stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from textregion import MaskGenerator, RegionTokens, Segmentation, SegmenterOptions, TextRegionSegmenter, painting, pooling
from textregion.image import resized_hw
from textregion.masks import select

from .tiny_models import read_case, tiny_encoder, tiny_sam2

VALUES = 2e-3
COSINE = 0.9999
PIXELS = 0.998
MASK_PIXELS = 0.999
CONFIDENCE = 5e-3

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
            f"  {self.stage:<24} recorded {str(self.recorded_shape):<18} own {str(self.own_shape):<18} "
            f"{self.figure:10.3g}  {self.limit:<22} {verdict}"
        )


def options_of(case: dict[str, Any]) -> SegmenterOptions:
    """The options that a case's settings mean."""
    names = (
        "resize_method crop_size scale points_per_side min_size pred_iou_thresh stability_score_thresh "
        "fuse_mask_threshold remove_global_patch global_patch_threshold mask_type upsample_times pool_feature prob_thd "
        "fuse_mask box_nms_thresh"
    ).split()
    chosen = {name: case[name] for name in names if name in case}
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
        """The table: a row for each recorded stage."""
        words = self.case["words"]
        resized = self.segmenter._resize(self.image)
        regions = self.segmenter.encode(self.image)
        result = self.segmenter.segment(regions, words, self.class_of)
        rows = [self._values("out.resized_hw", torch.tensor(resized.shape[:2]), 0.0)]
        rows += self._mask_rows(resized)
        rows += self._pool_rows(resized)
        rows.append(self._values("text.features", self.segmenter.text.encode(words), VALUES))
        rows += self._score_rows(regions, result)
        rows += self._map_rows(regions, result)
        return rows

    def _mask_rows(self, resized: np.ndarray) -> list[Row]:
        logits, iou = self.generator.predict(resized)
        kept = select((logits, iou), self.options)
        corners = kept.boxes_xyxy
        xywh = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1)
        rows = [self._values("sam2.iou_predictions", iou, VALUES)]
        if "sam2.low_res_logits" in self.recorded:
            # float16 spacing at 32 is 0.03
            rows.append(self._values("sam2.low_res_logits", logits, 4e-2))
        rows.append(self._values("sam2.kept_boxes_xywh", xywh, 0.0))
        rows.append(self._values("sam2.kept_iou", kept.iou, VALUES))
        rows.append(self._values("sam2.kept_stability", kept.stability, VALUES))
        masks = self.generator.generate(resized, self._mask_hw(resized))
        rows.append(self._masks("sam2.region_masks", masks.full()))
        return rows

    def _mask_hw(self, resized: np.ndarray) -> tuple[int, int]:
        shape = self.image.shape if self.options.mask_size == "original" else resized.shape
        return shape[0], shape[1]

    def _pool_rows(self, resized: np.ndarray) -> list[Row]:
        masks = self.generator.generate(resized, self._mask_hw(resized))
        plan = self.segmenter._plan((resized.shape[0], resized.shape[1]))
        masks, grid = self.segmenter._on_grid(masks, plan)
        values = self.segmenter._patch_features(resized, plan, dense=False).values
        rows = [self._values("pool.grid_masks", grid, VALUES)]
        local = grid
        _, _, locality = self.segmenter._pool(masks, grid, values, plan)
        if locality is not None:
            local = pooling.drop_global_patches(grid, locality.flatten(), self.options.global_patch_threshold)
        rows.append(self._values("pool.grid_masks_filtered", local, VALUES))
        keep = local.sum(1) > 0
        rows.append(self._values("pool.keep", keep if bool(keep.any()) else torch.ones_like(keep), 0.0))
        return rows

    def _score_rows(self, regions: RegionTokens, result: Segmentation) -> list[Row]:
        rows = [self._values("out.region_logits", result.scores, VALUES)]
        name = "pool.tokens_or_logits"
        if self.case["task"] == "semantic":
            return [*rows, self._values(name, result.scores, VALUES)]
        recorded = self.recorded[name].float().reshape(-1, regions.tokens.shape[1])
        tokens = regions.tokens
        rows.append(self._row(name, recorded, tokens, lambda a, b: float((a - b).abs().max()), f"<= {VALUES}", VALUES))
        if recorded.shape == tokens.shape:
            cosine = float(F.cosine_similarity(recorded, tokens, dim=1).min())
            shape = tuple(tokens.shape)
            rows.append(Row(name + " cosine", shape, shape, cosine, f">= {COSINE}", cosine >= COSINE))
        return rows

    def _map_rows(self, regions: RegionTokens, result: Segmentation) -> list[Row]:
        rows = [self._agreement("out.pred", result.labels[None], PIXELS)]
        if "out.confidence" in self.recorded:
            rows.append(self._values("out.confidence", result.confidence[None], CONFIDENCE))
        if "out.dense_logits" in self.recorded:
            dense = self.segmenter.uncovered(regions, self.case["words"])["dense"]
            rows.append(self._values("out.dense_logits", dense.grid[None], VALUES))
        if "out.seg_probs" in self.recorded:
            bands = painting.class_probabilities(
                regions.region_masks,
                result.scores,
                regions.size_hw,
                scale=self.options.region_logit_scale,
                class_of=self.class_of,
                **self.segmenter.uncovered(regions, self.case["words"]),
            )
            probabilities = torch.cat([band for _, band in bands], dim=1)
            rows.append(self._masks("out.seg_probs", probabilities, CONFIDENCE))
        return rows

    def _values(self, stage: str, own: Tensor, limit: float) -> Row:
        recorded = self.recorded[stage]
        return self._row(stage, recorded, own, lambda a, b: float((a - b).abs().max()), f"<= {limit:g}", limit)

    def _row(
        self,
        stage: str,
        recorded: Tensor,
        own: Tensor,
        measure: Callable[[Tensor, Tensor], float],
        text: str,
        limit: float,
    ) -> Row:
        same = recorded.shape == own.shape
        figure = measure(recorded.double(), own.double()) if same and own.numel() else float("nan" if not same else 0.0)
        return Row(stage, tuple(recorded.shape), tuple(own.shape), figure, text, same and figure <= limit)

    def _masks(self, stage: str, own: Tensor, tolerance: float = VALUES) -> Row:
        """Of every mask, the share of pixels within tolerance; the row holds the lowest share."""
        recorded = self.recorded[stage]
        same = recorded.shape == own.shape
        share = float("nan")
        if same:
            close = (recorded.double() - own.double()).abs() <= tolerance
            share = float(close.flatten(1).double().mean(1).min()) if len(close) else 1.0
        limit = f"{tolerance:g} in {MASK_PIXELS:.1%}"
        return Row(stage, tuple(recorded.shape), tuple(own.shape), share, limit, same and share >= MASK_PIXELS)

    def _agreement(self, stage: str, own: Tensor, limit: float) -> Row:
        recorded = self.recorded[stage]
        same = recorded.shape == own.shape
        share = float((recorded.long() == own.long()).double().mean()) if same else float("nan")
        return Row(stage, tuple(recorded.shape), tuple(own.shape), share, f">= {limit}", same and share >= limit)


def compare(folder: Path, weights: Path) -> list[Row]:
    """The table of one case; an unused setting or stage never passes silently."""
    run = CaseRun(folder, weights)
    height, width = run.image.shape[:2]
    assert tuple(run.recorded["out.resized_hw"].tolist()) == resized_hw((height, width), run.options.scale)
    return run.rows()
