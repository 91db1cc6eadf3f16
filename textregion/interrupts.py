"""How Ctrl-C ends a script: at once, with a line on how to go on. Loads nothing, so that a script may begin with it."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

HOW_TO_RESUME = "the same command goes on from here."


def end(words: str = HOW_TO_RESUME) -> NoReturn:
    """Say ``words`` on stderr and end the process with status 130.

    Nothing is torn down: with models loaded that takes Python longer than a person waits for.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):  # a pipe that is closed
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        print(f"\ninterrupted: {words}", file=sys.stderr, flush=True)
    os._exit(130)


def end_at_once(words: str = HOW_TO_RESUME) -> None:
    """Until :func:`raise_again`, Ctrl-C ends the process wherever it is: for imports, which leave nothing half done.

    A KeyboardInterrupt would be a traceback there, or whatever the library that is being imported makes of it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody wants it ignored
        signal.signal(signal.SIGINT, functools.partial(_end, words))


def raise_again() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, so that what is half done is cleared away."""
    if isinstance(signal.getsignal(signal.SIGINT), functools.partial):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(words: str, signum: int, frame: FrameType | None) -> NoReturn:
    end(words)
