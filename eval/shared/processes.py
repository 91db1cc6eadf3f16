"""The processes of a run: started by torchrun, they exchange nothing but barriers."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from textregion import UserError

_WORDS_ON_DEATH = "Another process of this run ended early: the same command, with any number of processes, goes on."


def add_launcher_options(group: Any, launchers: Sequence[str]) -> None:
    """How several processes are started: ``--launcher``, and ``--local_rank``, which torch.distributed.launch adds."""
    group.add_argument("--launcher", choices=launchers, default="none", help="pytorch: started by torchrun")
    group.add_argument(
        "--local_rank", type=int, metavar="N", help="given by torch.distributed.launch: this process on its machine"
    )


def take_local_rank(local_rank: int | None) -> None:
    """Let ``--local_rank`` stand in for the variable LOCAL_RANK, which newer launchers set."""
    if local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(local_rank))


def check_launcher(launcher: str) -> None:
    """Refuse a ``--launcher`` that does not fit how this process was started.

    Raises:
        UserError: it says so.
    """
    started = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    if launcher == "pytorch" and not started:
        raise UserError("--launcher pytorch needs torchrun: start with torchrun --nproc-per-node N <script> ...")
    if launcher == "none" and started and int(os.environ["WORLD_SIZE"]) > 1:
        raise UserError("This was started by torchrun with several processes: add --launcher pytorch.")


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int = 0
    count: int = 1

    def barrier(self) -> None:
        """Wait for the others.

        Raises:
            UserError: one of them has died.
        """
        if self.count == 1:
            return
        try:
            dist.barrier()
        except RuntimeError:
            raise UserError(_WORDS_ON_DEATH) from None

    def device(self, name: str | None) -> str | None:
        """This process's own GPU where the run is on GPUs and none is named by number."""
        if self.count == 1 or name not in (None, "auto", "cuda") or not torch.cuda.is_available():
            return name
        return f"cuda:{int(os.environ.get('LOCAL_RANK', self.rank)) % torch.cuda.device_count()}"


@contextlib.contextmanager
def start_processes(launcher: str) -> Iterator[Processes]:
    """Join the other processes of the run.

    Nothing but barriers is exchanged (results are merged from the record files), so gloo does on GPUs too.
    """
    if launcher == "none":
        yield Processes()
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        dist.init_process_group("gloo", timeout=datetime.timedelta(days=14))
    except (RuntimeError, ValueError) as error:
        raise UserError(f"The processes of this run could not find each other ({error}).") from None
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _stop(signum: int, frame: object) -> NoReturn:
    """torchrun ends the others so when one process has died."""
    print(f"stopped: {_WORDS_ON_DEATH}", file=sys.stderr, flush=True)
    os._exit(128 + signum)
