"""Multi-object grounding on ReasonSeg: gIoU and cIoU for short, long and all questions, from one pass.

python eval_reason_seg.py --dataset_dir ./eval/datasets \\
    --interpreted_query_dir ./eval/datasets/reason_seg/interpreted_llava_v15_7b/test
"""

from __future__ import annotations

if __name__ == "__main__":
    from textregion import interrupts  # before the imports that take seconds

    interrupts.end_at_once()

import argparse
from pathlib import Path

from eval.reason_seg.files import DEFAULT_PLACEHOLDER, read_questions, split_folder, split_name
from eval.reason_seg.task import SUBSETS, ReasonSegJudge, report, table
from eval.shared.runner import add_run_options, check_run_options, evaluate, print_outcome
from textregion.cli import Parser, add_boolean, run


def _parse() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    data = parser.add_argument_group("data")
    data.add_argument("--dataset_dir", type=Path, required=True, metavar="DIR", help="folder that holds reason_seg/")
    data.add_argument("--val_dataset", default="ReasonSeg|test", metavar="ReasonSeg|SPLIT", help="test, val or train")
    data.add_argument(
        "--interpreted_query_dir", type=Path, metavar="DIR", help="folder of the interpreted queries of the split"
    )
    add_boolean(data, "--use_interpreted_query", True, "ask for the interpreted answer instead of the question")
    data.add_argument("--placeholder", default=DEFAULT_PLACEHOLDER, help="background query before an answer")
    data.add_argument(
        "--eval_query_type",
        choices=(*SUBSETS, None),
        type=lambda name: None if name == "None" else name,
        metavar="SUBSET",
        help="short (phrases), long (sentences) or overall (default, as None: all three)",
    )
    add_run_options(parser, "eval_results/reason_seg")
    return parser.parse_args()


def main() -> int:
    args = _parse()
    check_run_options(args, "reasoning")
    split = split_name(args.val_dataset)
    published = args.dataset_dir / "reason_seg" / "interpreted_llava_v15_7b" / split
    questions = read_questions(
        split_folder(args.dataset_dir, split),
        args.interpreted_query_dir or published,
        args.eval_query_type or "overall",
        args.placeholder,
        args.limit,
        ask_answers=args.use_interpreted_query,
    )
    asked = {
        "val_dataset": split,
        "eval_query_type": args.eval_query_type,
        "use_interpreted_query": args.use_interpreted_query,
        "placeholder": args.placeholder,
        "limit": args.limit,
    }
    done = evaluate(
        args,
        "reasoning",
        questions.pictures,
        lambda segmenter: ReasonSegJudge(segmenter, args.show_dir),
        lambda outcome: report(questions, outcome, [args.eval_query_type] if args.eval_query_type else SUBSETS),
        settings={},
        asked=asked,
    )
    if done is None:
        return 0
    results, outcome = done
    print(table(results))
    return print_outcome(outcome, args, questions.odd)


if __name__ == "__main__":
    run(main)
