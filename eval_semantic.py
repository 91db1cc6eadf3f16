"""Evaluate one semantic segmentation data set.

  python eval_semantic.py --config configs/cfg_ds/cfg_scenes.py
  python eval_semantic.py --config configs/cfg_ds/cfg_voc21.py --clip_pretrained openai --clip_architecture ViT-B/16
  torchrun --nproc_per_node=2 eval_semantic.py --config configs/cfg_ds/cfg_voc21.py --launcher pytorch

Started again with the same work dir, an interrupted run goes on where it was.
"""

from __future__ import annotations

if __name__ == "__main__":
    from textregion import interrupts  # before the imports that take seconds

    interrupts.end_at_once()

import argparse
import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

from eval.shared.processes import add_launcher_options
from textregion.cli import Parser, add_method_options, add_model_options, run

PUBLISHED = """
published models (--clip_pretrained, --clip_architecture):
  openai              ViT-B/16
  laion2b_s32b_b79k   ViT-H/14
  siglip2             ViT-B-16-SigLIP2, ViT-SO400M-16-SigLIP2-384
  meta                PE-Core-B16-224, PE-Core-L14-336
"""


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What one data set and a sweep over several share."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of all data sets (default TEXTREGION_DATA, eval/datasets)"
    )
    add_launcher_options(group, ("none", "pytorch", "slurm", "mpi"))
    group.add_argument(
        "--cfg-options",
        nargs="+",
        action=_NamedValues,
        metavar="NAME=VALUE",
        help="changes of the config, by dotted names",
    )
    group.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    group.add_argument("--show-dir", type=Path, metavar="DIR", help="overlays and label maps of every picture")
    add_model_options(parser)
    add_method_options(parser)


class _NamedValues(argparse.Action):
    """``a.b=1 c=[1,2]`` as a mapping, with values read as MMEngine reads them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from mmengine.config import DictAction

        for value in values:
            if not value.partition("=")[1]:
                parser.error(f"--cfg-options takes NAME=VALUE, but got {value!r}")
        given = dict(getattr(namespace, self.dest) or {})
        try:
            DictAction([], self.dest)(parser, namespace, values, option_string)
        except (ValueError, AssertionError) as error:
            parser.error(f"--cfg-options cannot be read ({error})")
        setattr(namespace, self.dest, {**given, **getattr(namespace, self.dest)})


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__, epilog=PUBLISHED)
    parser.add_argument("--config", required=True, metavar="FILE", help="configs/cfg_ds/cfg_NAME.py")
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="records and results (default work_dirs/NAME)")
    add_run_options(parser)
    args: argparse.Namespace = parser.parse_args()
    return args


def hide_remarks() -> None:
    """mmcv warns at import of compiled operators that it lacks; none is used."""
    warnings.filterwarnings("ignore", module="mmcv|mmengine|mmseg")


def main() -> int:
    """Evaluate, and print the table."""
    args = parse_args()
    hide_remarks()
    # OpenMMLab takes seconds to import: --help and a wrong flag need none of it. MMSegmentation prints what it misses.
    with contextlib.redirect_stdout(io.StringIO()):
        from eval.semantic.run import class_table, evaluate, summary

    results = evaluate(args)
    if results is not None:
        print(class_table(results))
        seconds = results["timing"]["seconds_per_picture"]["all"]
        print(f"{summary(results)}  ({results['pictures']} pictures, {seconds:.2f} s a picture)")
    return 0


if __name__ == "__main__":
    run(main)
