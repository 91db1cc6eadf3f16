"""The server's application: which address answers what."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from importlib import resources

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp

from ..errors import UserError
from ..index import RegionIndex
from ..segmenter import TextRegionSegmenter
from ..version import __version__
from .desk import Desk, Limits
from .encodings import Encodings, TooManyWaiting
from .guard import Guard
from .pictures import Pictures, ServedPicture
from .search import SearchDesk, indexed_pictures

STATIC = {"": "index.html", "app.js": "app.js", "style.css": "style.css"}
"""The files of the page, by their addresses; there are no others."""
_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


def create_app(
    segmenter: TextRegionSegmenter,
    pictures: Sequence[ServedPicture] = (),
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    names: Iterable[str] = (),
    limits: Limits | None = None,
    words: Sequence[str] = (),
    index: RegionIndex | None = None,
) -> ASGIApp:
    """The page and all that it asks, as an ASGI application.

    Args:
        segmenter: encodes pictures and words.
        pictures: those to choose from.
        host: the address that it will listen on; a loopback address may only be called by the loopback's names.
        token: what whoever asks has to show; None: nothing.
        names: further host names that the server goes by.
        limits: what the page may send; None: the usual.
        words: those that the page begins with.
        index: what can be searched; its pictures come after the others.
    """
    limits = limits or Limits()
    encodings = Encodings(segmenter, limits.waiting)
    known = Pictures([*pictures, *([] if index is None else indexed_pictures(index))])
    desk = Desk(segmenter, known, encodings, limits, words)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        encodings.close()

    # FastAPI's own pages would load scripts from elsewhere.
    app = FastAPI(
        title="TextRegion", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    _answer_errors(app)
    _serve_page(app)
    desk.serve(app)
    if index is not None:
        SearchDesk(index, known, encodings, desk.text_turn).serve(app)
        desk.facts["index"] = {"pictures": len(index), "regions": index.region_count}
    return Guard(app, host, token, names)


def _answer_errors(app: FastAPI) -> None:
    """Every error is one sentence in JSON."""

    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: AnyHTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(TooManyWaiting)
    async def busy(request: Request, error: TooManyWaiting) -> Response:
        return JSONResponse({"error": str(error)}, 503, {"Retry-After": "10"})

    @app.exception_handler(UserError)
    async def mistaken(request: Request, error: UserError) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "Something went wrong; the server's log says what."}, 500)


def _serve_page(app: FastAPI) -> None:
    folder = resources.files(__package__) / "static"

    def add(address: str, name: str) -> None:
        content, kind = (folder / name).read_bytes(), _KINDS[name.rsplit(".", 1)[1]]

        @app.get(f"/{address}")
        async def page() -> Response:
            return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    for address, name in STATIC.items():
        add(address, name)
