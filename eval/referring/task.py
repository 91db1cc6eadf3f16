"""Referring expressions -> regions -> boxes -> verdicts (method.md section 12; file formats: data.md section 4)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.referring.baselines import CropBaseline, chance
from eval.referring.files import Examples, Expression
from eval.shared import show
from eval.shared.metrics import (
    Box,
    Mask,
    best_iou,
    expression_accuracy,
    is_hit,
    largest_component,
    mask_box,
    snap_to_detection,
)
from eval.shared.odd import named
from eval.shared.records import Record
from eval.shared.runner import Outcome
from textregion import RegionTokens, TextRegionSegmenter
from textregion.image import RGB

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What a region amounts to in the picture."""

    mask: Mask
    """(H, W), the largest connected part."""
    box_xywh: Box | None
    """Its box; None where the mask is empty."""


class ReferringJudge:
    """Answers the expressions of one picture after the other.

    Args:
        segmenter: its text bank remembers every expression.
        use_detections: the mask's box is replaced by the detector's best overlapping one.
        show_dir: draw every example into this folder.
        crops: also let whole crops of the detector's boxes be ranked.
    """

    def __init__(
        self,
        segmenter: TextRegionSegmenter,
        use_detections: bool = True,
        show_dir: Path | None = None,
        crops: CropBaseline | None = None,
    ) -> None:
        self._segmenter = segmenter
        self._use_detections = use_detections
        self._show_dir = show_dir
        self._crops = crops

    def __call__(
        self, image: RGB, regions: RegionTokens, todo: Mapping[str, Expression]
    ) -> Iterator[tuple[str, Record]]:
        """The records of a picture's expressions."""
        found: dict[int, Found] = {}  # several expressions may choose one region
        crop_tokens: dict[tuple[Box, ...], torch.Tensor] = {}
        for key, expression in todo.items():
            region, score = self._best_region(regions, expression.text)
            if region is not None and region not in found:
                found[region] = region_found(regions, region)
            answer = found[region] if region is not None else None
            record = self._record(expression, region, score, answer)
            if self._crops is not None:
                if expression.detections_xywh not in crop_tokens:
                    crop_tokens[expression.detections_xywh] = self._crops.encode(image, expression.detections_xywh)
                record |= self._crops.record(expression, crop_tokens[expression.detections_xywh])
            if record["problem"]:
                logger.warning(
                    "%r in %s: %s; it counts as wrong.", expression.text, expression.picture, record["problem"]
                )
            if self._show_dir is not None:
                _show(self._show_dir, key, image, expression, record, answer)
            yield key, record

    def _best_region(self, regions: RegionTokens, text: str) -> tuple[int | None, float | None]:
        """Index and score of the region with the highest score; None where there is no region."""
        if len(regions) == 0:
            return None, None
        # One expression a call: batches, and with them the last bits of a score, do not depend on where a run began.
        scores = self._segmenter.scores(regions, [text])[:, 0].cpu()  # where of equal ones the first is taken
        region = int(scores.argmax())
        return region, float(scores[region])

    def _record(self, expression: Expression, region: int | None, score: float | None, answer: Found | None) -> Record:
        mask_box_xywh = answer.box_xywh if answer is not None else None
        box_xywh = mask_box_xywh
        if box_xywh is not None and self._use_detections:
            box_xywh = snap_to_detection(box_xywh, expression.detections_xywh)
        iou = best_iou(box_xywh, expression.gold_xywh)
        return {
            "split": expression.split,
            "picture": expression.picture,
            "expression": expression.text,
            "region": region,
            "score": score,
            "mask_box_xywh": mask_box_xywh,
            "box_xywh": box_xywh,
            "gold_xywh": expression.gold_xywh,
            "iou": iou,
            "correct": is_hit(iou),
            "problem": _problem(region, answer),
        }


def _problem(region: int | None, answer: Found | None) -> str | None:
    if region is None:
        return "no region was found"
    return "the region's mask is empty" if answer is None or answer.box_xywh is None else None


