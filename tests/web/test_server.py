"""The socket, and what is said of one that cannot be had."""

from __future__ import annotations

import socket

import pytest

from textregion import UserError
from textregion.web.server import address, listen


def test_a_free_port_is_taken_and_told() -> None:
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert port > 0
        assert address("127.0.0.1", listening) == f"http://127.0.0.1:{port}/"
        assert address("0.0.0.0", listening) == f"http://127.0.0.1:{port}/"
        assert address("::1", listening) == f"http://[::1]:{port}/"
        with pytest.raises(UserError, match=f"port {port}.*choose another"):
            listen("127.0.0.1", port)


def test_answers_are_sent_at_once() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 70000), ("127.0.0.1", -1), ("203.0.113.7", 0), ("a b", 0), ("x" * 80, 0)]
)
def test_what_cannot_be_listened_on_is_one_sentence(host: str, port: int) -> None:
    with pytest.raises(UserError, match=r"choose (another|a --port)"):
        listen(host, port)
