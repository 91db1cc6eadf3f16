"""What the referring and reasoning evaluations share: their options, the loop over pictures, and how a run ends."""

from __future__ import annotations

import argparse
import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eval.shared.odd import Odd, lines_of
from eval.shared.processes import Processes, add_launcher_options, check_launcher, start_processes, take_local_rank
from eval.shared.records import Record
from eval.shared.region_cache import RegionCache
from eval.shared.work_dir import WorkDir
from textregion import RegionTokens, TextRegionSegmenter, UserError
from textregion.ahead import ahead
from textregion.cli import add_boolean, add_method_options, add_model_options, check_model_options, load_segmenter
from textregion.cli.models import choose_models
from textregion.files import check_folder
from textregion.image import RGB, load_rgb
from textregion.options import Task
from textregion.rendered import all_rendered
from utils.results import settings_of, write_results

logger = logging.getLogger(__name__)

RESULTS = "results.json"
_UNRECORDED = "unrecorded"
"""Folder below the log dir by which a run that keeps nothing goes on after an interruption, and joins its processes."""
Judge = Callable[[RGB, RegionTokens, Mapping[str, Any]], Iterable[tuple[str, Record]]]
"""A picture as (H, W, 3) RGB, its regions, and the examples still to do by key -> their records by key."""


@dataclass(frozen=True)
class Picture:
    """A picture and everything that is asked of it, by key, so that it is encoded once."""

    path: Path
    examples: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What is known when every process is done."""

    records: Mapping[str, Record]
    """Records of all finished examples by key."""
    unreadable: dict[str, str]
    """Path and reason of pictures that could not be read; their examples have no record."""


def add_run_options(parser: argparse.ArgumentParser, log_dir: str) -> None:
    """Where records go, how much is evaluated, by how many processes, with which models and options."""
    group = parser.add_argument_group("run")
    group.add_argument("--log_dir", type=Path, default=Path(log_dir), help=f"records and results (default {log_dir})")
    group.add_argument("--limit", type=int, metavar="N", help="only the first N pictures (of every split)")
    group.add_argument("--show-dir", type=Path, metavar="DIR", help="draw every example into this folder")
    group.add_argument("--cache", type=Path, metavar="DIR", help="keep region tokens on disk between runs")
    group.add_argument("--cache-gb", type=float, default=20.0, metavar="GB", help="bound of --cache (default 20)")
    add_boolean(group, "--record_log", True, "keep records and results; otherwise they are printed only")
    add_launcher_options(group, ("none", "pytorch"))
    add_model_options(parser)
    add_method_options(parser)


def check_run_options(args: argparse.Namespace, task: Task) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        UserError: a number out of range, a folder that cannot be written to, processes that were not started as
            ``--launcher`` says, or what :func:`textregion.cli.check_model_options` refuses.
    """
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit must be at least 1, but got {args.limit}.")
    if args.cache_gb <= 0:
        raise UserError(f"--cache-gb must be more than 0, but got {args.cache_gb:g}.")
    for folder in filter(None, (args.log_dir, args.show_dir)):
        check_folder(folder, "Folder")
    take_local_rank(args.local_rank)
    check_launcher(args.launcher)
    check_model_options(args, task)


def run_pictures(
    pictures: Sequence[Picture], judge: Judge, cache: RegionCache, work: WorkDir, processes: Processes
) -> Outcome | None:
    """Judge every example that has no record yet, each picture in one process, and collect the records of all.

    Args:
        pictures: in the order of the data, the same in every process.
        judge: makes the records of one picture's examples.
        cache: encodes a picture.
        work: where finished examples are kept.
        processes: the run's; picture i belongs to process i modulo their number.

    Returns:
        The outcome in the first process, None in the others.
    """
    mine = tqdm(
        pictures[processes.rank :: processes.count],
        unit="picture",
        disable=processes.rank > 0 or not sys.stderr.isatty(),
    )
    unfinished = (picture for picture in mine if any(key not in work for key in picture.examples))
    for picture, read in ahead(lambda picture: load_rgb(picture.path), unfinished):
        try:
            image = read()
        except UserError as error:
            logger.warning("%s Its examples count as wrong.", error)
            continue
        todo = {key: example for key, example in picture.examples.items() if key not in work}
        for key, record in judge(image, cache.encode(image, picture.path), todo):
            work.append(key, record)
    processes.barrier()
    return _collect(pictures, work) if processes.rank == 0 else None


def _collect(pictures: Sequence[Picture], work: WorkDir) -> Outcome:
    records = work.collect()
    unfinished = [picture.path for picture in pictures if any(key not in records for key in picture.examples)]
    return Outcome(records, {str(path): _why_unreadable(path) for path in unfinished})


def _why_unreadable(path: Path) -> str:
    try:
        load_rgb(path)
    except UserError as error:
        return str(error)
    return "it can be read now: start the same command again"


def evaluate(
    args: argparse.Namespace,
    task: Task,
    pictures: Sequence[Picture],
    make_judge: Callable[[TextRegionSegmenter], Judge],
    report: Callable[[Outcome], dict[str, Any]],
    *,
    settings: Mapping[str, Any],
    asked: Mapping[str, Any],
) -> tuple[dict[str, Any], Outcome] | None:
    """Load the models, judge every example that has no record yet, and write ``results.json``.

    Args:
        args: of a parser with :func:`add_run_options` and the options of ``textregion.cli``.
        task: whose preset the method's options start from.
        pictures: in the order of the data, the same in every process.
        make_judge: makes the judge of a picture's examples.
        report: an outcome -> the results.
        settings: what the records depend on besides models and options.
        asked: what the results depend on besides the records.

    Returns:
        Results and outcome in the first process, None in the others.
    """
    start = time.perf_counter()
    log_dir = args.log_dir if args.record_log else args.log_dir / _UNRECORDED
    with start_processes(args.launcher) as processes:
        args.device = processes.device(args.device)
        choose_models(args, all_rendered(picture.path for picture in pictures[:1]))
        segmenter = load_segmenter(args, task)
        facts = settings_of(segmenter, **settings)
        cache = RegionCache(segmenter, args.cache, args.cache_gb)
        judge = make_judge(segmenter)
        with WorkDir(log_dir, facts, processes) as work:
            outcome = run_pictures(pictures, judge, cache, work, processes)
    if outcome is None:
        return None
    results = report(outcome)
    timing = {
        "seconds": round(time.perf_counter() - start, 3),
        "pictures_encoded": cache.encoded,
        "pictures_from_cache": cache.reused,
    }
    if args.record_log:
        write_results(log_dir / RESULTS, {"task": task, **results, "timing": timing}, {**facts, **asked})
    else:
        shutil.rmtree(log_dir)
        with contextlib.suppress(OSError):  # a folder that holds something stays
            args.log_dir.rmdir()
    return results, outcome


def print_outcome(outcome: Outcome, args: argparse.Namespace, odd: Sequence[Odd]) -> int:
    """Say where the results are, which parts of the data are odd, and which pictures could not be read.

    Returns:
        Exit status: 1 where there are such pictures, else 0.
    """
    if args.record_log:
        print(f"Results: {args.log_dir / RESULTS}")
    for line in lines_of(odd):
        print(f"Odd: {line}")
    for reason in outcome.unreadable.values():
        print(f"Unreadable: {reason}")
    return 1 if outcome.unreadable else 0
