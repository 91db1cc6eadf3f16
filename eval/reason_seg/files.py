"""Which questions a split of ReasonSeg asks, and how: plainly or as they were interpreted (data.md section 5)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.reason_seg.annotations import Annotation, Interpreted, Shape, read_annotation, read_interpreted
from eval.shared.keys import contents_of, digest_of
from eval.shared.odd import Odd, warn
from eval.shared.orientation import Turn, read_orientation, turn_of_annotations
from eval.shared.runner import Picture
from textregion import UserError
from textregion.image import IMAGE_SUFFIXES
from utils.text_files import read_json, visible

logger = logging.getLogger(__name__)

SPLITS = ("test", "val", "train")
DEFAULT_PLACEHOLDER = "background, anything but"
_JPEG = (".jpg", ".jpeg", ".jpe")
PLAIN_BACKGROUND = "background, any other thing"


@dataclass(frozen=True)
class Query:
    """One question with its ground truth."""

    name: str
    """The picture's file name without its ending."""
    question: str
    is_sentence: bool
    words: tuple[str, str]
    """Background first, then the target."""
    shapes: tuple[Shape, ...]
    turn: Turn | None = None
    """What puts the shapes upright; None: they are."""

    @property
    def subset(self) -> str:
        return "long" if self.is_sentence else "short"


def split_name(name: str) -> str:
    """``ReasonSeg|test`` or ``test`` -> ``test``.

    Raises:
        UserError: no split of ReasonSeg.
    """
    split = name.removeprefix("ReasonSeg|")
    if split not in SPLITS:
        raise UserError(f"--val_dataset must be ReasonSeg|test, ReasonSeg|val or ReasonSeg|train, but got {name!r}.")
    return split


def split_folder(dataset_dir: Path, split: str) -> Path:
    """``reason_seg/<split>``, or LISA's ``reason_seg/ReasonSeg/<split>``.

    Raises:
        UserError: neither is there.
    """
    folders = [dataset_dir / "reason_seg" / split, dataset_dir / "reason_seg" / "ReasonSeg" / split]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise UserError(
        f"Neither {str(folders[0])!r} nor {str(folders[1])!r} is there: check --dataset_dir and --val_dataset."
    )


@dataclass(frozen=True)
class Questions:
    """What is asked."""

    pictures: list[Picture]
    """Sorted by name, with one query each."""
    odd: list[Odd]
    """Annotations that cannot be judged; they count as wrong."""


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a split, sorted by name: JPEGs, and others that have an annotation and no JPEG.

    Raises:
        UserError: there are none.
    """
    files = visible(folder.iterdir())
    by_stem = {path.stem: path for path in files if path.suffix.lower() in _JPEG}
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES and path.with_suffix(".json").is_file():
            by_stem.setdefault(path.stem, path)
    if not by_stem:
        raise UserError(f"Folder {str(folder)!r} holds no *.jpg pictures: check --dataset_dir.")
    return sorted(by_stem.values())


def read_questions(
    folder: Path,
    interpreted_dir: Path,
    subset: str = "overall",
    placeholder: str = DEFAULT_PLACEHOLDER,
    limit: int | None = None,
    *,
    ask_answers: bool = True,
) -> Questions:
    """Everything that a split asks.

    Args:
        folder: of ``<name>.jpg`` and ``<name>.json``.
        interpreted_dir: of the interpreted queries; where one is there, question and kind are its own.
        subset: short (phrases), long (sentences) or overall.
        placeholder: the background query in front of an interpreted target.
        limit: only the first pictures.
        ask_answers: ask for the interpreted answers, of which none may be missing; False: for the questions themselves.

    Raises:
        UserError: no pictures, no annotation that can be judged, or an interpreted query that is missing.
    """
    asked: list[tuple[Path, Query]] = []
    odd: list[Odd] = []
    missing: list[Path] = []
    for path in pictures_in(folder):
        if limit is not None and len(asked) + len(odd) == limit:
            break
        interpreted = interpreted_dir / f"{path.stem}.json"
        try:
            annotation = read_annotation(path.with_suffix(".json"))
            if ask_answers and not interpreted.is_file():
                missing.append(interpreted)
                continue
            query = _query(path, annotation, interpreted, placeholder, ask_answers)
        except UserError as error:
            kind = _kind(interpreted, path.with_suffix(".json"))
            if subset == "overall" or kind in (subset, ""):
                odd.append(Odd(f"{path.stem}.json", str(error), kind))
            continue
        if subset in ("overall", query.subset):
            asked.append((path, query))
    _check(folder, subset, asked, odd, missing)
    warn(odd, "it counts as wrong")
    contents = contents_of(path for path, _ in asked)
    return Questions([Picture(path, {_key(query, contents[os.fspath(path)]): query}) for path, query in asked], odd)


def _check(folder: Path, subset: str, asked: Sequence[object], odd: Sequence[Odd], missing: Sequence[Path]) -> None:
    """Refuse a split that is wrong as a whole, or of which some questions were not interpreted."""
    if missing:
        raise UserError(
            f"Interpreted query {str(missing[0])!r} does not exist ({len(missing)} are missing): make it with "
            "python -m eval.reason_seg.interpret_queries, check --interpreted_query_dir, or run with "
            "--no-use_interpreted_query."
        )
    if not asked and odd:
        raise UserError(f"No annotation in {str(folder)!r} can be judged: {odd[0].reason}")
    if not asked:
        raise UserError(f"No picture of {str(folder)!r} has a {subset} question: choose another --eval_query_type.")


def _key(query: Query, content: str) -> str:
    shapes = [(shape.points_xy, shape.ignored) for shape in query.shapes]
    return f"{query.name}/{digest_of(content, query.words, query.is_sentence, shapes, query.turn)}"


def _query(path: Path, annotation: Annotation, interpreted: Path, placeholder: str, ask_answers: bool) -> Query:
    said = _said(interpreted, annotation, needed=ask_answers)
    words = (PLAIN_BACKGROUND, said.text.lower())
    if ask_answers:
        target = (said.answer if said.is_sentence or not said.answer else f"{said.answer}, {said.text}").lower()
        if not target:
            logger.warning("The interpreted query of %s is blank; the question itself is asked.", path.name)
            target = said.text.lower()
        words = (f"{placeholder} {target}", target)
    return Query(path.stem, said.text, said.is_sentence, words, annotation.shapes, _turn(path, annotation))


def _said(interpreted: Path, annotation: Annotation, needed: bool) -> Interpreted:
    """A picture's interpreted query, or what its annotation says where there is none and none is needed."""
    if needed or interpreted.is_file():
        try:
            return read_interpreted(interpreted, annotation)
        except UserError as error:
            if needed:
                raise
            logger.warning("%s The annotation's question is asked.", error)
    return Interpreted("", annotation.text, annotation.is_sentence)


def _kind(*files: Path) -> str:
    """Short or long of a question that cannot be judged, as the first file says that tells; else empty."""
    for file in files:
        try:
            is_sentence = read_json(file, "")["is_sentence"]
        except (UserError, KeyError, TypeError):
            continue
        if isinstance(is_sentence, bool):
            return "long" if is_sentence else "short"
    return ""


def _turn(path: Path, annotation: Annotation) -> Turn | None:
    orientation = read_orientation(path)
    if orientation is None:
        return None
    points = [point for shape in annotation.shapes for point in shape.points_xy]
    return turn_of_annotations(orientation, points, annotation.recorded_wh)
