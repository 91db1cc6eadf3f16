"""How the cost of the stages after the frozen models grows with the picture, the regions and the words.

    python -m benchmarks.scaling                      the sweeps, and the cases that have a target
    python -m benchmarks.scaling --quick              the cases that have a target

Masks are drawn and patch values random, of the sizes that ViT-L/14@336px and SAM 2.1 give; no model is run.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textregion import SegmenterOptions, painting, pooling
from textregion.masks import fuse_regions, select
from textregion.region_masks import RegionMasks
from textregion.runtime import resolve_device
from textregion.views import fuse, plan_views

from .measure import CLOCKS, Meter, machine, write
from .models import draw_predictions

CHANNELS, CROP, PATCH = 1024, 336, 14
OPTIONS = SegmenterOptions()
SIZES = ((448, 336), (896, 672), (1344, 1008), (2016, 1512))
REGIONS = (25, 50, 100, 200, 400)
WORDS = (1, 10, 50, 150, 500)
TARGETS = {
    "new words: 100 regions x 150 words": ((896, 672), 100, 150),
    "painting: 150 words, 1344 x 896, 200 regions": ((1344, 896), 200, 150),
    "memory: 200 regions at 2016 x 1512": ((2016, 1512), 200, 20),
}


def main() -> None:
    """Measure, print, write."""
    args = _parser().parse_args()
    device, _ = resolve_device(args.device)
    results: dict[str, Any] = {"machine": machine(device), "clock": args.clock, "targets": {}, "sweeps": {}}
    print(results["machine"])
    for name, (size, regions, words) in TARGETS.items():
        results["targets"][name] = _shown(name, measure(size, regions, words, device, args))
    base_size, base_regions, base_words = (896, 672), 200, 20
    sweeps: dict[str, list[tuple[int, tuple[Any, int, int]]]] = {
        "pixels": [(w * h, ((w, h), base_regions, base_words)) for w, h in SIZES],
        "regions": [(count, (base_size, count, base_words)) for count in REGIONS],
        "words": [(count, (base_size, base_regions, count)) for count in WORDS],
    }
    for name, cases in sweeps.items() if not args.quick else ():
        rows = [{"size": at, **_shown(f"{at} {name}", measure(*case, device, args))} for at, case in cases]
        results["sweeps"][name] = rows
    write(args.output, results)
    if results["sweeps"]:
        from .plots import plot_scaling

        plot_scaling(results, args.output.with_suffix(".png"))


@torch.no_grad()
def measure(
    size: tuple[int, int], regions: int, words: int, device: torch.device, args: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Median milliseconds and peak memory of every stage after the models."""
    width, height = size
    prediction = draw_predictions(16, 256, device, (regions, regions // 2, regions // 4))
    plan = plan_views((height, width), CROP, CROP // PATCH)
    views = torch.randn(len(plan.boxes), CHANNELS, plan.view_patches, plan.view_patches, device=device)
    text = F.normalize(torch.randn(words, CHANNELS, device=device), dim=-1)
    meter = Meter(device, CLOCKS[args.clock])
    for run in range(args.repeats + 1):
        with meter.part("all"):
            _run(meter, prediction, regions, plan, views, text)
        meter.end_run(keep=run > 0)
    milliseconds = {name: round(1000 * seconds, 2) for name, seconds in meter.medians().items()}
    return {"milliseconds": milliseconds, "peak MiB": meter.peaks_mib()}


def _run(meter: Meter, prediction: Any, regions: int, plan: Any, views: Tensor, text: Tensor) -> None:
    """The stages in the segmenter's order; fused masks beyond the count asked for are left out."""
    with meter.part("filters and NMS"):
        found = select(prediction, OPTIONS)
    with meter.part("fusion"):
        fused = fuse_regions(found, plan.image_hw, OPTIONS)
        masks: RegionMasks = fused[torch.arange(min(regions, len(fused)), device=fused.device)]
    with meter.part("masks on the grid"):
        grid = pooling.to_grid(masks, plan.grid_hw)
    with meter.part("pooling"):
        values = fuse(views, plan, 1.0).flatten(1).T
        locality = pooling.patch_locality(values, grid)
        local = pooling.drop_global_patches(grid, locality, -1.0)
        tokens = F.normalize(pooling.pool(F.normalize(values, dim=-1), local, "sum"), dim=-1)
    with meter.part("scores"):
        scores = tokens @ text.T
    with meter.part("painting"):
        painting.paint(masks, scores, plan.image_hw)


def _shown(name: str, case: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    times = ", ".join(f"{stage} {value:.1f}" for stage, value in case["milliseconds"].items())
    print(f"{name}: {times} ms; peak {case['peak MiB']['all']:.0f} MiB", flush=True)
    return case


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=summary)
    parser.add_argument("--device", default=None)
    parser.add_argument("--repeats", type=int, default=5, help="runs after a warm-up; their median is taken")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="processor: processor seconds, for one thread of a busy machine"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scaling.json"))
    parser.add_argument("--quick", action="store_true", help="only the cases that have a target")
    return parser


if __name__ == "__main__":
    main()
