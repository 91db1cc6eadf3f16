"""Referring expressions on RefCOCO, RefCOCO+ and RefCOCOg: accuracy at IoU 0.5.

python eval_referring.py --input_file_root ./eval/datasets/coco_rec/reclip_data \\
    --image_root ./eval/datasets/coco_rec/train2014
"""

from __future__ import annotations

if __name__ == "__main__":
    from utils import interrupts  # before the imports that take seconds

    interrupts.end_at_once()

import argparse
from pathlib import Path

from eval.baselines import CropBaseline
from eval.records import settings_of, write_results
from eval.referring import ReferringJudge, report, table
from eval.referring_files import SPLITS, read_pictures, splits_there
from eval.runner import (
    RegionCache,
    Stopwatch,
    WorkDir,
    add_run_options,
    check_run_options,
    model_names,
    print_unreadable,
    run_pictures,
    start_processes,
)
from utils.cli import (
    Parser,
    add_boolean,
    add_method_options,
    add_model_options,
    check_model_options,
    load_segmenter,
    run,
)


def _parse() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    data = parser.add_argument_group("data")
    data.add_argument("--input_file_root", type=Path, required=True, metavar="DIR", help="folder of the *.jsonl files")
    data.add_argument("--image_root", type=Path, required=True, metavar="DIR", help="folder of the pictures")
    data.add_argument(
        "--datasets", nargs="+", choices=SPLITS, metavar="SPLIT", help=f"of {', '.join(SPLITS)} (default: all found)"
    )
    add_boolean(data, "--detector-boxes", True, "replace a mask's box by the detector's best overlapping one")
    add_boolean(data, "--baselines", False, "also score a random detector box and whole crops of them")
    add_run_options(parser, "eval_results/referring")
    add_model_options(parser)
    add_method_options(parser)
    return parser.parse_args()


def main() -> int:
    args = _parse()
    check_run_options(args)
    check_model_options(args, "referring")
    splits = splits_there(args.input_file_root, args.datasets)
    read_boxes = args.detector_boxes or args.baselines
    pictures = read_pictures(args.input_file_root, args.image_root, splits, read_boxes, args.limit)
    watch = Stopwatch()
    with start_processes(args.launcher) as processes:
        args.device = processes.device(args.device)
        segmenter = load_segmenter(args, "referring")
        settings = settings_of(
            segmenter.options,
            models=model_names(segmenter),
            dtype=args.dtype,
            detector_boxes=args.detector_boxes,
            baselines=args.baselines,
        )
        cache = RegionCache(segmenter, args.cache, args.cache_gb)
        crops = CropBaseline(segmenter) if args.baselines else None
        judge = ReferringJudge(segmenter, args.detector_boxes, args.show_dir, crops)
        with WorkDir(args.log_dir, settings, processes) as work:
            outcome = run_pictures(pictures, judge, cache, work, processes)
    if outcome is None:
        return 0
    results = report(pictures, outcome, splits, args.baselines)
    written = {"task": "referring", **results, "timing": watch.timing(cache)}
    write_results(args.log_dir / "results.json", written, {**settings, "datasets": splits, "limit": args.limit})
    print(table(results))
    print(f"{len(pictures)} pictures encoded once each: {results['encodings_saved']} encodings saved")
    print(f"Results: {args.log_dir / 'results.json'}")
    return print_unreadable(outcome)


if __name__ == "__main__":
    run(main)
