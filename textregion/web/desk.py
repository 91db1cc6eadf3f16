"""What the page is answered about pictures."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from ..segmenter import TextRegionSegmenter
from ..visualize import word_colours
from . import takeaways
from .encodings import Encoded, Encodings
from .pictures import DroppedPicture, Pictures, ServedPicture
from .questions import Words, body, check_words, question
from .views import THUMBNAIL_SIDE, Views

MOST_PER_PAGE = 200
"""Pictures that are listed at a time."""


@dataclass(frozen=True)
class Limits:
    """What the page may send."""

    upload_bytes: int = 64 * 2**20
    upload_pixels: int = 64 * 10**6
    waiting: int = 8
    """Pictures in the queue."""


class Desk:
    """Answers what the page asks about pictures; the arguments are those of :func:`create_app`."""

    def __init__(
        self,
        segmenter: TextRegionSegmenter,
        pictures: Pictures,
        encodings: Encodings,
        limits: Limits,
        words: Sequence[str],
    ) -> None:
        self.segmenter, self.pictures, self.encodings = segmenter, pictures, encodings
        self.limits = limits
        self.facts: dict[str, Any] = {
            "encoder": segmenter.encoder.name,
            "pictures": len(pictures.named),
            "upload_bytes": limits.upload_bytes,
            "scale": segmenter.options.region_logit_scale,
            "words": list(words),
            "index": None,
        }
        """What the page has to know at its start."""
        self.views = Views()
        self.text_turn = threading.Lock()
        """Held while words are encoded: that takes all cores, two at once would only be slower."""

    def serve(self, app: FastAPI) -> None:
        """Give every question its address."""
        one = "/api/pictures/{id}"
        app.get("/api/info")(self.info)
        app.get("/api/pictures")(self.listing)
        app.post("/api/pictures")(self.drop)
        app.get(one)(self.progress)
        app.post(f"{one}/encoding")(self.encode)
        app.delete(f"{one}/encoding")(self.cancel)
        app.get(f"{one}/view")(self.view)
        app.get(f"{one}/thumbnail")(self.thumbnail)
        app.get(f"{one}/regions")(self.regions)
        app.get(f"{one}/map")(self.map)
        app.post(f"{one}/scores")(self.scores)
        app.post(f"{one}/coco")(self.coco)
        app.post(f"{one}/labels")(self.labels)
        app.get(f"{one}/regions/{{region}}/cutout")(self.cut_out)

    def info(self) -> dict[str, Any]:
        """What the page has to know at its start."""
        return self.facts

    def listing(self, start: int = 0, count: int = 60) -> dict[str, Any]:
        """Some of the pictures to choose from, and how many there are."""
        start = max(0, start)
        chosen = self.pictures.named[start : start + min(max(1, count), MOST_PER_PAGE)]
        return {
            "count": len(self.pictures.named),
            "pictures": [{"id": picture.id, "name": picture.name} for picture in chosen],
        }

    async def drop(self, request: Request) -> dict[str, Any]:
        """Take a picture: its bytes are the body, its name is in ``X-Name``, percent-encoded."""
        content = await body(request, self.limits.upload_bytes, "A picture")
        name = unquote(request.headers.get("x-name", ""))
        picture = DroppedPicture.of(content, name, self.limits.upload_pixels)
        await run_in_threadpool(self.views.jpeg, picture)  # whoever cannot be read is refused here
        self.pictures.drop(picture)
        return self.progress(picture.id)

    def progress(self, id: str) -> dict[str, Any]:
        """A picture's name, and how far its encoding is."""
        picture = self._picture(id)
        return {"id": id, "name": picture.name, **self.encodings.report(id)}

    def encode(self, id: str) -> dict[str, Any]:
        """Have a picture encoded."""
        self.encodings.ask(self._picture(id))
        return self.progress(id)

    def cancel(self, id: str) -> dict[str, Any]:
        """Take a picture out of the queue again."""
        self._picture(id)
        self.encodings.cancel(id)
        return self.progress(id)

    def view(self, id: str) -> Response:
        """The picture to look at."""
        return _image(self.views.jpeg(self._picture(id)), "image/jpeg")

    def thumbnail(self, id: str) -> Response:
        """The picture to choose."""
        return _image(self.views.jpeg(self._picture(id), THUMBNAIL_SIDE), "image/jpeg")

    def regions(self, id: str) -> dict[str, Any]:
        """The tree of :class:`RegionMap`, and the facts of all regions."""
        encoded = self._encoded(id)
        height, width = encoded.map.nodes.shape
        return {
            "size_hw": encoded.regions.size_hw,
            "map_hw": [height, width],
            "parent": encoded.map.parent.tolist(),
            "region": encoded.map.region.tolist(),
            "share": [round(area / (height * width), 6) for area in encoded.map.area.tolist()],
            "predicted_iou": [round(score, 4) for score in encoded.regions.scores.tolist()],
        }

    def map(self, id: str) -> Response:
        """The nodes of :class:`RegionMap` as a PNG file."""
        return _image(self._encoded(id).map.png(), "image/png")

    async def scores(self, id: str, request: Request) -> dict[str, Any]:
        """(R, K) score of every region and word, and the words' colours."""
        words = check_words((await question(request, Words)).words)
        encoded = self._encoded(id)
        scores = await run_in_threadpool(self._scores, encoded, words)
        colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in word_colours(words).tolist()]
        return {"words": words, "scores": scores, "colours": colours}

    def _scores(self, encoded: Encoded, words: list[str]) -> list[list[float]]:
        with self.text_turn:
            scores = self.segmenter.scores(encoded.regions, words)
        return [[round(score, 5) for score in row] for row in scores.tolist()]

    async def coco(self, id: str, request: Request) -> Response:
        """The regions as a COCO file."""
        words = check_words((await question(request, Words)).words)
        regions, name = self._encoded(id).regions, self._picture(id).name
        content = await run_in_threadpool(takeaways.coco_json, self.segmenter, regions, words, name)
        return _attachment(content, "application/json", name, "coco.json")

    async def labels(self, id: str, request: Request) -> Response:
        """The label map as a PNG file."""
        words = check_words((await question(request, Words)).words)
        regions, name = self._encoded(id).regions, self._picture(id).name
        content = await run_in_threadpool(takeaways.labels_png, self.segmenter, regions, words)
        return _attachment(content, "image/png", name, "labels.png")

    def cut_out(self, id: str, region: int) -> Response:
        """A region of the picture, all else transparent."""
        picture, regions = self._picture(id), self._encoded(id).regions
        if not 0 <= region < len(regions):
            raise HTTPException(404, f"The picture has {len(regions)} regions, and no number {region}.")
        content = takeaways.cut_out_png(picture.read(), regions, region)
        return _attachment(content, "image/png", picture.name, f"region_{region}.png")

    def _picture(self, id: str) -> ServedPicture:
        picture = self.pictures.get(id)
        if picture is None:
            raise HTTPException(404, "This picture is not here (any more): choose it or drop it again.")
        return picture

    def _encoded(self, id: str) -> Encoded:
        self._picture(id)
        encoded = self.encodings.get(id)
        if encoded is None:
            raise HTTPException(409, "This picture is not encoded (any more): choose it again.")
        return encoded


def _image(content: bytes, kind: str) -> Response:
    return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=600"})


def _attachment(content: bytes, kind: str, picture: str, suffix: str) -> Response:
    stem = re.sub(r"[^\w.-]+", "_", picture.rsplit("/", 1)[-1].rsplit(".", 1)[0]) or "picture"
    header = f"attachment; filename*=UTF-8''{quote(f'{stem}_{suffix}')}"
    return Response(content, media_type=kind, headers={"Content-Disposition": header})
