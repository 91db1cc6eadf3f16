"""Tests on a copy of the tree, each run in a process forked from one that has loaded the libraries already."""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

MEMORY = 8 * 2**30
HYPOTHESIS = "_hypothesis_pytestplugin"
Verdict = Literal["killed", "survived", "out of time", "not run"]


@dataclass(frozen=True)
class Trial:
    """What became of one fault."""

    verdict: Verdict
    test: str | None = None
    """The first test that failed."""


class FirstFailure:
    """A pytest plugin that remembers which test failed first."""

    def __init__(self) -> None:
        self.test: str | None = None

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and self.test is None:
            self.test = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and self.test is None:
            self.test = f"{report.nodeid} (at import)"


class Tree:
    """A copy of the files that Git knows or would add.

    Args:
        checkout: what is copied.
        folder: where to; made where missing.
    """

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.checkout, self.folder = checkout, folder
        self._seconds = itertools.count(1)

    def refresh(self) -> None:
        """Bring the copy to the state of the checkout."""
        command = ["git", "-C", str(self.checkout), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        wanted = {name for name in names if name and (self.checkout / name).is_file()}
        for name in wanted:
            target = self.folder / name
            content = (self.checkout / name).read_bytes()
            if not target.is_file() or target.read_bytes() != content:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        for path in self.folder.rglob("*.py"):
            if path.relative_to(self.folder).as_posix() not in wanted:
                path.unlink()

    @contextlib.contextmanager
    def changed(self, path: str, content: bytes) -> Iterator[None]:
        """The copy with another content of one file, for as long as the block lasts."""
        target = self.folder / path
        before, times = target.read_bytes(), target.stat()
        try:
            target.write_bytes(content)
            # What was compiled is known by the second and the size: no such second has been.
            os.utime(target, (0, next(self._seconds)))
            yield
        finally:
            target.write_bytes(before)
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def load_libraries(checkout: Path) -> None:
    """Import what the project imports from elsewhere, so that a forked process need not."""
    own = {path.stem for path in checkout.glob("*.py")} | {path.name for path in checkout.iterdir() if path.is_dir()}
    names: dict[str, None] = {}
    for folder in ("textregion", "eval", "miniatures", "utils", "tests"):
        for path in sorted((checkout / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names[node.module] = None
                elif isinstance(node, ast.Import):
                    names.update(dict.fromkeys(alias.name for alias in node.names))
    for name in names:
        if name.split(".")[0] not in own:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    importlib.import_module(HYPOTHESIS)
    gc.freeze()


def run_tests(tree: Tree, tests: Sequence[str], seconds: float) -> Trial:
    """Run tests until one fails.

    Args:
        tree: where.
        tests: their ids, in the order to run.
        seconds: of a processor; thrice as many may pass besides.
    """
    first = FirstFailure()

    def run() -> dict[str, Any]:
        options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", HYPOTHESIS, "--hypothesis-seed=0"]
        options.append(f"--rootdir={tree.folder}")
        status = int(pytest.main([*options, *tests], plugins=[first]))
        return {"status": status, "test": first.test}

    said = in_a_fork(tree, run, seconds)
    if said is None:
        return Trial("out of time")
    if said["status"] != 0 and said["test"] is None:
        raise RuntimeError(f"pytest ended with status {said['status']}: see {tree.folder.parent / 'output.txt'}")
    return Trial("survived") if said["status"] == 0 else Trial("killed", said["test"])


def in_a_fork(tree: Tree, function: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any] | None:
    """What a function returns in a process of its own in the copy; None where it took too long or died."""
    answer = tree.folder.parent / "answer.json"
    answer.unlink(missing_ok=True)
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        _child(tree, function, answer, seconds)
    end = time.monotonic() + 4 * seconds + 60
    while os.waitpid(process, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None
        time.sleep(0.02)
    if not answer.is_file():
        return None
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def _child(tree: Tree, function: Callable[[], dict[str, Any]], answer: Path, seconds: float) -> None:
    status = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        log = os.open(tree.folder.parent / "output.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(tree.folder)
        # The plugins that libraries bring along take longer to load than most tests to run.
        os.environ.update(PYTHONPATH=str(tree.folder), OMP_NUM_THREADS="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
        here = str(tree.checkout) + os.sep
        for name, module in [pair for pair in sys.modules.items() if pair[0] != "__main__"]:
            if str(getattr(module, "__file__", "") or "").startswith(here) and ".venv" not in str(module.__file__):
                del sys.modules[name]
        sys.path[:] = [str(tree.folder), *(path for path in sys.path if path not in ("", str(tree.checkout)))]
        sys.modules["torch"].set_num_threads(1)
        answer.write_text(json.dumps(function()), encoding="utf-8")
        status = 0
    finally:
        os._exit(status)
