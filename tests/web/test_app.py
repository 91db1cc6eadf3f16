"""What the page's server answers, and what it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.testclient import TestClient

from tests.web.conftest import encoded, first_id, noise, png_of
from textregion import TextRegionSegmenter, UserError
from textregion.web import Limits, create_app, find_pictures
from textregion.web.questions import body
from textregion.web.region_map import region_map

NAME = {"X-Name": "some.png"}


@pytest.fixture(scope="module")
def ready(quick_segmenter: TextRegionSegmenter, photos: Path) -> Iterator[tuple[TestClient, str]]:
    """A client, and a picture that is encoded."""
    with TestClient(create_app(quick_segmenter, find_pictures([photos])), base_url="http://localhost") as client:
        yield client, encoded(client, first_id(client))


def error_of(answer) -> str:  # type: ignore[no-untyped-def]
    assert list(answer.json()) == ["error"], answer.text
    return str(answer.json()["error"])


def test_the_page_and_its_two_files_are_there_and_need_nothing_from_elsewhere(client: TestClient) -> None:
    kinds = {"/": "text/html", "/app.js": "text/javascript", "/style.css": "text/css"}
    for address, kind in kinds.items():
        answer = client.get(address)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert "http://" not in answer.text and "https://" not in answer.text and "@import" not in answer.text
    assert " style=" not in client.get("/").text and "onclick" not in client.get("/").text  # the policy forbids them


def test_pictures_are_listed_a_page_at_a_time_and_hidden_ones_are_not(client: TestClient) -> None:
    assert client.get("/api/info").json()["pictures"] == 3
    assert client.get("/api/info").json()["words"] == ["dog", "grass"]
    listed = client.get("/api/pictures?start=0&count=2").json()
    rest = client.get("/api/pictures?start=2&count=2").json()
    assert [picture["name"] for picture in listed["pictures"] + rest["pictures"]] == [
        "a.png",
        "deep/b ü.png",
        "deep/c.png",
    ]
    assert client.get("/api/pictures?start=-5&count=100000").json()["count"] == 3
    assert client.get("/api/pictures?start=x").status_code == 422


def test_a_picture_is_seen_bounded(client: TestClient) -> None:
    id = first_id(client)
    for what in ("view", "thumbnail"):
        answer = client.get(f"/api/pictures/{id}/{what}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == (64, 48)
    wide = client.post("/api/pictures", content=png_of(noise(1, (40, 5000))), headers=NAME).json()["id"]
    assert Image.open(io.BytesIO(client.get(f"/api/pictures/{wide}/view").content)).size == (2048, 16)
    assert Image.open(io.BytesIO(client.get(f"/api/pictures/{wide}/thumbnail").content)).size == (320, 3)


def test_nothing_is_answered_about_regions_before_they_are_there(client: TestClient) -> None:
    id = first_id(client)
    assert client.get(f"/api/pictures/{id}").json()["state"] == "new"
    for what in ("regions", "map", "regions/0/cutout"):
        answer = client.get(f"/api/pictures/{id}/{what}")
        assert answer.status_code == 409 and "not encoded" in error_of(answer)
    assert client.post(f"/api/pictures/{id}/scores", json={"words": ["dog"]}).status_code == 409


def test_regions_and_their_map(
    ready: tuple[TestClient, str], quick_segmenter: TextRegionSegmenter, photos: Path
) -> None:
    client, id = ready
    expected = region_map(regions := quick_segmenter.encode(photos / "a.png"))
    told = client.get(f"/api/pictures/{id}/regions").json()
    assert told["size_hw"] == told["map_hw"] == [48, 64]
    assert told["parent"] == expected.parent.tolist() and told["region"] == expected.region.tolist()
    assert told["share"] == pytest.approx((expected.area / (48 * 64)).tolist(), abs=1e-6)
    assert len(told["predicted_iou"]) == len(regions) > 2
    image = Image.open(io.BytesIO(client.get(f"/api/pictures/{id}/map").content))
    assert np.array_equal(np.asarray(image), expected.nodes)


def test_scores_are_the_segmenters(
    ready: tuple[TestClient, str], quick_segmenter: TextRegionSegmenter, photos: Path
) -> None:
    client, id = ready
    words = ["dog", "grass", "dög, 🐕 <b>"]
    told = client.post(f"/api/pictures/{id}/scores", json={"words": [*words, "dog"]}).json()
    expected = quick_segmenter.scores(quick_segmenter.encode(photos / "a.png"), words)
    assert told["words"] == words and len(set(told["colours"])) == 3
    assert torch.allclose(torch.tensor(told["scores"]), expected, atol=2e-5)


@pytest.mark.parametrize(
    "question",
    [
        b"", b"{", b"[]", b'{"words": "dog"}', b'{"words": []}', b'{"words": [1]}', b'{"words": [" "]}',
        b'{"other": 1}', b'{"words": ["\\ud800"]}', b"\xff", json.dumps({"words": ["a" * 1001]}).encode(),
        json.dumps({"words": [str(n) for n in range(257)]}).encode(), b"[" * 100000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("what", ["scores", "coco", "labels"])
def test_a_question_that_is_none_is_one_sentence(ready: tuple[TestClient, str], what: str, question: bytes) -> None:
    client, id = ready
    answer = client.post(f"/api/pictures/{id}/{what}", content=question)
    assert answer.status_code == 422 and error_of(answer).count("\n") == 0


def test_a_question_is_bounded_in_bytes_whatever_it_says_of_its_length(ready: tuple[TestClient, str]) -> None:
    client, id = ready
    many = b'{"words": ["' + b"a" * 600_000 + b'"]}'
    assert client.post(f"/api/pictures/{id}/scores", content=many).status_code == 413
    assert client.post(f"/api/pictures/{id}/scores", content=iter([many])).status_code == 413


def test_what_is_taken_away(ready: tuple[TestClient, str], quick_segmenter: TextRegionSegmenter, photos: Path) -> None:
    client, id = ready
    words = ["dog", "grass"]
    regions = quick_segmenter.encode(photos / "a.png")
    coco = client.post(f"/api/pictures/{id}/coco", json={"words": words})
    assert coco.headers["content-disposition"] == "attachment; filename*=UTF-8''a_coco.json"
    assert coco.json()["images"] == [{"id": 1, "file_name": "a.png", "height": 48, "width": 64}]
    assert [kind["name"] for kind in coco.json()["categories"]] == words
    assert coco.json()["annotations"] == regions.to_coco(quick_segmenter.scores(regions, words), words)
    labels = client.post(f"/api/pictures/{id}/labels", json={"words": words})
    image = Image.open(io.BytesIO(labels.content))
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), quick_segmenter.segment(regions, words).labels.numpy())


def test_a_single_word_is_taken_away_against_the_background(
    ready: tuple[TestClient, str], quick_segmenter: TextRegionSegmenter, photos: Path
) -> None:
    client, id = ready
    both = ["dog", "background"]
    regions = quick_segmenter.encode(photos / "a.png")
    coco = client.post(f"/api/pictures/{id}/coco", json={"words": ["dog"]}).json()
    assert [kind["name"] for kind in coco["categories"]] == both
    assert coco["annotations"] == regions.to_coco(quick_segmenter.scores(regions, both), both)
    labels = client.post(f"/api/pictures/{id}/labels", json={"words": ["dog"]})
    image = np.asarray(Image.open(io.BytesIO(labels.content)))
    assert np.array_equal(image, quick_segmenter.segment(regions, both).labels.numpy())


def test_a_cut_out_is_the_regions_box_of_the_picture_with_its_mask_as_alpha(
    ready: tuple[TestClient, str], quick_segmenter: TextRegionSegmenter, photos: Path
) -> None:
    client, id = ready
    regions = quick_segmenter.encode(photos / "a.png")
    soft = regions.masks()[1].float().clamp(0, 1).numpy()
    rows, cols = np.flatnonzero((soft * 255).round().any(1)), np.flatnonzero((soft * 255).round().any(0))
    box = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
    image = np.asarray(Image.open(io.BytesIO(client.get(f"/api/pictures/{id}/regions/1/cutout").content)))
    assert np.array_equal(image[..., :3], noise(0)[box])
    assert np.abs(image[..., 3] - soft[box] * 255).max() <= 0.5
    for region in ("-1", str(len(regions)), "99999999999999999999"):
        assert client.get(f"/api/pictures/{id}/regions/{region}/cutout").status_code == 404
    assert client.get(f"/api/pictures/{id}/regions/x/cutout").status_code == 422


def test_a_dropped_picture_is_asked_about_like_any_other(client: TestClient) -> None:
    content = png_of(noise(9))
    told = client.post(
        "/api/pictures", content=content, headers={"X-Name": quote("C:\\fakepath\\ü/../ne\u202ett\n.png")}
    )
    id = told.json()["id"]
    assert id == "dropped-" + hashlib.sha256(content).hexdigest()[:20]
    assert told.json()["name"] == "ne\ufffdtt\ufffd.png"
    encoded(client, id)
    assert client.get(f"/api/pictures/{id}/regions/0/cutout").status_code == 200
    again = client.post("/api/pictures", content=content, headers=NAME).json()
    assert (again["id"], again["state"]) == (id, "ready")
    assert client.get("/api/pictures").json()["count"] == 3  # it is nobody else's


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is an empty file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "PostScript"),
        (png_of(noise(0))[:200], "damaged"),
    ],
)
def test_a_dropped_file_that_is_no_picture_is_one_sentence(client: TestClient, content: bytes, told: str) -> None:
    answer = client.post("/api/pictures", content=content, headers=NAME)
    assert answer.status_code == 422 and told in error_of(answer) and "'some.png'" in error_of(answer)


def test_dropped_pictures_are_bounded_in_bytes_and_pixels_before_they_are_decoded(
    quick_segmenter: TextRegionSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(quick_segmenter, limits=Limits(upload_bytes=20_000, upload_pixels=48 * 64))
    with TestClient(app, base_url="http://localhost") as client:
        assert client.post("/api/pictures", content=png_of(noise(0))).status_code == 200
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("it was decoded"))
        answer = client.post("/api/pictures", content=png_of(np.zeros((49, 64, 3), np.uint8)))
        assert answer.status_code == 422 and "64 x 49 pixels, more than the 3,072" in error_of(answer)
        large = b"x" * 20_001
        for content in (large, iter([large[:10_000], large[10_000:]])):
            answer = client.post("/api/pictures", content=content)
            assert answer.status_code == 413 and "MiB at most" in error_of(answer)
        lying = client.post("/api/pictures", content=iter([large]), headers={"Content-Length": "5"})
        assert lying.status_code in (400, 413)


def test_only_the_latest_dropped_pictures_are_kept(client: TestClient) -> None:
    ids = [client.post("/api/pictures", content=png_of(noise(n, (6, 8)))).json()["id"] for n in range(33)]
    assert client.get(f"/api/pictures/{ids[0]}").status_code == 404
    assert client.get(f"/api/pictures/{ids[1]}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/pictures/../../etc/passwd", "/api/pictures/..%2f..%2fetc%2fpasswd/view",
        "/api/pictures/%2fetc%2fpasswd/view", "/api/pictures//etc/passwd/view", "/api/pictures/a.png/view",
        "/api/pictures/%2e%2e/view", "/api/pictures/.%00/view", "/api/pictures/%5c%5chost%5cshare/view",
        "/static/app.js", "/app.py", "/../app.py", "/%2e%2e/app.py", "/..%5capp.py", "/index.html", "/docs", "/redoc",
        "/openapi.json", "/api/pictures/notes.txt/view", "/api/pictures/\u00fc/view", "/style.css/../app.py",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and error_of(answer)


def test_links_out_of_the_folder_are_left_out_and_one_made_later_is_not_read(
    quick_segmenter: TextRegionSegmenter, tmp_path: Path
) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "served"
    outside.mkdir()
    folder.mkdir()
    Image.fromarray(noise(1)).save(outside / "secret.png")
    for name in ("kept.png", "swapped.png"):
        Image.fromarray(noise(2)).save(folder / name)
    (folder / "inner.png").symlink_to(folder / "kept.png")
    (folder / "link.png").symlink_to(outside / "secret.png")
    (folder / "folder").symlink_to(outside)
    (folder / "broken.png").symlink_to(outside / "nowhere.png")
    pictures = find_pictures([folder])
    assert [picture.name for picture in pictures] == ["inner.png", "kept.png", "swapped.png"]
    (folder / "swapped.png").unlink()
    (folder / "swapped.png").symlink_to(outside / "secret.png")
    (folder / "kept.png").unlink()
    with TestClient(create_app(quick_segmenter, pictures), base_url="http://localhost") as client:
        swapped = client.get(f"/api/pictures/{pictures[2].id}/view")
        assert swapped.status_code == 422 and "not below the served folder" in error_of(swapped)
        gone = client.get(f"/api/pictures/{pictures[1].id}/view")
        assert gone.status_code == 422 and str(tmp_path) not in error_of(gone)


def test_files_are_named_themselves_and_what_is_not_there_is_a_mistake(photos: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(photos / "a.png")
    found = find_pictures([link, photos / "a.png", link])
    assert [picture.name for picture in found] == ["link.png", "a.png"]
    assert found[0].read().shape == (48, 64, 3)
    assert found[1].id == find_pictures([os.path.relpath(photos / "a.png")])[0].id  # and again after a restart
    (tmp_path / "empty").mkdir()
    for missing in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(UserError, match=missing.name):
            find_pictures([missing])


def test_a_mistake_of_ours_is_logged_and_told_without_its_inside(
    quick_segmenter: TextRegionSegmenter, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(quick_segmenter, find_pictures([photos]))
    monkeypatch.setattr("textregion.web.views._jpeg", lambda *args: 1 / 0)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.get(f"/api/pictures/{first_id(client)}/view")
        assert answer.status_code == 500 and "log" in error_of(answer) and "division" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_body_that_says_itself_that_it_is_too_large_is_not_read() -> None:
    async def receive() -> Any:
        pytest.fail("it was read")

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"11")]}
    with pytest.raises(HTTPException) as error:
        asyncio.run(body(Request(scope, receive), 10, "A picture"))
    assert error.value.status_code == 413
