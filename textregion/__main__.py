"""The command ``textregion``, also ``python -m textregion``."""

from __future__ import annotations

from typing import NoReturn

from . import interrupts


def main() -> NoReturn:
    """Run the command that the arguments name, and end the process with its exit status."""
    interrupts.end_at_once("nothing was begun yet.")  # before the imports that take seconds
    from .cli.command import run_command

    run_command()


if __name__ == "__main__":
    main()
