"""``textregion status``: what an index holds, whether it is sound, and its upkeep."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from ..index import RegionIndex
from ..index.settings import IndexSettings
from . import add_boolean, add_model_options
from .index import fill_from
from .search import _text


def add_parser(commands: Any) -> None:
    """Add the command to those of :mod:`textregion.cli.command`."""
    parser = commands.add_parser(
        "status",
        help="what an index holds, and its upkeep",
        description="Say what an index holds; check it, or join its small parts and drop what is gone.",
    )
    parser.add_argument("index", metavar="DIR", help="folder of the index")
    add_boolean(parser, "--check", False, "read every part, and measure the recall of the quick search")
    add_boolean(parser, "--compact", False, "join small parts, and drop the rows of pictures that are gone")
    add_boolean(parser, "--repair", False, "leave damaged parts of the index out")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Print an index's state.

    Raises:
        UserError: no index, a damaged one, one that is being written to and cannot be compacted.
    """
    settings = IndexSettings.read(Path(args.index))
    fill_from(args, settings)
    index = RegionIndex.open(args.index, text=lambda: _text(args), repair=args.repair)
    if args.compact:
        done = index.compact()
        print(f"Compacted: {done.parts_before} parts are {done.parts} now, {done.tombstones} tombstones are gone.")
    print("\n".join(index.status().lines()))
    if args.check:
        print("\n".join(index.check().lines()))
    return 0
