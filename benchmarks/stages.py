"""Time and peak memory of every stage, against the bare forward passes of the frozen models.

    python -m benchmarks.stages                       both pairs of models, both sizes, fp32 and bf16
    python -m benchmarks.stages --quick               the small pair, the small size, one run, 16 points

Models have their real sizes and random weights; SAM 2's masks are replaced by drawn ones once it has done its work, so
that about 200 regions stay. "Bare" is one batch of all views through the untouched image tower, one picture through SAM
2's image encoder, and the sam2 package's own mask decoder on all points in one batch.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from torch import nn

from textregion import Encoder, SegmenterOptions, TextRegionSegmenter, painting
from textregion import masks as mask_stage
from textregion.image import RGB
from textregion.masks import MaskGenerator, point_grid
from textregion.runtime import Precision, resolve_device
from textregion.text import TextBank

from .measure import CLOCKS, Meter, machine, median_seconds, write
from .models import PAIRS, DrawnMasks, build_clip, build_sam2, picture

SIZES = {"896x672": (896, 672), "2016x1512": (2016, 1512)}
FROZEN = ("image tower", "SAM 2 encoder", "mask decoder")
WORDS = [f"thing number {index}" for index in range(20)]


def main() -> None:
    """Measure what was asked for and write it after every case."""
    args = _parser().parse_args()
    logging.getLogger("textregion").setLevel(logging.ERROR)
    device, _ = resolve_device(args.device)
    results: dict[str, Any] = {"machine": machine(device), "clock": args.clock, "cases": []}
    print(results["machine"])
    for name in args.pairs:
        for dtype in args.dtypes:
            for size in args.sizes:
                case = measure(name, size, dtype, device, args)
                results["cases"].append(case)
                print_case(case)
                write(args.output, results)
    if args.plot:
        from .plots import plot_stages

        plot_stages(results, args.output.with_suffix(".png"))


def measure(name: str, size: str, dtype: Any, device: torch.device, args: argparse.Namespace) -> dict[str, Any]:
    """One pair of models, size and precision."""
    precision = Precision(dtype)
    clip, encoder = build_clip(PAIRS[name], device)
    model = build_sam2(PAIRS[name], device)
    options = SegmenterOptions(scale=SIZES[size])
    segmenter = TextRegionSegmenter(encoder, DrawnMasks(model, options, precision), options, precision=precision)
    for word in WORDS:  # words are encoded once for all pictures, so they are given here and timed apart
        segmenter.text._known[word] = F.normalize(torch.randn(encoder.embed_dim, device=device), dim=0)
    image = picture(*SIZES[size])
    meter = Meter(device, CLOCKS[args.clock])
    regions = 0
    for run in range(args.repeats + 1):
        with meter.watching(*watched(encoder)), meter.part("whole"):
            result = segmenter.segment(image, WORDS)
        meter.end_run(keep=run > 0)
        regions = len(result.scores)
    stages = meter.medians()
    whole = stages.pop("whole")
    case: dict[str, Any] = {
        "pair": name,
        "size": size,
        "dtype": dtype,
        "regions": regions,
        "words": len(WORDS),
        "whole": whole,
        "stages": stages,
        "peak MiB": meter.peaks_mib(),
        "outside the frozen models": 1 - sum(stages[part] for part in FROZEN) / whole,
        "bare": {},
    }
    if args.bare:
        case["bare"] = bare_passes(clip, encoder, model, segmenter, image, precision, args)
        case["whole / bare"] = whole / sum(case["bare"][part] for part in FROZEN)
        case["text of a word"] = text_seconds(clip, encoder, precision, CLOCKS[args.clock])
    return case


def watched(encoder: Encoder) -> list[tuple[Any, str, str]]:
    """The functions that a picture goes through, and the stages they are."""
    return [
        (MaskGenerator, "_encode", "SAM 2 encoder"),
        (mask_stage, "decode_points", "mask decoder"),
        (mask_stage, "select", "filters and NMS"),
        (mask_stage, "fuse_regions", "fusion"),
        (TextRegionSegmenter, "_resize", "resize"),
        (TextRegionSegmenter, "_on_grid", "masks on the grid"),
        (TextRegionSegmenter, "_views", "views"),
        (type(encoder), "patch_features", "image tower"),
        (TextRegionSegmenter, "_pool", "pooling"),
        (type(encoder), "scores", "scores"),
        (painting, "paint", "painting"),
    ]


@torch.no_grad()
def bare_passes(
    clip: nn.Module,
    encoder: Encoder,
    model: Any,
    segmenter: TextRegionSegmenter,
    image: RGB,
    precision: Precision,
    args: argparse.Namespace,
) -> dict[str, float]:
    """Seconds of the untouched passes; the decoder's are scaled where fewer points are decoded."""
    device = encoder.device
    views = segmenter._views(image, segmenter._plan((image.shape[0], image.shape[1])))
    pixels = torch.randn(1, 3, model.image_size, model.image_size, device=device)
    per_side = segmenter.options.points_per_side
    points = point_grid(per_side, device)[: args.package_points] * model.image_size

    tower: Any = clip.visual

    def decode() -> None:
        package_decoder(model, embedding, high_res, points)

    with precision.autocast(device):
        levels = model.forward_image(pixels)["backbone_fpn"]
        embedding, high_res = levels[-1], levels[:-1]
        clock = CLOCKS[args.clock]
        decoder = median_seconds(decode, device, 1, warm_up=len(points) <= 64, clock=clock)
        return {
            "image tower": median_seconds(lambda: tower(views), device, args.repeats, clock=clock),
            "SAM 2 encoder": median_seconds(lambda: model.forward_image(pixels), device, args.repeats, clock=clock),
            "mask decoder": decoder * per_side**2 / len(points),
            "points decoded": len(points),
        }


