"""Listening: the socket, and uvicorn behind it."""

from __future__ import annotations

import socket

import uvicorn
from starlette.types import ASGIApp

from ..errors import UserError

MOST_CONNECTIONS = 200
SECONDS_TO_FINISH = 2
"""Answers that are on their way when the server ends get this long."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything else is loaded.

    Args:
        host: an address of this machine, or a name of one.
        port: 0 takes a free one.

    Raises:
        UserError: no address of this machine, or a port that is taken or not allowed.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"Port {port} is none: choose a --port from 1 to 65535.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Cannot listen on {host!r}, port {port} ({reason}): choose another --port or --host."
        ) from None
    # Connections inherit it. Else an answer's body waits 40 ms for the acknowledgement of its head: asyncio switches
    # that off by itself, but not for sockets that were made like this one.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def server(app: ASGIApp) -> uvicorn.Server:
    """What answers; ``server(app).run(sockets=[listen(...)])`` does until Ctrl-C."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    return uvicorn.Server(config)


def address(host: str, listening: socket.socket) -> str:
    """The address to open in a browser of this machine."""
    port = listening.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"
