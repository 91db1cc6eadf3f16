"""``textregion serve``: what it prints, what it refuses in one sentence, and how it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

import textregion
from textregion import TextRegionSegmenter, cli
from textregion.cli import command
from textregion.cli import serve as serve_command
from textregion.web import listen

Serve = Callable[..., int]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, quick_segmenter: TextRegionSegmenter) -> dict[str, Any]:
    """What the application is made of; the server is none."""
    seen: dict[str, Any] = {}

    class Stopped:
        def run(self, sockets: list[Any]) -> None:
            seen["port"] = sockets[0].getsockname()[1]

    def create(segmenter: Any, pictures: Any, **settings: Any) -> None:
        seen.update(settings, pictures=pictures, segmenter=segmenter)

    monkeypatch.setattr(serve_command, "load_segmenter", lambda *args, **settings: quick_segmenter)
    monkeypatch.setattr("textregion.web.create_app", create)
    monkeypatch.setattr("textregion.web.server", lambda app: Stopped())
    return seen


@pytest.fixture
def serve(made: dict[str, Any]) -> Serve:
    """Runs the command in this process."""

    def run(*args: object) -> int:
        with pytest.raises(SystemExit) as end:
            cli.run(lambda: command.main(["serve", *map(str, args)]))
        assert isinstance(end.value.code, int)
        return end.value.code

    return run


def test_it_listens_on_the_loopback_and_says_where(
    serve: Serve, made: dict[str, Any], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve(photos, "--port", 0, "--words", "red dog; grass，sky,, ") == 0
    assert capsys.readouterr().out == f"Open http://127.0.0.1:{made['port']}/ in a browser; Ctrl-C ends.\n"
    assert [picture.name for picture in made["pictures"]] == ["a.png", "deep/b ü.png", "deep/c.png"]
    assert (made["host"], made["token"], made["words"]) == ("127.0.0.1", None, ["red dog", "grass", "sky"])
    assert serve("--port", 0) == 0 and "mushroom" in made["words"]  # of the miniatures' world
    assert serve("--port", 0, "--clip_pretrained", "openai") == 0 and made["words"] == []


def test_an_index_is_served_alone(
    serve: Serve, made: dict[str, Any], indexed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve(indexed / "index", "--port", 0) == 0
    assert len(made["index"]) == 9 and made["pictures"] == []
    assert serve(indexed / "photos", "--port", 0) == 0
    assert made["index"] is None and len(made["pictures"]) == 9
    assert serve(indexed / "index", indexed / "photos", "--port", 0) == 2
    assert "is an index: name it alone" in capsys.readouterr().err


def test_another_address_warns_in_one_sentence_and_needs_a_token(
    serve: Serve, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve("--host", "0.0.0.0", "--port", 0) == 2
    assert (
        capsys.readouterr().err == "error: --host 0.0.0.0 lets other machines in: set a --token that they must show.\n"
    )
    assert not made
    assert serve("--host", "0.0.0.0", "--port", 0, "--token", "a b&c", "--allow_host", "box.example.org") == 0
    printed = capsys.readouterr()
    assert (
        printed.err.startswith("warning: whoever reaches 0.0.0.0 and knows the token") and printed.err.count("\n") == 1
    )
    assert f"http://127.0.0.1:{made['port']}/?token=a%20b%26c " in printed.out
    assert (made["token"], made["names"]) == ("a b&c", ["box.example.org"])


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["nowhere.png"], "There is no file or folder 'nowhere.png'"),
        (["--port", "70000"], "choose a --port"),
        (["--port", "x"], "invalid int value"),
        (["--host", "203.0.113.7", "--token", "secret"], "Cannot listen on '203.0.113.7'"),
        (["--token", " "], "--token must be text"),
        (["--prot", "1"], "did you mean '--port'"),
    ],
)
def test_mistakes_are_one_sentence_before_a_model_is_loaded(
    serve: Serve, made: dict[str, Any], args: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve(*args) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert not made


def test_a_taken_port_is_named(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert serve("--port", port) == 2
    assert f"Cannot listen on '127.0.0.1', port {port}" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(textregion, "web")
    for name in [name for name in sys.modules if name.startswith("textregion.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert serve() == 2
    assert capsys.readouterr().err == "error: The page needs fastapi: install it with pip install 'textregion[web]'.\n"


@pytest.mark.usefixtures("ctrl_c_heard")
def test_it_answers_until_it_is_interrupted() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "textregion", "serve", "assets/scene_portrait.jpg", "--port", "0"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        found = re.search(r"http://\S+", lines[1])
        assert lines[0].startswith("Using the bundled miniatures") and found, lines
        with urlopen(f"{found[0]}api/pictures", timeout=20) as answer:
            assert b'"name":"scene_portrait.jpg"' in answer.read()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "\ninterrupted: the page is closed.\n")
