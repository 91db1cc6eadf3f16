"""Which pictures a data set has, and the label map of each (data.md section 1.2)."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset

from textregion import UserError
from textregion.image import IMAGE_SUFFIXES
from utils.text_files import read_lines

_LOSSY = frozenset([".jpg", ".jpeg", ".jpe", ".jp2", ".webp", ".avif"])
_SPELLINGS = (frozenset([".jpg", ".jpeg", ".jpe"]), frozenset([".tif", ".tiff"]))


def list_examples(dataset: BaseSegDataset) -> list[dict[str, Any]]:
    """What MMSegmentation's data sets know of each picture, in the order of the list, or else sorted by path.

    ``named_by`` is added: where a list names the picture; empty where it was found in its folder. A file that is not
    there under the data set's own ending is looked for under others (``.JPG``, ``.jpeg``, ``.png``).

    Raises:
        UserError: a list that cannot be read, or two files that may be meant.
    """
    files = _Files()
    pictures, labels = (dataset.data_prefix[name] for name in ("img_path", "seg_map_path"))
    if dataset.ann_file and not os.path.isdir(dataset.ann_file):
        found = _named(files, dataset.ann_file, pictures, dataset.img_suffix)
    else:
        found = iter(sorted(_below(files, pictures, dataset.img_suffix), key=lambda each: each[1]))
    return [
        {
            "img_path": picture,
            "seg_map_path": files.find(os.path.join(labels, name + dataset.seg_map_suffix), IMAGE_SUFFIXES - _LOSSY),
            "label_map": dataset.label_map,
            "reduce_zero_label": dataset.reduce_zero_label,
            "seg_fields": [],
            "named_by": named_by,
        }
        for name, picture, named_by in found
    ]


def check_files(example: Mapping[str, Any]) -> None:
    """The picture and the label map of an example are there.

    Raises:
        UserError: one is not.
    """
    picture, label, named_by = example["img_path"], example["seg_map_path"], example.get("named_by", "")
    if not os.path.isfile(picture):
        raise UserError(f"Picture {picture!r} does not exist: put it there, or remove {named_by or 'it'}.")
    if not os.path.isfile(label):
        raise UserError(
            f"Label map {label!r} does not exist: put it there (process_dataset.sh converts those of the published "
            f"data sets), or remove {named_by or f'picture {picture!r}'}."
        )
    if os.path.samefile(picture, label):
        raise UserError(f"{picture!r} is both a picture and its label map: keep them apart, in folders or by endings.")


class _Files:
    """Finds files whose ending may be another; each folder is looked through once."""

    def __init__(self) -> None:
        self._by_folder: dict[str, dict[str, list[str]]] = {}

    def find(self, path: str, endings: Collection[str]) -> str:
        """The file itself, or the one of another ending that stands for it; the path unchanged where there is none.

        Raises:
            UserError: there are several.
        """
        if os.path.isfile(path):
            return path
        stem, ending = os.path.splitext(path)
        there = [each for each in self._beside(stem) if os.path.splitext(each)[1].lower() in endings]
        chosen = [each for each in there if _same_kind(each, ending)] or there
        if len(chosen) > 1:
            raise UserError(f"{path!r} may mean {' or '.join(map(repr, sorted(chosen)))}: leave one there.")
        return chosen[0] if chosen else path

    def _beside(self, stem: str) -> list[str]:
        folder = os.path.dirname(stem)
        if folder not in self._by_folder:
            by_stem: dict[str, list[str]] = defaultdict(list)
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                by_stem[os.path.splitext(name)[0]].append(os.path.join(folder, name))
            self._by_folder[folder] = by_stem
        return self._by_folder[folder].get(os.path.basename(stem), [])


def _same_kind(path: str, ending: str) -> bool:
    """Whether a file's ending is another spelling of the ending."""
    own, wanted = os.path.splitext(path)[1].lower(), ending.lower()
    return own == wanted or any({own, wanted} <= spellings for spellings in _SPELLINGS)


def _named(files: _Files, ann_file: str, folder: str, suffix: str) -> Iterator[tuple[str, str, str]]:
    """Name, path and line of every picture of a list, where it may stand with its ending or, as it should, without."""
    for number, line in read_lines(Path(ann_file), "complete the data set"):
        root, ending = os.path.splitext(line)
        names = dict.fromkeys([line, line.removesuffix(suffix), root if ending.lower() in IMAGE_SUFFIXES else line])
        paths = {name: files.find(os.path.join(folder, name + suffix), IMAGE_SUFFIXES) for name in names}
        name = next((name for name, path in paths.items() if os.path.isfile(path)), line)
        yield name, paths[name], f"line {number} of {ann_file!r}"


def _below(files: _Files, folder: str, suffix: str) -> Iterator[tuple[str, str, str]]:
    """Name and path of every picture below a folder; those of another kind only where there are none of the right."""
    tail, _, ending = suffix.rpartition(".")
    stems: dict[bool, set[str]] = {True: set(), False: set()}
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            stem, own = os.path.splitext(os.path.join(parent, name))
            if not name.startswith(".") and stem.endswith(tail) and own.lower() in IMAGE_SUFFIXES:
                stems[_same_kind(name, f".{ending}")].add(stem.removesuffix(tail))
    for stem in stems[True] or stems[False]:
        yield os.path.relpath(stem, folder), files.find(stem + suffix, IMAGE_SUFFIXES), ""
