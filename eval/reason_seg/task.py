"""Questions -> masks -> gIoU and cIoU on ReasonSeg (method.md section 12)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.reason_seg.annotations import ground_truth
from eval.reason_seg.files import Query, Questions
from eval.shared import show
from eval.shared.metrics import IGNORED, Mask, cumulative_ciou, foreground_counts, foreground_iou, mean_giou
from eval.shared.odd import named
from eval.shared.records import Record
from eval.shared.runner import Outcome
from textregion import RegionTokens, TextRegionSegmenter
from textregion.image import RGB

logger = logging.getLogger(__name__)

SUBSETS = ("short", "long", "overall")


class ReasonSegJudge:
    """Answers the question of one picture after the other.

    Args:
        segmenter: with the options of the reasoning task.
        show_dir: draw every example into this folder.
    """

    def __init__(self, segmenter: TextRegionSegmenter, show_dir: Path | None = None) -> None:
        self._segmenter = segmenter
        self._show_dir = show_dir

    def __call__(self, image: RGB, regions: RegionTokens, todo: Mapping[str, Query]) -> Iterator[tuple[str, Record]]:
        """The records of a picture's questions."""
        for key, query in todo.items():
            found = self._foreground(regions, query)
            truth = ground_truth(query.shapes, regions.size_hw, query.turn)
            shared, union = foreground_counts(found, truth)
            problem = None if len(regions) else "no region was found"
            if problem:
                logger.warning("%r in %s: %s; nothing is marked.", query.question, query.name, problem)
            record: Record = {
                "picture": query.name,
                "question": query.question,
                "is_sentence": query.is_sentence,
                "words": query.words,
                "intersection": shared,
                "union": union,
                "iou": foreground_iou(shared, union),
                "problem": problem,
            }
            if self._show_dir is not None:
                _show(self._show_dir, image, query, found, truth, record["iou"])
            yield key, record

    def _foreground(self, regions: RegionTokens, query: Query) -> Mask:
        """(H, W) at the picture's own size, true where the target wins over the background."""
        if len(regions) == 0:  # what no region covers is background
            return np.zeros(regions.size_hw, dtype=np.bool_)
        for word in query.words:  # one a call: the last bits of an embedding do not depend on where a run began
            self._segmenter.text.encode([word])
        labels = self._segmenter.segment(regions, query.words).labels
        foreground: Mask = (labels > 0).cpu().numpy()
        return foreground


def report(questions: Questions, outcome: Outcome, subsets: Sequence[str] = SUBSETS) -> dict[str, Any]:
    """gIoU and cIoU of each subset, in [0, 1], with the number of pictures.

    A picture that cannot be read, or whose annotation is odd, counts 0 in gIoU; its union is not known, so it adds
    nothing to cIoU.
    """
    queries = {key: query for picture in questions.pictures for key, query in picture.examples.items()}
    rows: dict[str, Any] = {}
    for subset in subsets:
        chosen = [key for key, query in queries.items() if subset in ("overall", query.subset)]
        odd = sum(subset in ("overall", each.group) for each in questions.odd)
        records = [outcome.records.get(key) for key in chosen]
        counts = [(record["intersection"], record["union"]) for record in records if record is not None]
        rows[subset] = {
            "giou": mean_giou([0.0 if record is None else record["iou"] for record in records] + [0.0] * odd),
            "ciou": cumulative_ciou(counts),
            "pictures": len(chosen) + odd,
            "not_found": sum(record is None or record["problem"] is not None for record in records),
            "odd": odd,
        }
    return {
        "subsets": rows,
        "pictures": len(questions.pictures),
        "unreadable": outcome.unreadable,
        "odd": named(questions.odd),
    }


def table(results: Mapping[str, Any]) -> str:
    """The report as lines for the screen, as fractions with 4 decimals."""
    lines = [f"{'subset':<10}{'gIoU':>9}{'cIoU':>9}{'n':>7}{'nothing found':>15}{'odd':>5}"]
    for subset, row in results["subsets"].items():
        figures = [f"{row[name]:.4f}" if row["pictures"] else "-" for name in ("giou", "ciou")]
        counts = f"{row['pictures']:>7}{row['not_found']:>15}{row['odd']:>5}"
        lines.append(f"{subset:<10}{figures[0]:>9}{figures[1]:>9}{counts}")
    return "\n".join(lines)


def _show(folder: Path, image: RGB, query: Query, found: Mask, truth: np.ndarray, iou: float) -> None:
    areas = [
        show.Area(found, show.REGION),
        show.Area(truth == IGNORED, show.IGNORED, filled=False),
        show.Area(truth == 1, show.RIGHT, filled=False),
    ]
    lines = [
        (f"“{query.question}”  IoU {iou:.2f}", None),
        (f"answer to “{query.words[1]}”", show.REGION),
        ("gold targets", show.RIGHT),
        ("ignored", show.IGNORED),
    ]
    show.save(show.draw(image, areas, [], lines), folder, query.name)
