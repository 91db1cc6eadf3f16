"""Who may ask: the right host, no other page of the browser, and the token where there is one."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import parse_qs, quote, unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "textregion_token"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]+)?")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_ASK_FOR_TOKEN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>TextRegion</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/style.css">
<main class="token"><h1>TextRegion</h1><form><label for="token">{message}</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Open</button></form></main></html>"""


class Guard:
    """An ASGI application around another, which hears only what it should, and whose answers carry safe headers.

    Args:
        app: the application.
        host: address that the server listens on; a loopback one may only be called by the names of the loopback.
        token: what must be shown; None: nothing.
        names: host names, besides the machine's own, that a server on another address may be called by.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None = None, names: Iterable[str] = ()) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._any_address = not is_loopback(host)
        self._names = {"localhost", "127.0.0.1", "::1", host.lower(), *map(str.lower, names)}
        if self._any_address:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":  # there are no web sockets
            answer = self._refusal(scope) or self._app

            async def send_safely(message: Message) -> None:
                if message["type"] == "http.response.start":
                    headers = MutableHeaders(scope=message)
                    for name, value in _HEADERS.items():
                        headers.setdefault(name, value)
                await send(message)

            await answer(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(host := hosts[0]):
            return _refused(403, "This server is not called so: open it by the address that it printed.")
        if _is_foreign(scope, headers, host):
            return _refused(403, "Only the server's own page may ask.")
        return None if self._token is None else self._token_refusal(scope, headers, self._token)

    def _is_own(self, host: str) -> bool:
        name = host_name(host)
        return name in self._names or (self._any_address and _is_address(name))

    def _token_refusal(self, scope: Scope, headers: Headers, token: bytes) -> Response | None:
        """An answer to whoever does not show the token; one that shows it in the address gets a cookie for it."""
        cookie = unquote(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""))
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        shown = [cookie, *([bearer.strip()] if scheme.lower() == "bearer" else [])]
        in_address = parse_qs(scope["query_string"].decode("latin-1")).get("token", []) if scope["path"] == "/" else []
        if any(_equal(value, token) for value in in_address):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(
                COOKIE,
                quote(token, safe=""),
                httponly=True,
                samesite="lax",
                secure=scope["scheme"] == "https",
            )
            return answer
        if any(_equal(value, token) for value in shown) or scope["path"] == "/style.css":
            return None
        if scope["path"] == "/" and scope["method"] == "GET":
            message = "That is not the token; the right one:" if in_address else "This page asks for its token:"
            return HTMLResponse(_ASK_FOR_TOKEN.format(message=message), 401)
        return _refused(401, "The token is missing or wrong: open the server's page and enter it.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_name(host: str) -> str:
    """A Host header without its port, brackets and final dot; empty where it is none."""
    found = _HOST.fullmatch(host.lower())
    return found[1].strip("[]").removesuffix(".") if found else ""


def _is_foreign(scope: Scope, headers: Headers, host: str) -> bool:
    """Whether another page of the browser asks, other than by a link to this page."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if origin is not None and origin.lower().partition("://")[2] != host.lower():
        return True
    follows_link = scope["method"] == "GET" and scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
    return site in ("cross-site", "same-site") and not follows_link


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _equal(shown: str, token: bytes) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), token)


def _refused(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)
