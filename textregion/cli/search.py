"""``textregion search``: the regions of an index that fit words, a region, or both."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import UserError
from ..files import write_bytes
from ..index import Hit, Hits, RegionIndex
from ..index.question import Question
from ..index.settings import IndexSettings
from ..index.sheet import check_suffix, contact_sheet, figures
from ..text import TextBank
from ..weights import load_text_bank
from . import add_boolean, add_model_options
from .index import fill_from, words_folder

_PRINTABLE = str.maketrans({char: f"\\x{char:02x}" for char in [*range(32), 127]})


def add_parser(commands: Any) -> None:
    """Add the command to those of :mod:`textregion.cli.command`."""
    parser = commands.add_parser(
        "search",
        help="find regions by words, or by a region",
        description="Find the regions of an index that fit words, or a region of one of its pictures, or all together.",
    )
    parser.add_argument("index", metavar="DIR", help="folder of the index")
    parser.add_argument(
        "words", nargs="*", metavar="WORDS", help='what to look for: "red truck"; several count together'
    )
    parser.add_argument("--like", metavar="PICTURE", help="a picture of the index, of which a region is looked for ...")
    parser.add_argument("--at", type=_pixel, metavar="X,Y", help="... the smallest at this pixel")
    parser.add_argument("--minus", action="append", default=[], metavar="WORDS", help="what is not wanted")
    parser.add_argument(
        "--in", dest="within", action="append", default=[], metavar="FOLDER", help="only below this folder"
    )
    parser.add_argument("-k", type=int, default=24, metavar="N", help="number of answers (default %(default)s)")
    add_boolean(parser, "--per_region", False, "every region that fits, not the best of each picture")
    add_boolean(parser, "--ann", False, "ask an approximate index, made when first asked for: for many million regions")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print answers as JSON, with boxes and masks")
    form.add_argument("--paths", action="store_true", help="print paths of pictures, one a line")
    parser.add_argument("--sheet", metavar="FILE", help="draw the answers into one picture")
    add_boolean(parser, "--repair", False, "leave damaged parts of the index out")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Search, and print or draw the answers.

    Raises:
        UserError: nothing could be done.
    """
    settings = IndexSettings.read(Path(args.index))
    fill_from(args, settings)
    Question.of([*args.words, *([Tensor()] if args.like else [])], args.minus)  # before anything is loaded
    if (args.like is None) != (args.at is None):
        raise UserError("A region is named by a picture and a pixel of it: give both --like PICTURE and --at X,Y.")
    format_ = check_suffix(args.sheet) if args.sheet else ""
    index = RegionIndex.open(args.index, text=lambda: _text(args), repair=args.repair)
    like = [index.region_at(args.like, *args.at)] if args.like else []
    hits = index.search(
        [*args.words, *(hit.token for hit in like)],
        k=args.k,
        minus=args.minus,
        within=args.within,
        per_region=args.per_region,
        but=like,
        approximate=args.ann,
    )
    if args.sheet:
        write_bytes(args.sheet, contact_sheet(hits, format_))
    if args.json:
        print(json.dumps(_document(args, hits), indent=1))
    elif args.paths:
        _print_paths(hits)
    else:
        print("\n".join([*map(_line, hits), hits.verdict]))
    return 0


def _text(args: Namespace) -> TextBank:
    """The text side of the index's model; its words are kept beside the index unless another folder is named."""
    kept = args.text_cache or words_folder(Path(args.index))
    return load_text_bank(
        clip_architecture=args.clip_architecture,
        clip_pretrained=args.clip_pretrained,
        clip_download_root=args.clip_download_root,
        tokenizer=args.tokenizer,
        sam2_checkpoint=args.sam2_checkpoint,
        device=args.device,
        dtype=args.dtype,
        templates=args.templates,
        text_cache=kept,
    )


def _pixel(value: str) -> tuple[float, float]:
    try:
        x, y = map(float, value.split(","))
    except ValueError:
        raise ArgumentTypeError(f"expected X,Y in pixels, but got {value!r}") from None
    return x, y


def _document(args: Namespace, hits: Hits) -> dict[str, Any]:
    question = {
        "words": args.words, "minus": args.minus, "like": args.like, "at": args.at, "in": args.within
    }  # fmt: skip
    return {
        "question": {name: value for name, value in question.items() if value},
        "relevance": hits.relevance,
        "found": hits.found,
        "verdict": hits.verdict,
        "hits": [hit.as_dict() for hit in hits],
    }


def _print_paths(hits: Hits) -> None:
    """Every picture once, byte by byte as it is named, so that other programs find it."""
    text = "".join(f"{path}\n" for path in dict.fromkeys(hit.picture for hit in hits))
    sys.stdout.flush()
    if hasattr(sys.stdout, "buffer"):
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    else:
        print(text, end="")


def _line(hit: Hit) -> str:
    x, y, width, height = hit.box_xywh
    name = hit.picture.translate(_PRINTABLE)
    return f"{figures(hit)}  {name}  {x},{y} {width}x{height}"
