"""Whatever is done to the files, the index then holds what a dictionary of them would."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.index.conftest import StubSegmenter
from tests.index.test_kills import held, tokens, write
from textregion import RegionIndex, UserError
from textregion.index import compacting, growing

NAMES = st.sampled_from(["a.png", "b.png", "c.png", "in/a.png", "in/b.png", "in/deep/c.png"])
CONTENTS = st.sampled_from([b"one", b"two", b"three", b"bad", b"bad too"])


class AnySequence(RuleBasedStateMachine):
    """Files, the index, and a dictionary of what it must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.photos, self.folder = self.root / "photos", self.root / "index"
        self.files: dict[str, bytes] = {}
        self.holds: dict[str, bytes] = {}
        self.clock = 0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(growing, "BATCH", 2)
        for module in (growing, compacting):
            self.patch.setattr(module, "MOST_PICTURES", 3)

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.root)

    @initialize()
    def create(self) -> None:
        for folder in (".", "in", "in/deep"):  # none is ever empty, as one that is not mounted would be
            (self.photos / folder).mkdir(parents=True, exist_ok=True)
            (self.photos / folder / "notes.txt").touch()
        self.index = RegionIndex.create(self.folder, StubSegmenter())
        self.write("a.png", b"one")

    @rule(name=NAMES, content=CONTENTS)
    def write(self, name: str, content: bytes) -> None:
        self.clock += 1
        write(self.photos / name, content, self.clock)
        self.files[name] = content

    @rule(name=NAMES, to=NAMES)
    def move(self, name: str, to: str) -> None:
        if name in self.files and name != to:
            (self.photos / name).rename(self.photos / to)
            self.files[to] = self.files.pop(name)

    @rule(name=NAMES, to=NAMES)
    def copy(self, name: str, to: str) -> None:
        if name in self.files and name != to:
            self.write(to, self.files[name])

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if name in self.files:
            (self.photos / name).unlink()
            del self.files[name]

    @rule(within=st.sampled_from(["", "in", "in/deep"]))
    def add(self, within: str) -> None:
        below = f"{within}/" if within else ""
        if not any(name.startswith(below) for name in [*self.files, *self.holds]):
            with pytest.raises(UserError, match="There are no pictures"):
                self.index.add(self.photos / within)
            return
        self.index.add(self.photos / within)
        self.holds = {name: content for name, content in self.holds.items() if not name.startswith(below)}
        self.holds |= {
            name: content
            for name, content in self.files.items()
            if name.startswith(below) and not content.startswith(b"bad")
        }
        self.check()

    @rule()
    def compact(self) -> None:
        self.index.compact()
        self.check()

    @rule()
    def open_anew(self) -> None:
        self.index = RegionIndex.open(self.folder, StubSegmenter())

    @rule()
    def lose_the_cache(self) -> None:
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def check(self) -> None:
        expected = {str(self.photos / name): tokens(content) for name, content in self.holds.items()}
        assert held(self.folder) == expected
        assert self.index.pictures == sorted(expected)
        contents = set(self.holds.values())
        assert len(self.index.search("dog", k=99)) == len(contents)


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
