"""``textregion index``, ``search`` and ``status``: what they print, and what they refuse in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.index.conftest import StubSegmenter
from textregion import RegionIndex, cli
from textregion.cli import command
from textregion.cli import index as index_command
from textregion.cli import search as search_command

Command = Callable[..., int]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """With which options the models were loaded; they are stubs."""
    loaded: list[dict[str, Any]] = []

    def load(args: Any, task: str, extra_options: dict[str, Any]) -> StubSegmenter:
        options = {**extra_options, **cli.method_options(args)}
        loaded.append({"name": args.clip_pretrained, "dtype": args.dtype, **options})
        return StubSegmenter(args.clip_pretrained or "stub", **options)

    def load_text(**names: Any) -> Any:
        loaded.append(names)
        return StubSegmenter(names["clip_pretrained"] or "stub").text

    monkeypatch.setattr(index_command, "load_segmenter", load)
    monkeypatch.setattr(search_command, "load_text_bank", load_text)
    return loaded


@pytest.fixture
def textregion(loads: list[dict[str, Any]], capsysbinary: pytest.CaptureFixture[bytes]) -> Command:
    """Runs a command in this process; what it printed is its exit status's attribute."""

    def run(*args: Any) -> int:
        capsysbinary.readouterr()
        sys.argv = ["textregion", *map(os.fspath, args)]
        with pytest.raises(SystemExit) as end:
            command.run_command()
        printed = capsysbinary.readouterr()
        run.out, run.err = (text.decode("utf-8", "surrogateescape") for text in printed)  # type: ignore[attr-defined]
        assert isinstance(end.value.code, int)
        return end.value.code

    return run


def told(run: Command) -> str:
    return str(run.out)  # type: ignore[attr-defined]


def mistake(run: Command, *args: Any) -> str:
    """The one sentence of a command that is refused."""
    assert run(*args) == 2
    message = str(run.err)  # type: ignore[attr-defined]
    assert message.startswith("error: ") and message.count("\n") == 1 and "Traceback" not in message
    return message


def test_indexing_again_needs_no_models(
    textregion: Command,
    photos: Path,
    tmp_path: Path,
    loads: list[dict[str, Any]],
) -> None:
    folder = tmp_path / "ix"
    assert textregion("index", photos, "--index", folder, "--clip_pretrained", "weights", "--min_size", "7") == 0
    assert "6 added, 0 unchanged: 6 pictures with" in told(textregion)
    assert loads == [{"name": "weights", "dtype": None, "min_size": 7}]
    (photos / "a.png").unlink()
    assert textregion("index", "--index", folder, photos) == 0
    assert "1 deleted, 5 unchanged: 5 pictures" in told(textregion) and len(loads) == 1
    (photos / "new.png").write_bytes(b"new")
    assert textregion("index", photos, "--index", folder) == 0  # the models and options of the index
    assert (loads[1]["name"], loads[1]["dtype"], loads[1]["min_size"]) == ("weights", "fp32", 7)
    assert "1 added" in told(textregion)


def test_other_models_and_options_are_refused(textregion: Command, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ix"
    textregion("index", photos, "--index", folder)
    message = mistake(textregion, "index", photos, "--index", folder, "--scale", "64", "32")
    assert message.endswith("was made otherwise: --scale is 2016 672 in the index and 64 32 now.\n")
    message = mistake(textregion, "index", photos, "--index", folder, "--clip_pretrained", "other")
    assert "the encoder is 'stub' in the index and 'other' now" in message
    message = mistake(textregion, "index", photos, "--index", folder, "--dtype", "bf16")
    assert "--dtype is fp32 in the index and bf16 now" in message
    message = mistake(textregion, "index", photos, "--index", folder, "--sam2_dtype", "bf16")
    assert message.endswith("was made otherwise: --sam2_dtype is fp32 in the index and bf16 now.\n")
    message = mistake(textregion, "index", photos, "--index", folder, "--published")
    assert message.endswith("was made otherwise: --antialias is True in the index and False now.\n")
    same = ("--published", "--antialias", "--scale", "2016", "672", "--dtype", "fp32", "--sam2_dtype", "fp32")
    assert textregion("index", photos, "--index", folder, *same) == 0


def test_what_is_kept_and_what_failed(textregion: Command, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ix"
    (photos / "b.png").write_bytes(b"bad")
    assert textregion("index", photos, "--index", folder) == 2
    assert "5 added, 1 failed" in told(textregion)
    assert textregion.err.startswith("error: Picture ")  # type: ignore[attr-defined]
    assert textregion("index", photos, "--index", folder, "--exclude", "sea") == 0
    assert "3 pictures that are passed over now are kept" in told(textregion)
    assert "1 bad pictures have not changed" in told(textregion)
    photos.rename(tmp_path / "away")
    assert textregion("index", photos, "--index", folder) == 0
    assert f"Folder {str(photos)!r} is not there or empty: its 5 pictures are kept" in told(textregion)
    assert textregion("index", "--forget", photos / "sea", "--index", folder) == 0
    assert told(textregion) == "Took out 3 pictures.\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["index", "--index", "ix"], "There is nothing to index"),
        (["index", "nowhere", "--index", "new"], "no file or folder 'nowhere'"),
        (["index", "void", "--index", "ix"], "There are no pictures in 'void'"),
        (["index", "photos"], "--index"),
        (["index", "photos", "--index", "full"], "holds other files"),
        (["index", "photos", "--index", "ix", "--excluded", "x"], "did you mean '--exclude'"),
        (["search", "nowhere", "dog"], "There is no index in 'nowhere'"),
        (["search", "ix"], "nothing to look for"),
        (["search", "ix", " "], "not blank"),
        (["search", "ix", "dog", "-k", "0"], "at least 1"),
        (["search", "ix", "dog", "-k", "x"], "invalid int value"),
        (["search", "ix", "--like", "photos/a.png"], "give both --like"),
        (["search", "ix", "dog", "--at", "1,1"], "give both --like"),
        (["search", "ix", "--like", "photos/a.png", "--at", "here"], "expected X,Y"),
        (["search", "ix", "--like", "photos/a.png", "--at", "nan,1"], "outside of"),
        (["search", "ix", "--like", "void/a.png", "--at", "1,1"], "is not in the index"),
        (["search", "ix", "--like", "photos/a.png", "--at", "99,1"], "outside of picture"),
        (["search", "ix", "dog", "--in", "void"], "holds no pictures of 'void'"),
        (["search", "ix", "dog", "--sheet", "hits.doc"], "must end in one of"),
        (["search", "ix", "dog", "--json", "--paths"], "not allowed with"),
        (["search", "ix", "dog", "--jsom"], "did you mean '--json'"),
        (["status", "photos"], "There is no index in 'photos'"),
        ([], "COMMAND"),
        (["find"], "invalid choice"),
    ],
)
def test_mistakes(
    textregion: Command,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "void").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").touch()
    textregion("index", "photos", "--index", "ix")
    assert message in mistake(textregion, *args)
    assert not (tmp_path / "new").exists()


