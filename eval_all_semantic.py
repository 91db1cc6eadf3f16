"""Evaluate all semantic segmentation data sets that are there, one after another, and make one table.

  python eval_all_semantic.py --clip_pretrained openai --clip_architecture ViT-B/16
  python eval_all_semantic.py --datasets voc21 ade20k --limit 100
  torchrun --nproc_per_node=2 eval_all_semantic.py --launcher pytorch

Each data set has a folder of its own in the work dir, beside table.md, chart.png and results.txt. Started again, the
sweep goes on where it was: what is finished is not done again.
"""

from __future__ import annotations

if __name__ == "__main__":
    from textregion import interrupts  # before the imports that take seconds

    interrupts.end_at_once()

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from eval_semantic import PUBLISHED, add_run_options, hide_remarks
from textregion import UserError
from textregion.cli import Parser, run
from textregion.cli.models import choose_models
from textregion.files import check_folder

HERE = Path(__file__).resolve().parent
OTHERS = ("ade20k847", "context459", "scenes")


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    """The command line, and the part of it that every single evaluation is given."""
    from eval.semantic.table import EIGHT

    sweep = Parser(add_help=False)
    sweep.add_argument(
        "--datasets",
        nargs="+",
        choices=(*EIGHT, *OTHERS),
        default=list(EIGHT),
        metavar="NAME",
        help=f"which, and in which order (default: the eight of the paper): {', '.join((*EIGHT, *OTHERS))}",
    )
    sweep.add_argument(
        "--work-dir", type=Path, default=Path("work_dirs/semantic"), help="default work_dirs/semantic", metavar="DIR"
    )
    parser = Parser(description=__doc__, epilog=PUBLISHED, parents=[sweep])
    add_run_options(parser)
    args: argparse.Namespace = parser.parse_args()
    _, shared = sweep.parse_known_args()
    return args, shared


def main() -> int:
    """Evaluate, and write the table; 1 where a data set failed."""
    args, shared = parse_args()
    check_folder(args.work_dir, "Folder")
    hide_remarks()
    with contextlib.redirect_stdout(io.StringIO()):
        from eval.semantic.run import requested, summary
    results: dict[str, Any] = {}
    problems: dict[str, str] = {}
    failed = 0
    first = _is_first(args.launcher)
    missing, mistakes = _look(args)
    for index, name in enumerate(args.datasets):
        if name in missing:
            problems[name] = f"skipped: {missing[name]} is missing"
            if first:
                print(f"{name}: {problems[name]}", flush=True)
            continue
        work_dir = args.work_dir / name
        if name in mistakes:
            print(f"{name}: {mistakes[name]}", file=sys.stderr, flush=True)
            status = 2
        else:
            asked = _with_models(name, args)
            wished = requested(_chosen(name, asked))
            status = 0 if _finished(work_dir, wished) else _evaluate(name, work_dir, asked, shared, index)
        if status == 0 and first:
            results[name] = json.loads((work_dir / "results.json").read_text(encoding="utf-8"))
            print(summary(results[name]), flush=True)
        elif status != 0:
            failed += 1
            problems[name] = f"failed with exit status {status}"
            print(f"{name}: {problems[name]}", file=sys.stderr, flush=True)
    if first:
        _write(args.work_dir, results, problems)
    return 1 if failed else 0


def _look(args: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """Which data sets lack a folder, and what is wrong with others as they were asked for, such as an option that the
    config of one does not have.

    Raises:
        UserError: the same is true of all of them, so that nothing can be evaluated.
    """
    missing: dict[str, str] = {}
    mistakes: dict[str, UserError] = {}
    for name in args.datasets:
        try:
            folder = _missing(name, args)
        except UserError as error:
            mistakes[name] = error
            continue
        if folder is not None:
            missing[name] = folder
    if len(mistakes) == len(args.datasets):
        raise next(iter(mistakes.values()))
    return missing, {name: str(error) for name, error in mistakes.items()}


def _missing(name: str, args: argparse.Namespace) -> str | None:
    """The folder for want of which a data set cannot be evaluated."""
    from eval.semantic.config import data_root, missing_parts, read_config

    config = read_config(_config(name), data_root(args.data_root), args.cfg_options)
    missing = [] if "rendered" in config else missing_parts(config)
    return os.fspath(missing[0]) if missing else None


def _chosen(name: str, asked: argparse.Namespace) -> argparse.Namespace:
    """The same with the models that a data set's own evaluation takes where none are named."""
    from eval.semantic.config import data_root, of_rendered_world, read_config

    wishes = argparse.Namespace(**vars(asked))
    config = read_config(_config(name), data_root(asked.data_root), asked.cfg_options)
    choose_models(wishes, of_rendered_world(config))
    return wishes


def _finished(work_dir: Path, asked: dict[str, Any]) -> bool:
    """True where the same was asked before and results are there."""
    try:
        results = json.loads((work_dir / "results.json").read_text(encoding="utf-8"))
        return bool(results["settings"]["requested"] == asked)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _evaluate(name: str, work_dir: Path, args: argparse.Namespace, shared: list[str], index: int) -> int:
    """One data set in a process of its own, so that whatever ends it does not end the sweep; its exit status."""
    script = [sys.executable, os.fspath(HERE / "eval_semantic.py")]
    own = ["--config", _config(name), "--work-dir", os.fspath(work_dir)]
    if args.clip_pretrained is not None:
        own += ["--clip_pretrained", args.clip_pretrained]
    if args.show_dir is not None:
        own += ["--show-dir", os.fspath(args.show_dir / name)]
    environment = dict(os.environ)
    if args.launcher != "none":
        # Every evaluation's processes meet anew, at a port of their own and without torchrun's store.
        port = int(environment.get("MASTER_PORT", "29500")) + 1 + index
        environment |= {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "False"}
    return subprocess.run([*script, *shared, *own], env=environment).returncode


def _with_models(name: str, args: argparse.Namespace) -> argparse.Namespace:
    """What a data set's own evaluation is asked, with the models of its config and the published sweep's default."""
    from eval.semantic.config import data_root, read_config
    from eval.semantic.model import sweep_weights
    from eval.semantic.run import take_models_from

    asked = argparse.Namespace(**vars(args))
    take_models_from(read_config(_config(name), data_root(args.data_root), args.cfg_options), asked)
    names = (asked.clip_architecture, asked.clip_pretrained, asked.sam2_checkpoint)
    asked.clip_pretrained = sweep_weights(*names)
    return asked


def _config(name: str) -> str:
    return os.fspath(HERE / "configs" / "cfg_ds" / f"cfg_{name}.py")


def _is_first(launcher: str) -> bool:
    variable = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}.get(launcher, "")
    return os.environ.get(variable, "0") == "0"


def _write(work_dir: Path, results: dict[str, Any], problems: dict[str, str]) -> None:
    from eval.semantic.run import summary
    from eval.semantic.table import bar_chart, markdown_table
    from utils.results import write_text

    table = markdown_table(results, problems)
    print(f"\n{table}")
    write_text(work_dir / "table.md", table)
    write_text(work_dir / "results.txt", "".join(f"{summary(result)}\n" for result in results.values()))
    if results:
        bar_chart(work_dir / "chart.png", results)


if __name__ == "__main__":
    run(main)
