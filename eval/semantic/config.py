"""From a config file to a checked data set, before any model is loaded (data.md sections 1 to 3)."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from tqdm import tqdm

from eval.semantic.datasets import LoadLabels, check_labels
from eval.semantic.lists import check_files, list_examples
from eval.semantic.model import ROOT, TextRegionSegmentor, check_class_count, read_words
from eval.shared.keys import contents_of, digest_of
from miniatures.scenes import render_scene
from miniatures.scenes.formats import FORMATS
from textregion import UserError
from textregion.rendered import is_rendered

FREE_FORM = ("model.options",)
"""Parts of a config whose names something else checks."""


def data_root(given: str | os.PathLike[str] | None) -> Path:
    """The one place that data sets are under: what was given, else TEXTREGION_DATA, else eval/datasets."""
    return Path(given or os.environ.get("TEXTREGION_DATA") or ROOT / "eval" / "datasets")


def config_name(path: str | os.PathLike[str]) -> str:
    """``voc21`` for ``configs/cfg_ds/cfg_voc21.py``."""
    return Path(path).stem.removeprefix("cfg_")


def read_config(path: str | os.PathLike[str], root: Path, changes: Mapping[str, Any] | None = None) -> Config:
    """A data set's config with its folder under the data root.

    Args:
        path: a file, by its path from here or from the checkout.
        root: the data root.
        changes: dotted names and values (``--cfg-options``).

    Raises:
        UserError: a file that is missing or no config, a name that the config does not have.
    """
    file = path if Path(path).is_file() else ROOT / path
    if not Path(file).is_file():
        known = ", ".join(sorted(config_name(each) for each in (ROOT / "configs/cfg_ds").glob("cfg_*.py")))
        raise UserError(f"Config {os.fspath(path)!r} does not exist: give configs/cfg_ds/cfg_NAME.py, NAME of {known}.")
    try:
        config = Config.fromfile(file)
    except Exception as error:  # a config is a program: it may raise anything
        raise UserError(f"Config {os.fspath(path)!r} cannot be read ({' '.join(str(error).split())}).") from None
    if "dataset" not in config.get("test_dataloader", {}) or "class_file" not in config.get("model", {}):
        raise UserError(f"Config {os.fspath(path)!r} names no data set: give one of configs/cfg_ds, not the base.")
    for name in changes or {}:
        _check_name(config, name)
    config.merge_from_dict(dict(changes or {}))
    _check_model(config.model, os.fspath(path))
    dataset = config.test_dataloader.dataset
    dataset.data_root = os.fspath(root / dataset.data_root)
    return config


def _check_name(config: Config, name: str) -> None:
    """A change must name something that is there."""
    node: Any = config.to_dict()
    parts = name.split(".")
    for depth, part in enumerate(parts):
        if ".".join(parts[:depth]) in FREE_FORM:
            return
        if not isinstance(node, Mapping) or part not in node:
            names = list(node) if isinstance(node, Mapping) else []
            near = difflib.get_close_matches(part, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names) or 'none'}."
            raise UserError(f"The config has no {name!r} ({part!r} is unknown): {hint}")
        node = node[part]


def _check_model(model: Mapping[str, Any], path: str) -> None:
    """A segmentor's settings must be ones that it has."""
    names = list(inspect.signature(TextRegionSegmentor).parameters)
    for name in model:
        if name not in (*names, "type"):
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}."
            raise UserError(f"Config {path!r} has an unknown setting of the model, {name!r}: {hint}")


def missing_parts(config: Config) -> list[Path]:
    """Folders and files of the data set that are not there, the outermost first."""
    dataset = config.test_dataloader.dataset
    root = Path(dataset.data_root)
    below = [dataset.data_prefix.img_path, dataset.data_prefix.seg_map_path, dataset.get("ann_file", "")]
    wanted = [root, *(root / part for part in below if part)]
    return [path for path in wanted if not path.exists()]


def of_rendered_world(config: Config) -> bool:
    """Whether a data set is rendered: its config says so, or its first picture does."""
    dataset = config.test_dataloader.dataset
    folder = Path(dataset.data_root) / dataset.data_prefix.img_path
    if "rendered" in config:
        return True
    first = min((path for path in folder.glob("*") if path.is_file()), default=None) if folder.is_dir() else None
    return first is not None and is_rendered(first) is True