def package_decoder(model: Any, embedding: torch.Tensor, high_res: list[torch.Tensor], points: torch.Tensor) -> None:
    """The sam2 package's decoder on all points in one batch."""
    encoder = model.sam_prompt_encoder
    labels = torch.ones(len(points), 1, dtype=torch.int, device=points.device)
    sparse, dense = encoder(points=(points[:, None], labels), boxes=None, masks=None)
    model.sam_mask_decoder(
        image_embeddings=embedding,
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        repeat_image=True,
        high_res_features=high_res,
    )


@torch.no_grad()
def text_seconds(clip: Any, encoder: Encoder, precision: Precision, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds that a new word's 80 templates take, ours and in one batch through the untouched text tower."""
    device = encoder.device
    tokens = encoder.tokenize([template("thing") for template in OPENAI_IMAGENET_TEMPLATES]).to(device)

    def bare() -> None:
        with precision.autocast(device):
            clip.encode_text(tokens)

    def ours() -> None:
        TextBank(encoder, precision=precision).encode(["thing"])

    return {"ours": median_seconds(ours, device, 1, clock=clock), "bare": median_seconds(bare, device, 1, clock=clock)}


def print_case(case: dict[str, Any]) -> None:
    """A table of one case."""
    print(f"\n{case['pair']}, {case['size']}, {case['dtype']}, {case['regions']} regions, {case['words']} words")
    for stage, seconds in case["stages"].items():
        bare = case["bare"].get(stage)
        beside = "" if bare is None else f"   bare {bare:8.3f} s"
        print(f"  {stage:<20}{seconds:8.3f} s {case['peak MiB'][stage]:8.0f} MiB{beside}")
    print(f"  {'whole':<20}{case['whole']:8.3f} s {case['peak MiB']['whole']:8.0f} MiB")
    print(f"  outside the models {case['outside the frozen models']:.1%}")
    if case["bare"]:
        text = case["text of a word"]
        print(f"  whole / bare {case['whole / bare']:.2f}")
        print(f"  text of a word {text['ours']:.3f} s, bare {text['bare']:.3f} s, once for all pictures")


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=summary)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS), metavar="PAIR")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--dtypes", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--device", default=None)
    parser.add_argument("--repeats", type=int, default=3, help="runs after a warm-up; their median is taken")
    parser.add_argument(
        "--package_points", type=int, default=256, help="points of the package's one batch; fewer are scaled up"
    )
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="processor: processor seconds, for one thread of a busy machine"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/stages.json"))
    parser.add_argument("--bare", action=argparse.BooleanOptionalAction, default=True, help="the bare passes too")
    parser.add_argument("--plot", action=argparse.BooleanOptionalAction, default=True, help="stacked bars beside it")
    parser.add_argument("--quick", action=_Quick, nargs=0, help="small pair, small size, float32, one run, 16 points")
    return parser


class _Quick(argparse.Action):
    """One short case."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        namespace.pairs, namespace.sizes, namespace.dtypes = list(PAIRS)[:1], list(SIZES)[:1], ["fp32"]
        namespace.repeats, namespace.package_points = 1, 16


if __name__ == "__main__":
    main()
