"""Several data sets' results as one Markdown table and one bar chart, beside the paper's numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from textregion.files import write_bytes

EIGHT = ("voc21", "context60", "coco_object", "voc20", "context59", "coco_stuff164k", "city_scapes", "ade20k")
"""The paper's data sets in its order."""
TITLES = {
    "voc21": "VOC21",
    "context60": "Context60",
    "coco_object": "COCO-Object",
    "voc20": "VOC20",
    "context59": "Context59",
    "coco_stuff164k": "COCO-Stuff164k",
    "city_scapes": "Cityscapes",
    "ade20k": "ADE20K",
    "ade20k847": "ADE20K-847",
    "context459": "PascalContext-459",
    "scenes": "rendered scenes",
}
AVERAGE = "average of 8"
PAPER = {
    "ViT-B/16": {"voc21": 70.9, "coco_stuff164k": 28.7, "ade20k": 22.8, AVERAGE: 46.6},
    "ViT-H/14": {"ade20k": 27.3, AVERAGE: 49.5},
}
"""mIoU of TextRegion (arXiv 2505.23769) with CLIP's ViT-B/16 and OpenCLIP's ViT-H/14, as far as it is known to us."""
METRICS = ("mIoU", "aAcc", "mAcc")


def markdown_table(results: Mapping[str, Mapping[str, Any]], problems: Mapping[str, str]) -> str:
    """A row a data set: our numbers, and the paper's mIoU.

    Args:
        results: by data set, what results.json holds.
        problems: by data set, why it has no results.
    """
    papers = [f"paper's mIoU, {architecture} \\*" for architecture in PAPER]
    lines = [
        _row(["data set", "pictures", *METRICS, *papers]),
        _row(["---", *["---:"] * (len(METRICS) + len(papers) + 1)]),
    ]
    for name in sorted({*results, *problems}, key=list(TITLES).index):
        if name in results:
            found = results[name]
            figures = [str(found["pictures"]), *(f"{found[metric]:.2f}" for metric in METRICS)]
        else:
            figures = [problems[name], *["-"] * len(METRICS)]
        lines.append(_row([TITLES.get(name, name), *figures, *_paper(name)]))
    if all(name in results for name in EIGHT):
        means = [f"{sum(results[name][metric] for name in EIGHT) / len(EIGHT):.2f}" for metric in METRICS]
        lines.append(_row([AVERAGE, "", *means, *_paper(AVERAGE)]))
    note = "\\* TextRegion's own paper, arXiv 2505.23769, second hand; a question mark is a number that we do not know."
    return "\n".join([*lines, "", note, ""])


def bar_chart(path: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """mIoU of every data set as bars, the paper's as marks, written as a PNG.

    Raises:
        UserError: the file cannot be written.
    """
    names = list(results)
    figure = Figure(figsize=(max(4.0, 1.1 * len(names) + 2), 4.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    bars = axes.bar(range(len(names)), [results[name]["mIoU"] for name in names], color="#4477aa", label="this run")
    axes.bar_label(bars, fmt="%.1f", fontsize=8)
    for architecture, marker in zip(PAPER, ("_", "x")):
        known = [(index, PAPER[architecture][name]) for index, name in enumerate(names) if name in PAPER[architecture]]
        if known:
            where, values = zip(*known)
            size = 200 if marker == "_" else 50
            label = f"paper (second hand), {architecture}"
            axes.scatter(where, values, size, color="#cc3311", marker=marker, label=label)
    axes.set_xticks(range(len(names)), [TITLES.get(name, name) for name in names], rotation=30, ha="right")
    axes.set_ylabel("mIoU (%)")
    axes.legend(fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_bytes(path, content.getvalue())


def _paper(name: str) -> list[str]:
    return [f"{numbers[name]:.1f}" if name in numbers else "?" for numbers in PAPER.values()]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
