"""Parts of a data set that cannot be judged: each is told, named in the results, and counts as wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_TOLD = 5
"""So many are told one by one; results.json names all."""


@dataclass(frozen=True)
class Odd:
    """What is wrong with a part of the data, and where."""

    where: str
    reason: str
    group: str = ""
    """The split, or the kind of question; empty where it is not known."""
    questions: int = 1
    """How many count as wrong."""
    line: int = 0
    """Of the file, where several of them may come from one line."""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def named(odd: Sequence[Odd]) -> dict[str, str]:
    """Reasons by place, as the results hold them."""
    return {each.where: each.reason for each in odd}


def lines_of(odd: Sequence[Odd]) -> list[str]:
    """The first of them a line each, and how many more there are."""
    lines = [str(each) for each in odd[:_TOLD]]
    return lines if len(odd) <= _TOLD else [*lines, f"{len(odd) - _TOLD} more, which results.json names"]


def warn(odd: Sequence[Odd], consequence: str) -> None:
    """Log them, in the first process of a run, each with what follows from it."""
    if os.environ.get("RANK", "0") == "0":
        for line in lines_of(odd):
            logger.warning("%s; %s.", line, consequence)
