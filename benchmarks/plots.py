"""Pictures of what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def plot_stages(results: dict[str, Any], path: Path) -> None:
    """Stacked bars: the bare passes and the whole of every case."""
    cases = results["cases"]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.8 * len(cases)), constrained_layout=True)
    stages = list(dict.fromkeys(stage for case in cases for stage in case["stages"]))
    colours = dict(zip(stages, plt.get_cmap("tab20").colors))  # type: ignore[attr-defined]
    named: set[str] = set()
    ticks: list[tuple[float, str]] = []
    for row, case in enumerate(cases):
        label = f"{case['pair']}\n{case['size']}, {case['dtype']}"
        for place, kind, parts in ((-0.2, "bare", case["bare"]), (0.2, "whole", case["stages"])):
            if not parts:
                continue
            start = 0.0
            for stage in stages:
                seconds = parts.get(stage, 0.0)
                legend = stage if stage not in named else None
                axes.barh(row + place, seconds, 0.36, left=start, color=colours[stage], label=legend)
                named.add(stage)
                start += seconds
            axes.text(start, row + place, f" {start:.1f} s", va="center", fontsize=7)
            ticks.append((row + place, f"{label if kind == 'bare' or not case['bare'] else ''}  {kind}"))
    axes.set_yticks([place for place, _ in ticks], [text for _, text in ticks], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.06, 0.5))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def plot_scaling(results: dict[str, Any], path: Path) -> None:
    """Time of each stage, and memory of them all, against each size."""
    sweeps = results["sweeps"]
    size = (4 * len(sweeps), 6)
    figure, grid = plt.subplots(2, len(sweeps), figsize=size, layout="constrained", height_ratios=(2, 1))
    for (time, memory), (name, rows) in zip(grid.T, sweeps.items()):
        sizes = [row["size"] for row in rows]
        for stage in rows[0]["milliseconds"]:
            style = {"color": "black", "linewidth": 2.5} if stage == "all" else {}
            time.loglog(sizes, [row["milliseconds"][stage] for row in rows], marker="o", label=stage, **style)
        memory.semilogx(sizes, [row["peak MiB"]["all"] for row in rows], marker="o", color="black")
        memory.set_ylim(bottom=0)
        for axes in (time, memory):
            axes.set_xticks(sizes, [f"{size / 1e6:.2g} M" if size > 1e5 else str(size) for size in sizes])
            axes.minorticks_off()
        memory.set_xlabel(name)
    grid[0, 0].set_ylabel("milliseconds")
    grid[1, 0].set_ylabel("peak, MiB above the start")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=7, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
