"""Interpreted queries: asked of a small local server, written once, refused in one sentence when it fails."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from eval.reason_seg import interpret_queries
from eval.reason_seg.files import read_questions
from eval.reason_seg.interpret_queries import ChatClient, interpret
from miniatures.scenes.__main__ import main as render
from textregion import UserError


class Server(ThreadingHTTPServer):
    """Answers with what is in ``replies`` (status, body), then always with the last."""

    replies: list[tuple[int, Any]]
    requests: list[dict[str, Any]]
    keys: list[str | None]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/chat/completions"
        self.server.requests.append(json.loads(body))
        self.server.keys.append(self.headers["Authorization"])
        replies = self.server.replies
        status, reply = replies.pop(0) if len(replies) > 1 else replies[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(reply if isinstance(reply, bytes) else json.dumps(reply).encode())

    def log_message(self, *arguments: object) -> None:
        """Nothing on stderr."""


def said(text: str) -> tuple[int, Any]:
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server(("127.0.0.1", 0), Handler)
    server.replies, server.requests, server.keys = [said(" The red\n kite. ")], [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reason_seg")
    render(["--format", "reason_seg", "--count", "3", "--size", "48", "64", str(folder)])
    return folder


def test_the_command_asks_what_is_missing_and_the_evaluation_reads_it(
    rendered: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["interpret", "--dataset_dir", rendered, "--out", tmp_path / "new", "--endpoint", server.endpoint]
    command += ["--model", "llava", "--api-key-env", "TEST_CHAT_KEY"]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    with pytest.raises(UserError, match="TEST_CHAT_KEY"):
        interpret_queries.main()
    monkeypatch.setenv("TEST_CHAT_KEY", "abc")
    (tmp_path / "new").mkdir()
    done = tmp_path / "new" / "scene_000001.json"
    done.write_text('{"answers": ["kept"], "text": ["q"], "is_sentence": true}')
    assert interpret_queries.main() == 0
    assert "2 questions interpreted, 1 were there already" in capsys.readouterr().out
    assert json.loads(done.read_text())["answers"] == ["kept"]

    published = json.loads((rendered / "reason_seg" / "test" / "scene_000000.json").read_text())
    written = json.loads((tmp_path / "new" / "scene_000000.json").read_text())
    assert written == {
        "answers": ["The red kite"],
        "text": published["text"][:1],
        "is_sentence": published["is_sentence"],
    }
    request = server.requests[0]
    text, image = request["messages"][0]["content"]
    assert request["model"] == "llava" and published["text"][0] in text["text"]
    sent = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
    assert sent == (rendered / "reason_seg" / "test" / "scene_000000.jpg").read_bytes()
    assert server.keys == ["Bearer abc"] * 2

    (picture,) = read_questions(rendered / "reason_seg" / "test", tmp_path / "new", limit=1).pictures
    (query,) = picture.examples.values()
    assert query.words[1].startswith("the red kite") and query.words[0] == f"background, anything but {query.words[1]}"


def test_a_busy_server_is_asked_again(rendered: Path, tmp_path: Path, server: Server) -> None:
    server.replies = [(503, {}), (429, {}), said("kite")]
    client = ChatClient(server.endpoint, "llava", pause=0)
    assert interpret(rendered / "reason_seg" / "test", tmp_path, client, limit=1) == (1, 0)
    assert len(server.requests) == 3 and server.keys == [None] * 3
    assert interpret(rendered / "reason_seg" / "test", tmp_path, client, limit=1) == (0, 1)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((404, {"error": "no such model"}), "status 404.*no such model"),
        ((500, {}), "status 500"),
        ((200, b"<html>"), "is not JSON"),
        ((200, {"choices": []}), "OpenAI's chat form"),
        (said("  "), "empty answer"),
    ],
)
def test_a_failing_server_is_one_sentence(
    rendered: Path, tmp_path: Path, server: Server, reply: tuple[int, Any], reason: str
) -> None:
    server.replies = [reply]
    with pytest.raises(UserError, match=reason):
        interpret(rendered / "reason_seg" / "test", tmp_path, ChatClient(server.endpoint, "llava", pause=0))
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_none_and_a_server_that_is_gone(rendered: Path, tmp_path: Path, server: Server) -> None:
    for endpoint in ("localhost:8000", "file:///etc/hosts", ""):
        with pytest.raises(UserError, match="--endpoint must be an address"):
            ChatClient(endpoint, "llava")
    server.server_close()
    with pytest.raises(UserError, match=r"did not answer .*check --endpoint"):
        interpret(rendered / "reason_seg" / "test", tmp_path, ChatClient(server.endpoint, "llava", pause=0))
