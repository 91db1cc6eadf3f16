"""What the referring and reasoning evaluations share: several processes, resume, the region cache, the picture loop."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import hashlib
import json
import logging
import operator
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from tqdm import tqdm

from eval.records import RecordFile, Records, read_records
from textregion import RegionTokens, TextRegionSegmenter, UserError
from textregion.image import RGB, load_rgb
from utils.ahead import ahead

logger = logging.getLogger(__name__)

Record = dict[str, Any]
Judge = Callable[[RGB, RegionTokens, Mapping[str, Any]], Iterable[tuple[str, Record]]]
"""A picture as (H, W, 3) RGB, its regions, and the examples still to do by key -> their records by key."""

_PAINTING_ONLY = ("region_logit_scale", "uncovered", "prob_thd", "output_size", "points_per_batch", "view_batch")
"""Options that change nothing in a picture's regions."""
_WORDS_ON_DEATH = "Another process of this run ended early: the same command, with any number of processes, goes on."


@dataclass(frozen=True)
class Picture:
    """A picture and everything that is asked of it, by key, so that it is encoded once."""

    path: Path
    examples: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What is known when every process is done."""

    records: Mapping[str, Record]
    """Records of all finished examples by key."""
    unreadable: dict[str, str]
    """Path and reason of pictures that could not be read; their examples have no record."""


def add_run_options(parser: argparse.ArgumentParser, log_dir: str) -> None:
    """Where records go, how much is evaluated, and by how many processes."""
    group = parser.add_argument_group("run")
    group.add_argument("--log_dir", type=Path, default=Path(log_dir), help=f"records and results (default {log_dir})")
    group.add_argument("--limit", type=int, metavar="N", help="only the first N pictures (of every split)")
    group.add_argument("--show-dir", type=Path, metavar="DIR", help="draw every example into this folder")
    group.add_argument("--cache", type=Path, metavar="DIR", help="keep region tokens on disk between runs")
    group.add_argument("--cache-gb", type=float, default=20.0, metavar="GB", help="bound of --cache (default 20)")
    group.add_argument("--launcher", choices=("none", "pytorch"), default="none", help="pytorch: started by torchrun")


def check_run_options(args: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        UserError: a number out of range, or processes that were not started as ``--launcher`` says.
    """
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit must be at least 1, but got {args.limit}.")
    if args.cache_gb <= 0:
        raise UserError(f"--cache-gb must be more than 0, but got {args.cache_gb:g}.")
    started = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    if args.launcher == "pytorch" and not started:
        raise UserError("--launcher pytorch needs torchrun: start with torchrun --nproc-per-node N <script> ...")
    if args.launcher == "none" and started and int(os.environ["WORLD_SIZE"]) > 1:
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


class RegionCache:
    """Region tokens of pictures, kept on disk between runs and tasks.

    Keyed by the picture's content, the models and every option that the regions depend on; the least recently used
    leave when the folder outgrows its bound.

    Args:
        segmenter: encodes what is not there.
        folder: None: nothing is kept.
        max_gb: bound of the folder, in 10^9 bytes.
    """

    def __init__(self, segmenter: TextRegionSegmenter, folder: Path | None = None, max_gb: float = 20.0) -> None:
        self._segmenter, self._folder, self._max_bytes = segmenter, folder, max_gb * 1e9
        options = {k: v for k, v in segmenter.options.as_dict().items() if k not in _PAINTING_ONLY}
        dense = segmenter.options.uncovered == "dense"
        facts = [model_names(segmenter), segmenter.precision.dtype, options, dense]
        self._facts = json.dumps(facts, sort_keys=True).encode() if folder is not None else b""
        self.encoded = self.reused = 0

    def encode(self, image: RGB, path: Path) -> RegionTokens:
        """The regions of a picture, from the cache where they are there.

        Args:
            image: the picture as it was read.
            path: its file.
        """
        kept = self._path(path)
        regions = self._load(kept) if kept else None
        if regions is not None and self._is_of(image, regions):
            self.reused += 1
            return regions.to(self._segmenter.encoder.device)
        regions = self._segmenter.encode(image)
        self.encoded += 1
        if kept:
            self._store(regions, kept)
        return regions

    def _path(self, path: Path) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{hashlib.sha256(self._facts + path.read_bytes()).hexdigest()}.safetensors"

    def _load(self, kept: Path) -> RegionTokens | None:
        if not kept.is_file():
            return None
        try:
            regions = RegionTokens.load(kept)
            os.utime(kept)  # the time of the last use
            return regions
        except UserError as error:
            logger.warning("%s", error)
        except OSError as error:
            logger.debug("another process removed %s (%s)", kept, error)
        return None

    def _is_of(self, image: RGB, regions: RegionTokens) -> bool:
        """Whether regions can be this picture's, made by this encoder; a file may have been put there by hand."""
        return regions.encoder == self._segmenter.encoder.name and regions.size_hw == image.shape[:2]

    def _store(self, regions: RegionTokens, kept: Path) -> None:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            regions.save(kept)
            self._shrink(kept.parent)
        except (OSError, SafetensorError) as error:
            logger.warning("Regions could not be kept in %s (%s); the run goes on without.", kept.parent, error)

    def _shrink(self, folder: Path) -> None:
        facts = [(file.stat(), file) for file in folder.glob("*.safetensors")]
        total = sum(stat.st_size for stat, _ in facts)
        for stat, file in sorted(facts, key=lambda pair: pair[0].st_mtime_ns):
            if total <= self._max_bytes:
                return
            file.unlink(missing_ok=True)
            total -= stat.st_size


