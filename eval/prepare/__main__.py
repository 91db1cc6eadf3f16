"""Prepare the data sets whose downloads are there: python -m eval.prepare --data-root DIR.

Sources are only read. What is done is kept, so an interrupted run goes on when it is started again.
Exit status: 0, or 1 if a label could not be made, or 2 if nothing could be done or a named data set is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

from eval.prepare.common import MissingSource, Report, only_run
from textregion import UserError

# pascal_context writes the list that pascal_context_459 reads
DATASETS = (
    "voc", "ade20k", "cityscapes", "coco_stuff", "coco_object", "pascal_context", "ade20k_847", "pascal_context_459"
)  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "datasets",
        nargs="*",
        metavar="DATASET",
        help=f"which ones (default: all that are there): {', '.join(DATASETS)}",
    )
    parser.add_argument(
        "--data-root",
        "--data_root",
        type=Path,
        default=Path(os.environ.get("TEXTREGION_DATA") or Path(__file__).parents[1] / "datasets"),
        metavar="DIR",
        help="folder of all data sets (default: the environment variable TEXTREGION_DATA, else eval/datasets)",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), metavar="N", help="processes (default: one a core)"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Prepare what the command line names; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = [name for name in options.datasets if name not in DATASETS]
    if unknown:
        parser.error(f"unknown data set {unknown[0]!r}; there are {', '.join(DATASETS)}")
    if options.workers < 1:
        parser.error(f"--workers must be at least 1, not {options.workers}")
    if not options.data_root.is_dir():
        parser.error(f"--data-root {options.data_root} is not a folder; name the one that holds the downloads")
    try:
        with only_run(options.data_root):
            return _prepare(options.datasets, options.data_root, options.workers)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130


def _prepare(named: list[str], data_root: Path, workers: int) -> int:
    """Prepare the named data sets, or all; a missing one does not keep the others from being done."""
    chosen = [name for name in DATASETS if name in named or not named]
    missing = failed = 0
    for name in chosen:
        try:
            report = _convert(name, data_root, workers)
        except MissingSource as error:
            print(f"missing: {error}", flush=True)
            missing += 1
            continue
        print("\n".join(report.lines()), flush=True)
        failed += sum(len(split.failures) for split in report.splits)
    if missing == len(chosen) or (named and missing):
        print(f"error: {missing} of {len(chosen)} data sets could not be prepared", file=sys.stderr)
        return 2
    return 1 if failed else 0


def _convert(name: str, data_root: Path, workers: int) -> Report:
    try:
        converter = import_module(f"eval.prepare.{name}")
    except ModuleNotFoundError as error:
        remedy = "install what the evaluations need: pip install -e '.[eval]'"
        raise MissingSource(f"{name}: Python package {error.name!r} is not installed; {remedy}") from None
    report: Report = converter.convert(data_root, workers)
    return report


if __name__ == "__main__":
    sys.exit(main())
