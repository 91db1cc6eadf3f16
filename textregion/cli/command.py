"""The library's own command: ``textregion index | search | serve | status``, one module each."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any, NoReturn

from . import Parser, index, run, search, serve, status

COMMANDS = (index, search, serve, status)
"""Each has ``add_parser``, which sets ``run`` to what the command does with its arguments."""


class _Subparser(Parser):
    """A parser of a command: words and flags in any order; it refuses unknown flags itself, as it knows the nearest."""

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse's, but nothing is left over."""
        if self._mixing:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            parsed, unknown = self.parse_known_intermixed_args(self._spelled(args), namespace)
        finally:
            self._mixing = False
        if unknown:
            self.error(self._about_unknown(unknown))
        return parsed, []


def build_parser() -> Parser:
    """The command line of all commands."""
    parser = Parser(
        prog="textregion",
        description="Encode pictures once, and ask for anything in them later.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Subparser)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status.

    Raises:
        UserError: nothing could be done.
    """
    args: Namespace = build_parser().parse_args(argv)
    status_: int = args.run(args)
    return status_


def run_command() -> NoReturn:
    """Run the command that the process was started with."""
    run(main, interrupted=index.INTERRUPTED)