def model_names(segmenter: TextRegionSegmenter) -> dict[str, str]:
    """What identifies the two frozen models in records and caches."""
    return {"encoder": segmenter.encoder.name, "sam2": weights_digest(segmenter.mask_generator.model)}


def weights_digest(model: torch.nn.Module) -> str:
    """A short digest of a model's names, shapes and a sample of each tensor, the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, len(flat) // 64)].float().cpu().numpy()
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + sample.tobytes())
    return digest.hexdigest()[:16]


def run_pictures(
    pictures: Sequence[Picture], judge: Judge, cache: RegionCache, work: WorkDir, processes: Processes
) -> Outcome | None:
    """Judge every example that has no record yet, each picture in one process, and collect the records of all.

    Args:
        pictures: in the order of the data, the same in every process.
        judge: makes the records of one picture's examples.
        cache: encodes a picture.
        work: where finished examples are kept.
        processes: the run's; picture i belongs to process i modulo their number.

    Returns:
        The outcome in the first process, None in the others.
    """
    mine = tqdm(
        pictures[processes.rank :: processes.count],
        unit="picture",
        disable=processes.rank > 0 or not sys.stderr.isatty(),
    )
    unfinished = (picture for picture in mine if any(key not in work for key in picture.examples))
    for picture, read in ahead(lambda picture: load_rgb(picture.path), unfinished):
        try:
            image = read()
        except UserError as error:
            logger.warning("%s Its examples count as wrong.", error)
            continue
        todo = {key: example for key, example in picture.examples.items() if key not in work}
        for key, record in judge(image, cache.encode(image, picture.path), todo):
            work.append(key, record)
    processes.barrier()
    return _collect(pictures, work) if processes.rank == 0 else None


def _collect(pictures: Sequence[Picture], work: WorkDir) -> Outcome:
    records = work.collect()
    unfinished = [picture.path for picture in pictures if any(key not in records for key in picture.examples)]
    return Outcome(records, {str(path): _why_unreadable(path) for path in unfinished})


def _why_unreadable(path: Path) -> str:
    try:
        load_rgb(path)
    except UserError as error:
        return str(error)
    return "it can be read now: start the same command again"


def digest_of(*facts: object) -> str:
    """A short digest of plain values: part of a key, so that records of changed data are never taken up."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


class Stopwatch:
    """Seconds since it was made, for the ``timing`` of results."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def timing(self, cache: RegionCache) -> dict[str, float]:
        """Wall time and what was encoded by the first process."""
        seconds = round(time.perf_counter() - self._start, 3)
        return {"seconds": seconds, "pictures_encoded": cache.encoded, "pictures_from_cache": cache.reused}


def print_unreadable(outcome: Outcome) -> int:
    """Name the pictures that could not be read; exit status 1 where there are any, else 0."""
    for reason in outcome.unreadable.values():
        print(f"Unreadable: {reason}")
    return 1 if outcome.unreadable else 0