def test_a_damaged_part(textregion: Command, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ix"
    textregion("index", photos, "--index", folder)
    (part,) = (folder / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-7])
    for args in (["search", folder, "dog"], ["status", folder], ["index", photos, "--index", folder]):
        assert part.name in mistake(textregion, *args)
    assert textregion("search", folder, "dog", "--repair", "--paths") == 0 and told(textregion) == ""
    assert textregion("index", photos, "--index", folder, "--repair") == 0 and "6 added" in told(textregion)


def test_the_forms_of_answers(textregion: Command, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ix"
    odd = os.fsdecode(b"odd\xff\nname.png")
    (photos / odd).write_bytes(b"odd")
    textregion("index", photos, "--index", folder)
    hits = RegionIndex.open(folder, StubSegmenter()).search(["red", "truck"], minus="toy", k=7)
    asked = ("search", folder, "--minus", "toy", "red", "truck")
    assert textregion(*asked, "--json") == 0
    document = json.loads(told(textregion))
    assert document["question"] == {"words": ["red", "truck"], "minus": ["toy"]}
    assert [hit["picture"] for hit in document["hits"]] == [hit.picture for hit in hits]
    assert document["hits"][0] == hits[0].as_dict() and document["found"] == hits.found
    assert textregion(*asked, "-k", "3") == 0
    lines = told(textregion).splitlines()
    assert len(lines) == 4 and lines[-1] == hits.verdict
    shown = [hit.picture.replace("\n", "\\x0a").replace("\udcff", "\\udcff") for hit in hits]
    assert [line for line, name in zip(lines, shown) if f"  {name}  " not in line] == lines[3:]
    assert textregion(*asked, "--per-region", "-k", "40", "--paths") == 0
    assert told(textregion).count("/f.JPG\n") == 1
    assert (
        textregion("search", folder, "--like", photos / "a.png", "--at", at(folder, photos / "a.png"), "--paths") == 0
    )
    assert str(photos / "a.png") not in told(textregion)


def at(folder: Path, picture: Path) -> str:
    """A pixel of a picture's first region."""
    y, x = np.argwhere(RegionIndex.open(folder).regions(picture)[0].mask())[0]
    return f"{x},{y}"


def test_a_sheet_shows_every_hit(textregion: Command, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ix"
    textregion("index", photos, "--index", folder)
    for number, picture in enumerate(sorted(photos.rglob("*.*"))[:4]):  # now they are pictures; the others are not
        Image.new("RGB", (60, 40), (20, 60 * number, 90)).save(picture, format="PNG")
    assert textregion("search", folder, "dog", "--sheet", tmp_path / "hits.png", "--paths") == 0
    sheet = np.asarray(Image.open(tmp_path / "hits.png"))
    assert sheet.shape == (240 + 34 + 24, 6 * 252 + 12, 3)
    assert len(told(textregion).splitlines()) == 6
    outlined = (np.abs(sheet.astype(int) - (255, 64, 32)).sum(2) < 12).any(0)
    fields = [outlined[12 + 252 * field : 252 + 252 * field].any() for field in range(6)]
    assert sum(fields) == 4


def test_status(textregion: Command, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ix"
    textregion("index", photos, "--index", folder)
    (photos / "a.png").unlink()
    textregion("index", photos, "--index", folder)
    assert textregion("status", folder) == 0
    assert "5 pictures with" in told(textregion) and "1 pictures are gone" in told(textregion)
    assert textregion("status", folder, "--compact", "--check") == 0
    assert "1 parts are 1 now, 1 tombstones" in told(textregion)
    assert "recall of the 10 best for words: 1.000" in told(textregion)
    assert "recall of the 10 best for regions: 1.000" in told(textregion)


def test_the_command_of_the_installed_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "textregion", "search", "nowhere", "dog"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: There is no index in 'nowhere': make one with 'textregion index'.\n"
