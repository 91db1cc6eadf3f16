"""Referring expressions on RefCOCO, RefCOCO+ and RefCOCOg: accuracy at IoU 0.5.

python eval_referring.py --input_file_root ./eval/datasets/coco_rec/reclip_data \\
    --image_root ./eval/datasets/coco_rec/train2014
"""

from __future__ import annotations

if __name__ == "__main__":
    from textregion import interrupts  # before the imports that take seconds

    interrupts.end_at_once()

import argparse
from pathlib import Path

from eval.referring.baselines import CropBaseline
from eval.referring.files import SPLITS, read_examples, splits_there
from eval.referring.task import ReferringJudge, report, table
from eval.shared.runner import add_run_options, check_run_options, evaluate, print_outcome
from textregion import TextRegionSegmenter
from textregion.cli import Parser, add_boolean, run


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
    return parser.parse_args()


def main() -> int:
    args = _parse()
    check_run_options(args, "referring")
    splits = splits_there(args.input_file_root, args.datasets)
    read_boxes = args.detector_boxes or args.baselines
    examples = read_examples(args.input_file_root, args.image_root, splits, read_boxes, args.limit)

    def make_judge(segmenter: TextRegionSegmenter) -> ReferringJudge:
        crops = CropBaseline(segmenter) if args.baselines else None
        return ReferringJudge(segmenter, args.detector_boxes, args.show_dir, crops)

    done = evaluate(
        args,
        "referring",
        examples.pictures,
        make_judge,
        lambda outcome: report(examples, outcome, splits, args.baselines),
        settings={"detector_boxes": args.detector_boxes, "baselines": args.baselines},
        asked={"datasets": splits, "limit": args.limit},
    )
    if done is None:
        return 0
    results, outcome = done
    print(table(results))
    print(f"{len(examples.pictures)} pictures encoded once each: {results['encodings_saved']} encodings saved")
    return print_outcome(outcome, args, examples.odd)


if __name__ == "__main__":
    run(main)
