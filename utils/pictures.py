"""Which pictures are meant, and the words for each: the demo's YAML, folders, globs."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

import yaml

from textregion import UserError
from textregion.export import MAX_PALETTE

IMAGE_SUFFIXES = frozenset(
    [".avif", ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)
WordsOf = dict[Path, tuple[str, ...]]


def read_queries(config: Path, checkout: Path) -> WordsOf:
    """The YAML's pictures and words; a relative path counts from here, from the YAML's folder, or from ``checkout``.

    Raises:
        UserError: a file that cannot be read, or is not a mapping of image paths to ``label:`` lists.
    """
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"The YAML {str(config)!r} cannot be read ({error.strerror}): check --image_query_cfg."
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"File {str(config)!r} is not a plain YAML file ({error}): mend it.") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"The YAML {str(config)!r} must map image paths to 'label:' lists, but holds {_kind(content)}.")
    queries: WordsOf = {}
    for name, entry in content.items():
        where = f"picture {str(name)!r} in {str(config)!r}"
        if not isinstance(name, str):
            raise UserError(
                f"The YAML {str(config)!r} must map image paths to 'label:' lists, but has the key {name!r}."
            )
        if not isinstance(entry, dict) or "label" not in entry:
            raise UserError(f"There is no 'label:' under {where}: write the words to look for there, as a list.")
        bases = [base for base in (Path(), config.parent, checkout) if (base / name).is_file()]
        queries[_short((bases or [Path()])[0] / name)] = check_words(entry["label"], where)
    return queries


def check_words(words: Any, where: str) -> tuple[str, ...]:
    """Words without repetition.

    Raises:
        UserError: not a list, an empty one, more than a label map holds, or a word that is blank or no text.
    """
    if not isinstance(words, list):
        raise UserError(f"The words of {where} must be a list, but are {_kind(words)}: write them as [dog, grass].")
    if not words:
        raise UserError(f"The list of words of {where} is empty: name at least one.")
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise UserError(
                f"The words of {where} must be text that is not blank, but there is {word!r}: put it in quotes."
            )
    unique = tuple(dict.fromkeys(words))
    if len(unique) > MAX_PALETTE:
        raise UserError(f"There are {len(unique)} words for {where}: give at most {MAX_PALETTE}.")
    return unique


def expand(name: str) -> list[Path]:
    """The pictures that one value of ``--image_list`` stands for; a path that does not exist stands for itself.

    Raises:
        UserError: a folder or a glob without pictures.
    """
    path = Path(name)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    elif glob.has_magic(name) and not path.exists():
        found = sorted(file for file in map(Path, glob.glob(name, recursive=True)) if file.is_file())
    else:
        return [path]
    if not found:
        raise UserError(f"There are no pictures in {name!r}: check --image_list.")
    return found


def _short(path: Path) -> Path:
    """The path from here where it lies below, else in full."""
    resolved = path.resolve()
    return resolved.relative_to(Path.cwd()) if resolved.is_relative_to(Path.cwd()) else resolved


def _kind(value: Any) -> str:
    return "nothing" if not value and value != 0 else f"{value!r} ({type(value).__name__})"[:80]
