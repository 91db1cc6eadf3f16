"""Draw faults, try each on the tests that run its line, and report; what was tried is not tried again."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .covering import Lines, Map
from .mutants import Mutant, draw, read
from .report import NOTICED, read_listed, report
from .trial import HYPOTHESIS, Tree, Trial, in_a_fork, load_libraries, run_tests

CHECKOUT = Path(__file__).resolve().parents[2]
PATHS = [
    "textregion",
    "eval/shared",
    "eval/referring",
    "eval/reason_seg/task.py",
    "eval/reason_seg/files.py",
    "eval/semantic/metric.py",
    "eval/semantic/run.py",
    "eval/semantic/model.py",
]
MOST_SECONDS = 3600.0
"""Of a processor, for measuring."""


def main() -> int:
    """Try faults; status 1 where one is neither noticed nor listed."""
    args = _parser().parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    tree = Tree(CHECKOUT, args.folder.resolve() / "tree")
    listed = read_listed(Path(__file__).with_name("equivalent.yaml"))
    records = args.folder / "tried.jsonl"
    tree.refresh()
    mutants = draw(read(tree.folder, args.paths), args.count, args.seed)
    if not args.report:
        load_libraries(CHECKOUT)
        map_ = _map(tree, args.folder / "map.json")
        _try_all(mutants, tree, map_, records, args)
    known = _known(records)
    print(report([known[mutant.key] for mutant in mutants if mutant.key in known], listed))
    return int(any(known[m.key]["verdict"] not in NOTICED and m.key not in listed for m in mutants if m.key in known))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="faults to draw (default 400)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing (default 0)")
    parser.add_argument("--paths", nargs="+", default=PATHS, help="files and folders to put faults into")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".mutations", help="of the copy and what was tried")
    parser.add_argument("--budget", type=float, default=40.0, help="seconds of tests for a fault (default 40)")
    parser.add_argument("--again", action="store_true", help="try anew what was not noticed")
    parser.add_argument("--report", action="store_true", help="only report what was tried")
    return parser


def _map(tree: Tree, path: Path) -> Map:
    """The map; test files that have changed since are measured anew."""
    known = Map.load(path) if path.is_file() else Map()
    digests = {
        file.relative_to(tree.folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted((tree.folder / "tests").rglob("test_*.py"))
        if "endurance" not in file.parts
    }
    files, fresh = known.outdated(digests), path.with_suffix(".new")
    if not files:
        return known

    def run() -> dict[str, Any]:
        from .measure import Recorder

        recorder = Recorder(tree.folder, ["textregion", "eval", "utils", "miniatures"])
        options = ["-q", "-p", "no:cacheprovider", "-p", HYPOTHESIS, f"--rootdir={tree.folder}"]
        pytest.main([*options, *files], plugins=[recorder])
        recorder.result().save(fresh)
        return {}

    print(f"Measuring which lines the tests of {len(files)} files run ...", flush=True)
    if in_a_fork(tree, run, MOST_SECONDS) is None:
        sys.exit(f"The tests could not be measured: see {tree.folder.parent / 'output.txt'}.")
    merged = known.updated(Map.load(fresh), digests)
    merged.save(path)
    return merged


def _known(records: Path) -> dict[str, dict[str, Any]]:
    """The last verdict on every fault that was tried."""
    if not records.is_file():
        return {}
    entries = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    return {entry["key"]: entry for entry in entries}


def _try_all(mutants: list[Mutant], tree: Tree, map_: Map, records: Path, args: argparse.Namespace) -> None:
    known = _known(records)
    for number, mutant in enumerate(mutants):
        verdict = known.get(mutant.key, {}).get("verdict")
        if verdict in NOTICED or (verdict is not None and not args.again):
            continue
        start = time.monotonic()
        trial, tests = _try(mutant, tree, map_, args.budget)
        entry = {"key": mutant.key, "path": mutant.path, "operator": mutant.operator, "line": mutant.lines.start}
        entry |= {"verdict": trial.verdict, "test": trial.test, "tests": tests}
        entry["seconds"] = round(time.monotonic() - start, 1)
        with open(records, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        print(f"{number + 1}/{len(mutants)} {trial.verdict} ({entry['seconds']} s): {mutant.key}", flush=True)


def _try(mutant: Mutant, tree: Tree, map_: Map, budget: float) -> tuple[Trial, int]:
    """The verdict, and how many tests were chosen."""
    source = (tree.folder / mutant.path).read_bytes()
    changed = mutant.apply(source)
    try:
        compile(changed, mutant.path, "exec")
    except SyntaxError:
        return Trial("killed", "(does not compile)"), 0
    tests = list(_within(map_, map_.tests_of(mutant, Lines(mutant.path, source.decode())), budget))
    if not tests:
        return Trial("not run"), 0
    expected = sum(map_.tests[test].seconds for test in tests)
    with tree.changed(mutant.path, changed):
        return run_tests(tree, tests, 20 + 3 * expected), len(tests)


def _within(map_: Map, tests: list[str], budget: float) -> Iterator[str]:
    """The tests that fit the budget, the first in any case."""
    spent = 0.0
    for number, test in enumerate(tests):
        spent += map_.tests[test].seconds
        if number and spent > budget:
            return
        yield test


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
