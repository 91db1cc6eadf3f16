"""One semantic data set from the command line's wishes to results, through MMEngine's Runner."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset
from mmseg.registry import MODELS
from torch import nn
from tqdm import tqdm

from eval.semantic.config import (
    build_dataset,
    check_examples,
    config_name,
    data_root,
    example_keys,
    of_rendered_world,
    read_config,
    render_missing,
)
from eval.semantic.metric import RecordedIoUMetric
from eval.semantic.model import TextRegionSegmentor, semantic_architecture
from eval.semantic.pictures import PictureFolder
from eval.shared.processes import Processes, start_processes, take_local_rank
from eval.shared.work_dir import WorkDir
from textregion import TextRegionSegmenter, UserError
from textregion.cli import check_model_options, load_segmenter, method_options
from textregion.cli.models import MODEL_NAMES, choose_models
from textregion.files import cannot_write, check_folder
from textregion.runtime import StageClock
from utils.results import plain, settings_of, write_results, write_text

Results = dict[str, Any]

_RANK_NAMES = {
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}
"""Where the other launchers say what torchrun says in RANK, WORLD_SIZE and LOCAL_RANK."""


def evaluate(args: argparse.Namespace) -> Results | None:
    """Evaluate one data set, or what an interrupted run left of it.

    Args:
        args: see ``eval_semantic.py``.

    Returns:
        What results.json holds, in the first process; None in the others.

    Raises:
        UserError: a mistake in what was asked for or in the data.
    """
    _check_run(args)
    name = config_name(args.config)
    config = read_config(args.config, data_root(args.data_root), args.cfg_options)
    take_models_from(config, args)
    choose_models(args, of_rendered_world(config))
    names = (args.clip_architecture, args.clip_pretrained, args.sam2_checkpoint)
    args.clip_architecture = semantic_architecture(*names)
    options = _plain_options(config)
    check_model_options(args, "semantic", options)
    work_dir = Path(args.work_dir or Path("work_dirs") / name)
    for folder in filter(None, (work_dir, args.show_dir)):
        check_folder(folder, "Folder")
    with start_processes("none" if args.launcher == "none" else "pytorch") as processes:
        if processes.rank == 0:
            render_missing(config)
        processes.barrier()
        dataset = build_dataset(config, args.limit)
        keys = example_keys(dataset)
        if processes.rank == 0:
            check_examples(dataset)
        args.device = processes.device(args.device)
        segmenter = load_segmenter(args, "semantic", clock=StageClock(), extra_options=options)
        # What its class file may mean was said when the data set was built.
        model = MODELS.build({**config.model, "segmenter": segmenter, "comma_names": True})
        settings = _settings(args, name, segmenter, model)
        pictures = _picture_folder(args.show_dir, dataset)
        drawn = {path for path in keys if pictures is None or pictures.has(path)}
        with WorkDir(work_dir, settings, processes) as work:
            metric = RecordedIoUMetric(
                work,
                processes,
                keys,
                pictures.draw if pictures is not None else None,
                **{key: value for key, value in config.test_evaluator.items() if key != "type"},
            )
            metric.dataset_meta = dataset.metainfo
            left = [index for index, (path, key) in enumerate(keys.items()) if key not in work or path not in drawn]
            if left:
                results = _test(config, model, dataset.get_subset(left), metric, work_dir, processes)
            else:
                results = metric.evaluate(0)
        if processes.rank > 0:
            return None
        results = {"dataset": name, "pictures": len(keys), **results}
        settings = {**settings, "requested": requested(args)}
        write_results(work_dir / "results.json", results, settings)
        write_text(work_dir / "results.txt", summary(results) + "\n")
        return results


def requested(args: argparse.Namespace) -> dict[str, Any]:
    """What a run was asked to do, by which a finished one is known again."""
    models = ("clip_architecture", "clip_pretrained", "sam2_checkpoint", "model_cfg")
    architecture, *rest = (getattr(args, name) for name in models)
    architecture = semantic_architecture(architecture, args.clip_pretrained, args.sam2_checkpoint)
    asked = {
        "models": dict(zip(models, [architecture, *rest])),
        "dtype": args.dtype,
        "sam2_dtype": args.sam2_dtype,
        "published": args.published,
        "templates": args.templates,
        "options": method_options(args),
        "cfg_options": dict(args.cfg_options or {}),
        "limit": args.limit,
    }
    return dict(plain(asked))


def summary(results: Results) -> str:
    """The line of results.txt."""
    figures = "  ".join(f"{name} {results[name]:.2f}" for name in ("mIoU", "aAcc", "mAcc"))
    return f"{results['dataset']}  {figures}"


def class_table(results: Results) -> str:
    """IoU and accuracy of every class in percent, a line a class; a class that does not occur has a dash."""
    width = max(len(name) for name in ("class", *results["per_class"]))
    lines = [f"{'class':<{width}}     IoU     Acc"]
    for name, values in results["per_class"].items():
        shown = ("-" if value != value else f"{value:.2f}" for value in values.values())
        lines.append(f"{name:<{width}} " + " ".join(f"{text:>7}" for text in shown))
    return "\n".join(lines)


class _Progress(Hook):
    """A bar over the pictures of the first process."""

    def __init__(self, total: int, hidden: bool) -> None:
        self._bar = tqdm(total=total, unit="picture", disable=hidden or not sys.stderr.isatty())

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._bar.update()

    def after_test_epoch(self, runner: Any, metrics: Any = None) -> None:
        self._bar.close()


class _FrozenRunner(Runner):
    """A Runner for a model that has nothing to train: it stays on its device, and no gradients are shared."""

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """The model as it is."""
        return model


def _test(
    config: Config,
    model: TextRegionSegmentor,
    dataset: BaseSegDataset,
    metric: RecordedIoUMetric,
    work_dir: Path,
    processes: Processes,
) -> Results:
    """Run the test loop over a data set; the metrics, in the first process."""
    share = len(range(processes.rank, len(dataset), processes.count))
    log_dir = os.fspath(work_dir / "log")
    try:
        runner = _FrozenRunner(
            model=model,
            work_dir=log_dir,
            test_dataloader={**config.test_dataloader, "dataset": dataset},
            test_cfg=config.test_cfg,
            test_evaluator=Evaluator([metric]),
            default_hooks=config.default_hooks,
            custom_hooks=[_Progress(share, hidden=processes.rank > 0)],
            launcher="pytorch" if processes.count > 1 else "none",
            env_cfg=config.env_cfg,
            visualizer=config.visualizer,
            log_level=config.log_level,
            default_scope=config.default_scope,
            randomness={"seed": 0},
            experiment_name=config_name(config.filename),
        )
    except OSError as error:
        raise cannot_write(log_dir, error, "Log folder") from None
    return dict(runner.test())


def _settings(
    args: argparse.Namespace, name: str, segmenter: TextRegionSegmenter, model: TextRegionSegmentor
) -> dict[str, Any]:
    words = {"words": model.words.words, "class_of": model.words.class_of}
    return settings_of(segmenter, dataset=name, **words)


def take_models_from(config: Config, args: argparse.Namespace) -> None:
    """What the command line leaves open may stand in the config."""
    for name in (*MODEL_NAMES, "device"):
        if getattr(args, name) is None:
            setattr(args, name, config.model.get(name))


def _plain_options(config: Config) -> dict[str, Any]:
    options = config.model.get("options") or {}
    if not isinstance(options, dict):
        raise UserError(f"model.options in the config must be names and values, but got {options!r}.")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _picture_folder(folder: Path | None, dataset: BaseSegDataset) -> PictureFolder | None:
    if folder is None:
        return None
    pictures, meta = dataset.data_prefix["img_path"], dataset.metainfo
    return PictureFolder(folder, pictures, meta["classes"], meta["palette"], dataset.ignore_index)


def _check_run(args: argparse.Namespace) -> None:
    """Refuse what cannot work, and make every launcher speak torchrun's language."""
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit must be at least 1, but got {args.limit}.")
    take_local_rank(args.local_rank)
    if args.launcher in _RANK_NAMES:
        names = _RANK_NAMES[args.launcher]
        if not all(name in os.environ for name in names):
            raise UserError(f"--launcher {args.launcher} needs {', '.join(names)}: start with srun or mpirun.")
        os.environ.update(zip(("RANK", "WORLD_SIZE", "LOCAL_RANK"), (os.environ[name] for name in names)))
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29500")
    if args.launcher == "pytorch" and not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= set(os.environ):
        raise UserError("--launcher pytorch needs torchrun: start with torchrun --nproc_per_node=N ...")
    if args.launcher == "none" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("This was started by torchrun with several processes: add --launcher pytorch.")
