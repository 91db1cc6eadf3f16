"""``textregion index``: make an index hold the pictures of folders as they are now."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from .. import published
from ..errors import UserError
from ..index import Growth, RegionIndex
from ..index.question import NEUTRAL_WORDS
from ..index.settings import FILE, IndexSettings
from ..rendered import all_rendered
from ..segmenter import TextRegionSegmenter
from . import add_boolean, add_method_options, add_model_options, load_segmenter, method_options, one_line
from .models import MODEL_NAMES, choose_models, model_names

INTERRUPTED = "what was encoded is in the index; the same command goes on from here."


def add_parser(commands: Any) -> None:
    """Add the command to those of :mod:`textregion.cli.command`."""
    parser = commands.add_parser(
        "index",
        help="encode what is new in folders of pictures",
        description=(
            "Make an index hold the pictures of files, folders and globs as they are now: new ones are encoded, moved "
            "ones are not, deleted ones leave. The same command goes on after an interruption, and takes in what "
            "changed later; then models and options need not be named again."
        ),
    )
    parser.add_argument("pictures", nargs="*", metavar="PHOTOS", help="pictures, folders or globs")
    parser.add_argument("--index", required=True, metavar="DIR", help="folder of the index; made where it is missing")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="files and folders to pass over, by name or path"
    )
    parser.add_argument(
        "--forget", action="append", default=[], metavar="PATH", help="take out pictures and folders, mounted or not"
    )
    add_boolean(parser, "--repair", False, "leave damaged parts of the index out, and encode their pictures anew")
    add_model_options(parser)
    add_method_options(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Add to an index, and say what was done; 2 where a picture could not be encoded.

    Raises:
        UserError: nothing could be done.
    """
    if not args.pictures and not args.forget:
        raise UserError("There is nothing to index: name pictures or folders, or take some out with --forget.")
    start = time.perf_counter()
    index = _open(args)
    if args.forget:
        print(f"Took out {len(index.forget(args.forget))} pictures.")
    if not args.pictures:
        return 0
    with logging_redirect_tqdm(), tqdm(desc="pictures", unit="picture", disable=None, leave=False) as bar:
        growth = index.add(args.pictures, exclude=args.exclude, progress=_shown_by(bar))
    index.tidy()
    if growth.added or growth.changed:
        index.encode_words(NEUTRAL_WORDS)  # while the model is loaded: every search needs them
    for reason in growth.failed.values():
        print(f"error: {one_line(reason)}", file=sys.stderr)
    for line in (*_kept(growth), summary(growth, index, time.perf_counter() - start)):
        print(line)
    return 2 if growth.failed else 0


def _open(args: Namespace) -> RegionIndex:
    """The index, which loads its models when a picture has to be encoded; a new one needs them at once."""
    folder = Path(args.index)
    args.text_cache = args.text_cache or words_folder(folder)
    if (folder / FILE).exists():
        settings = IndexSettings.read(folder)
        fill_from(args, settings)
        _refuse_other_options(args, settings)
        index = RegionIndex.open(folder, _loader(args, settings.options), repair=args.repair)
        if _names(args) != dict(settings.models):
            index.segmenter  # noqa: B018 (other names may be other models: look at once)
        return index
    for name in args.pictures:  # before models are loaded in vain
        if not Path(name).exists() and not any(sign in name for sign in "*?["):
            raise UserError(f"There is no file or folder {name!r}: check its name.")
    choose_models(args, all_rendered(args.pictures))
    return RegionIndex.create(folder, _loader(args, {})(), _names(args))


def words_folder(folder: Path) -> Path:
    """Where the embeddings of words are kept beside an index."""
    return folder / "cache" / "words"


def fill_from(args: Namespace, settings: IndexSettings) -> None:
    """Take models and precisions from an index where the command line names none."""
    if not any(getattr(args, name) is not None for name in MODEL_NAMES):
        for name, value in settings.models.items():
            if name in MODEL_NAMES:
                setattr(args, name, value)
    args.dtype = args.dtype or settings.dtype
    args.sam2_dtype = args.sam2_dtype or settings.sam2_dtype


def _refuse_other_options(args: Namespace, settings: IndexSettings) -> None:
    wanted = {**(published.OPTIONS if args.published else {}), **method_options(args)}
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in wanted.items()}
    asked = {name: value for name, value in given.items() if name in settings.options}
    identity = {**settings.identity(), "dtype": args.dtype, "sam2_dtype": args.sam2_dtype}
    difference = settings.difference({**identity, "options": {**identity["options"], **asked}})
    if difference:
        raise UserError(f"Index {args.index!r} was made otherwise: {difference}.")


def _loader(args: Namespace, options: Mapping[str, Any]) -> Callable[[], TextRegionSegmenter]:
    return lambda: load_segmenter(args, "demo", extra_options=options)


def _names(args: Namespace) -> dict[str, Any]:
    return {name: value for name, value in model_names(args).items() if value is not None}


def _shown_by(bar: Any) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show


def _kept(growth: Growth) -> list[str]:
    """What stays in the index though it was not found."""
    lines = [
        f"Folder {folder!r} is not there or empty: its {count} pictures are kept (--forget takes them out)."
        for folder, count in growth.unmounted.items()
    ]
    lines += [f"Folder {folder!r} cannot be read ({reason})." for folder, reason in growth.unreadable.items()]
    if growth.excluded:
        lines.append(f"{len(growth.excluded)} pictures that are passed over now are kept (--forget takes them out).")
    if growth.failed_before:
        lines.append(f"{growth.failed_before} bad pictures have not changed and were not tried again (failed.jsonl).")
    return lines


def summary(growth: Growth, index: RegionIndex, seconds: float) -> str:
    """One line on what was done."""
    counts = {
        "added": len(growth.added),
        "changed": len(growth.changed),
        "moved": len(growth.moved),
        "deleted": len(growth.deleted),
        "failed": len(growth.failed),
    }
    told = [f"{count} {what}" for what, count in counts.items() if count] + [f"{growth.unchanged} unchanged"]
    return (
        f"{', '.join(told)}: {len(index)} pictures with {index.region_count} regions in {str(index.folder)!r} "
        f"({seconds:.1f} s)"
    )