def render_missing(config: Config) -> None:
    """Render the data set where its config says that it is rendered and its list, written last, is not there.

    Raises:
        UserError: it cannot be written.
    """
    recipe = config.get("rendered")
    dataset = config.test_dataloader.dataset
    if recipe is None or (Path(dataset.data_root) / dataset.ann_file).is_file():
        return
    seeds = range(recipe.seed, recipe.seed + recipe.count)
    scenes = (render_scene(seed, tuple(recipe.size_hw)) for seed in tqdm(seeds, desc="render", unit="scene"))
    FORMATS[recipe.format](Path(dataset.data_root), scenes)


def build_dataset(config: Config, limit: int | None = None) -> BaseSegDataset:
    """The data set of a config, with as many classes as the class file names.

    Args:
        config: see :func:`read_config`.
        limit: only the first so many pictures.

    Raises:
        UserError: something is missing, empty, or does not fit together.
    """
    missing = missing_parts(config)
    settings = config.test_dataloader.dataset
    if missing:
        raise UserError(
            f"{settings.type} needs {os.fspath(missing[0])!r}, which does not exist: see eval/README.md for the "
            "layout, and say where the data is with --data-root or TEXTREGION_DATA."
        )
    init_default_scope(config.default_scope)
    try:
        dataset = DATASETS.build({**settings, "lazy_init": True})
    except (TypeError, KeyError) as error:  # an unknown setting, an unknown type
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise UserError(f"Config {config.filename!r} does not describe a data set ({reason}).") from None
    words = read_words(config.model.class_file, config.model.get("comma_names", False))
    check_class_count(words, config.model.class_file, dataset.metainfo["classes"], settings.type)
    if config.test_evaluator.get("ignore_index", 255) != dataset.ignore_index:
        raise UserError(
            f"{settings.type} ignores label {dataset.ignore_index}, but test_evaluator.ignore_index is "
            f"{config.test_evaluator.get('ignore_index', 255)}: write the same into the config."
        )
    _fill(dataset)
    return dataset if limit is None else dataset.get_subset(list(range(min(limit, len(dataset)))))


def _fill(dataset: BaseSegDataset) -> None:
    """Initialise a data set with the examples that :func:`list_examples` finds, unless its class lists its own.

    Raises:
        UserError: see there; or there are none.
    """
    lists_itself = type(dataset).load_data_list is not BaseSegDataset.load_data_list
    examples = dataset.load_data_list() if lists_itself else list_examples(dataset)
    if not examples:
        place = dataset.ann_file or f"{dataset.data_prefix['img_path']}/**/*{dataset.img_suffix}"
        raise UserError(f"{type(dataset).__name__} has no pictures in {place!r}: complete the data set.")
    vars(dataset)["load_data_list"] = lambda: examples
    dataset.full_init()
    del vars(dataset)["load_data_list"]


def example_keys(dataset: BaseSegDataset) -> dict[str, str]:
    """The key of every example's record by its picture's path: its name below the pictures' folder and a digest of what
    is judged.

    Raises:
        UserError: the data set's list names a picture twice.
    """
    infos = _infos(dataset)
    contents = contents_of(info[name] for info in infos for name in ("img_path", "seg_map_path"))
    keys: dict[str, str] = {}
    for info in infos:
        picture, label = info["img_path"], info["seg_map_path"]
        name = Path(os.path.relpath(picture, dataset.data_prefix["img_path"])).as_posix()
        if picture in keys:
            raise UserError(f"The list {dataset.ann_file!r} names {name!r} more than once: remove the extra lines.")
        facts = (contents[picture], contents[label], info["reduce_zero_label"], dataset.ignore_index)
        keys[picture] = f"{name}/{digest_of(*facts)}"
    return keys


def check_examples(dataset: BaseSegDataset) -> None:
    """Every picture is there, and its label map has its size and holds known labels only.

    Raises:
        UserError: the first that is not so, by name.
    """
    infos = _infos(dataset)
    with ThreadPoolExecutor() as pool:
        checks = pool.map(lambda info: _check_example(dataset, info), infos)
        for _ in tqdm(checks, total=len(infos), desc="check labels", unit="picture", disable=None, leave=False):
            pass


def _check_example(dataset: BaseSegDataset, info: Mapping[str, Any]) -> None:
    check_files(info)
    labels = LoadLabels().transform(dict(info))["gt_seg_map"]
    check_labels(labels, info["seg_map_path"], len(dataset.metainfo["classes"]), dataset.ignore_index)


def _infos(dataset: BaseSegDataset) -> Sequence[Mapping[str, Any]]:
    return [dataset.get_data_info(index) for index in range(len(dataset))]