def region_found(regions: RegionTokens, region: int) -> Found:
    """The largest connected part of one region at the picture's own size, and its box."""
    part = largest_component(regions.foreground(region).cpu().numpy())
    return Found(part, mask_box(part))


def report(examples: Examples, outcome: Outcome, splits: Sequence[str], baselines: bool = False) -> dict[str, Any]:
    """Accuracy per split, in [0, 1], with counts; expressions that are odd or of an unreadable picture count as wrong.

    Args:
        examples: what was evaluated.
        outcome: its records.
        splits: names in the order to report.
        baselines: add chance and whole crops.
    """
    asked = {key: example for picture in examples.pictures for key, example in picture.examples.items()}
    rows: dict[str, Any] = {}
    for split in splits:
        chosen = {key: example for key, example in asked.items() if example.split == split}
        odd = [each for each in examples.odd if each.group == split]
        wrong = [False] * sum(each.questions for each in odd)
        records = [outcome.records.get(key) for key in chosen]
        verdicts = [record is not None and bool(record["correct"]) for record in records] + wrong
        rows[split] = {
            "accuracy": expression_accuracy(verdicts),
            "correct": sum(verdicts),
            "expressions": len(verdicts),
            "references": len({example.reference for example in chosen.values()} | {each.line for each in odd}),
            "not_found": sum(record is None or record["problem"] is not None for record in records),
            "odd": len(wrong),
        }
        if baselines:
            crops = [record is not None and bool(record["crop_correct"]) for record in records] + wrong
            rows[split]["whole_crop_accuracy"] = expression_accuracy(crops)
            chances = [chance(example) for example in chosen.values()] + [0.0] * len(wrong)
            rows[split]["chance_accuracy"] = float(np.mean(chances)) if chances else float("nan")
    references = len({(example.split, example.reference) for example in asked.values()})
    return {
        "splits": rows,
        "pictures": len(examples.pictures),
        "encodings_saved": references - len(examples.pictures),
        "unreadable": outcome.unreadable,
        "odd": named(examples.odd),
        "odd_detections": named(examples.odd_detections),
    }


def table(results: Mapping[str, Any]) -> str:
    """The report as lines for the screen, accuracies in percent."""
    rows = results["splits"]
    extra = {"chance_accuracy": "chance", "whole_crop_accuracy": "whole crop"}
    shown = [name for name in extra if any(name in row for row in rows.values())]
    head = f"{'split':<16}{'accuracy':>10}{'correct':>9}{'of':>7}{'nothing found':>15}{'odd':>5}"
    lines = [head + "".join(f"{extra[name]:>12}" for name in shown)]
    for split, row in rows.items():
        counts = f"{row['correct']:>9}{row['expressions']:>7}{row['not_found']:>15}{row['odd']:>5}"
        baselines = "".join(f"{_percent(row[name]):>12}" for name in shown)
        lines.append(f"{split:<16}{_percent(row['accuracy']):>10}{counts}{baselines}")
    return "\n".join(lines)


def _percent(fraction: float) -> str:
    return "-" if math.isnan(fraction) else f"{100 * fraction:.2f}"


def _show(folder: Path, key: str, image: RGB, expression: Expression, record: Record, answer: Found | None) -> None:
    areas = [show.Area(answer.mask, show.REGION)] if answer is not None else []
    frames = [show.Frame(box, show.RIGHT) for box in expression.gold_xywh]
    if record["box_xywh"] is not None:
        frames.append(show.Frame(record["box_xywh"], show.FOUND))
    verdict = "correct" if record["correct"] else "wrong"
    lines = [
        (f"“{expression.text}”  {verdict}, IoU {record['iou']:.2f}", None),
        ("gold box", show.RIGHT),
        (f"answer {'' if record['problem'] is None else '(' + record['problem'] + ')'}", show.FOUND),
        ("region", show.REGION),
    ]
    show.save(show.draw(image, areas, frames, lines), folder, key)
