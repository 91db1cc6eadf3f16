"""The records of a run, one file a process."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.shared.processes import Processes
from eval.shared.records import Record, RecordFile, Records, read_records


class WorkDir:
    """The records of a run: one file a process; all that is there counts as done, whoever wrote it.

    Args:
        folder: made where missing.
        settings: what the records depend on.
        processes: the run's.

    Raises:
        UserError: records of other settings, a second run in the same folder, a folder that cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], processes: Processes) -> None:
        self._folder, self._settings = folder, settings
        own = folder / f"records.rank{processes.rank}.jsonl"
        self._done = self._read_others(own)
        if processes.rank > 0:
            processes.barrier()
        self._own = RecordFile(own, settings)  # rank 0 first: where it is refused, no other has written anything
        if processes.rank == 0:
            processes.barrier()

    def __contains__(self, key: str) -> bool:
        return key in self._done or key in self._own.done

    def __enter__(self) -> WorkDir:
        return self

    def __exit__(self, *_: object) -> None:
        self._own.close()

    def append(self, key: str, record: Record) -> None:
        """Keep one finished example."""
        self._own.append(key, record)

    def collect(self) -> Records:
        """All records of all processes by key."""
        return self._read_others(self._own.path) | self._own.done

    def _read_others(self, own: Path) -> Records:
        paths = sorted(path for path in self._folder.glob("records.rank*.jsonl") if path != own)
        return functools.reduce(operator.or_, (read_records(path, self._settings) for path in paths), Records())
