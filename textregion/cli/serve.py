"""``textregion serve``: a page to look at regions and ask."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import interrupts
from ..errors import UserError
from ..index import RegionIndex
from ..index.settings import FILE, IndexSettings
from ..rendered import all_rendered
from ..words import SEPARATORS, split_words
from . import add_boolean, add_method_options, add_model_options, label_map_options, load_segmenter
from .index import fill_from
from .models import choose_models, wants_miniatures

MINIATURE_WORDS = "sky, grass, road, water, tree, house, person, dog, cat, car, bird, mushroom, cup, sun"
"""What the page begins with where the miniatures run, which know little else."""
_NEEDED = ("fastapi", "pydantic", "starlette", "uvicorn")


def add_parser(commands: Any) -> None:
    """Add the command to those of :mod:`textregion.cli.command`."""
    parser = commands.add_parser(
        "serve",
        help="open a page to look at pictures and ask",
        description=(
            "Serve a page that shows the regions of pictures and what words fit them: of pictures that are dropped on "
            "it, of those named here, and of an index, which it searches. Only this machine can reach it unless --host "
            "says otherwise."
        ),
    )
    parser.add_argument(
        "sources", nargs="*", metavar="INDEX_DIR|PHOTOS", help="an index to search; or pictures, folders or globs"
    )
    parser.add_argument("--port", type=int, default=8765, metavar="N", help="0: a free one (default %(default)s)")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0 lets other machines in (default %(default)s)"
    )
    parser.add_argument("--token", metavar="TEXT", help="what whoever opens the page must know; needed with --host")
    parser.add_argument(
        "--allow_host", nargs="+", default=[], metavar="NAME", help="other names that the server is reached by"
    )
    parser.add_argument("--words", metavar="WORDS", help='what the page begins with: "dog, grass"')
    add_boolean(parser, "--repair", False, "leave damaged parts of the index out")
    add_model_options(parser)
    add_method_options(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Serve until Ctrl-C.

    Raises:
        UserError: nothing can be served.
    """
    try:
        from .. import web
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _NEEDED:
            raise
        raise UserError(f"The page needs {error.name}: install it with pip install 'textregion[web]'.") from None
    _check_token(args, web.is_loopback(args.host))
    settings = _index_settings(args)
    pictures = [] if settings else web.find_pictures(args.sources)
    if settings is None:
        choose_models(args, all_rendered(args.sources))
    with web.listen(args.host, args.port) as listening:
        options = {**(settings.options if settings else {}), **label_map_options(args)}
        segmenter = load_segmenter(args, "demo", extra_options=options)
        app = web.create_app(
            segmenter,
            pictures,
            index=RegionIndex.open(args.sources[0], segmenter, repair=args.repair) if settings else None,
            host=args.host,
            token=args.token,
            names=args.allow_host,
            words=_words(args),
        )
        shown = "" if args.token is None else f"?token={quote(args.token, safe='')}"
        print(f"Open {web.address(args.host, listening)}{shown} in a browser; Ctrl-C ends.", flush=True)
        try:
            web.server(app).run(sockets=[listening])
        except KeyboardInterrupt:
            interrupts.end("the page is closed.")
    return 0


def _index_settings(args: Namespace) -> IndexSettings | None:
    """Those of the index that is named, if one is; its models are used unless others are named."""
    indexes = [source for source in args.sources if (Path(source) / FILE).is_file()]
    if not indexes:
        return None
    if len(args.sources) > 1:
        raise UserError(f"{indexes[0]!r} is an index: name it alone, or name pictures and folders.")
    settings = IndexSettings.read(Path(indexes[0]))
    fill_from(args, settings)
    return settings


def _check_token(args: Namespace, loopback: bool) -> None:
    if args.token is not None and (not args.token.strip() or not args.token.isprintable()):
        raise UserError("The --token must be text that can be typed and is not blank.")
    if loopback:
        return
    if args.token is None:
        raise UserError(f"--host {args.host} lets other machines in: set a --token that they must show.")
    print(
        f"warning: whoever reaches {args.host} and knows the token can see these pictures and have others encoded, and "
        "what is sent is not encrypted.",
        file=sys.stderr,
    )


def _words(args: Namespace) -> list[str]:
    miniatures = wants_miniatures(args)
    words = args.words if args.words is not None else MINIATURE_WORDS if miniatures else ""
    return split_words(words, SEPARATORS)
