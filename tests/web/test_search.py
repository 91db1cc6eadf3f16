"""Asking an index through the page's server."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from tests.web.conftest import encoded, noise, png_of
from textregion import RegionIndex, TextRegionSegmenter
from textregion.web import create_app
from textregion.web.search import indexed_pictures, outline


@pytest.fixture
def index(indexed: Path, quick_segmenter: TextRegionSegmenter) -> RegionIndex:
    """Nine pictures."""
    return RegionIndex.open(indexed / "index", quick_segmenter)


@pytest.fixture
def client(index: RegionIndex, quick_segmenter: TextRegionSegmenter) -> Any:
    with TestClient(create_app(quick_segmenter, index=index), base_url="http://localhost") as opened:
        yield opened


def found(client: TestClient, **asked: Any) -> dict[str, Any]:
    answer = client.post("/api/search", json=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_answers_are_the_indexs(client: TestClient, index: RegionIndex, indexed: Path) -> None:
    told = found(client, words=["dog", "grass"], minus=["sky"], count=4)
    expected = index.search(["dog", "grass"], k=4, minus=["sky"])
    assert [(hit["name"], hit["region"]) for hit in told["hits"]] == [
        (Path(hit.picture).name, hit.region) for hit in expected
    ]
    assert [hit["score"] for hit in told["hits"]] == [round(hit.score, 4) for hit in expected]
    assert [hit["relevance"] for hit in told["hits"]] == [hit.relevance for hit in expected]
    assert (told["more"], told["found"], told["line"]) == (True, expected.found, 0.5)
    assert client.get("/api/info").json()["index"] == {"pictures": 9, "regions": index.region_count}
    assert str(indexed) not in client.post("/api/search", json={"words": ["dog"]}).text


def test_it_goes_on_where_it_ended_and_ends(client: TestClient) -> None:
    whole = found(client, words=["dog"], count=100)
    assert len(whole["hits"]) == 9 and not whole["more"]
    parts = [found(client, words=["dog"], start=start, count=4) for start in (0, 4, 8, 12)]
    assert [hit for part in parts for hit in part["hits"]] == whole["hits"]
    assert [part["more"] for part in parts] == [True, True, False, False]


def test_more_like_a_region_is_other_pictures(client: TestClient, index: RegionIndex) -> None:
    first = found(client, words=["dog"], count=1)["hits"][0]
    like = {"picture": first["picture"], "region": first["region"]}
    told = found(client, like=like, count=100)
    hit = next(hit for hit in index.search("dog", k=1))
    assert [one["name"] for one in told["hits"]] == [
        Path(one.picture).name for one in index.search(hit.token, k=100, but=[hit])
    ]
    assert first["picture"] not in [one["picture"] for one in told["hits"]]
    assert told["found"] is None and told["hits"][0]["relevance"] is None
    both = found(client, like=like, words=["grass"], minus=["dog"], count=100)
    assert [one["score"] for one in both["hits"]] != [one["score"] for one in told["hits"]]


def test_a_region_of_a_dropped_picture_finds_itself(client: TestClient, indexed: Path) -> None:
    copy = png_of(np.asarray(Image.open(indexed / "photos" / "3.png")))
    id = client.post("/api/pictures", content=copy).json()["id"]
    like = {"picture": id, "region": 1}
    assert client.post("/api/search", json={"like": like}).status_code == 404  # not encoded yet
    encoded(client, id)
    told = found(client, like=like)
    assert told["hits"][0]["name"] == "3.png" and told["hits"][0]["score"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 422),
        ({"words": []}, 422),
        ({"words": [" "]}, 422),
        ({"words": ["dog"], "minus": [""]}, 422),
        ({"words": ["dog"], "count": 0}, 422),
        ({"words": ["dog"], "start": 10**9}, 422),
        ({"like": {"picture": "nobody", "region": 0}}, 404),
        ({"like": {"picture": "FIRST", "region": 999}}, 404),
        ({"like": {"picture": "FIRST", "region": -1}}, 422),
    ],
)
def test_what_cannot_be_looked_for_is_one_sentence(client: TestClient, asked: dict[str, Any], status: int) -> None:
    if asked.get("like", {}).get("picture") == "FIRST":
        asked["like"]["picture"] = client.get("/api/pictures").json()["pictures"][0]["id"]
    answer = client.post("/api/search", json=asked)
    assert answer.status_code == status and list(answer.json()) == ["error"]


def test_an_indexed_picture_is_looked_at_without_encoding_it_again(
    client: TestClient, index: RegionIndex, quick_segmenter: TextRegionSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextRegionSegmenter, "encode", lambda *args: pytest.fail("it was encoded"))
    picture = client.get("/api/pictures").json()["pictures"][2]
    id = encoded(client, picture["id"])
    path = next(path for path in index.pictures if path.endswith(picture["name"]))
    hits = index.regions(path)
    told = client.get(f"/api/pictures/{id}/regions").json()
    assert len(told["predicted_iou"]) == len(hits) and told["size_hw"] == [48, 64]
    scores = client.post(f"/api/pictures/{id}/scores", json={"words": ["dog"]}).json()["scores"]
    expected = torch.stack([hit.token for hit in hits]) @ index.encode_words(["dog"])[0]
    assert torch.allclose(torch.tensor(scores)[:, 0], expected, atol=1e-3)
    for hit, share in zip(hits, told["share"]):
        assert share == pytest.approx(hit.mask().mean(), abs=0.12)  # half of the soft border
    coco = client.post(f"/api/pictures/{id}/coco", json={"words": ["dog"]}).json()
    assert [one["bbox"] for one in coco["annotations"]] == [list(hit.box_xywh) for hit in hits]


def test_a_file_that_is_not_the_one_that_was_encoded_is_not_shown(
    indexed: Path, quick_segmenter: TextRegionSegmenter, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(indexed / "photos", photos)
    index = RegionIndex.create(tmp_path / "index", quick_segmenter)
    index.add(photos)
    Image.fromarray(noise(77)).save(tmp_path / "secret.png")
    (photos / "0.png").unlink()
    (photos / "0.png").symlink_to(tmp_path / "secret.png")
    (photos / "1.png").write_bytes((photos / "2.png").read_bytes())
    (photos / "3.png").unlink()
    with TestClient(create_app(quick_segmenter, index=index), base_url="http://localhost") as client:
        told = {
            picture["name"]: client.get(f"/api/pictures/{picture['id']}/view")
            for picture in client.get("/api/pictures").json()["pictures"]
        }
    assert [told[name].status_code for name in ("0.png", "1.png", "2.png", "3.png")] == [422, 422, 200, 422]
    assert "has changed since" in told["0.png"].text and "has changed since" in told["1.png"].text
    assert "cannot be read" in told["3.png"].text and str(tmp_path) not in told["3.png"].text


def test_names_are_below_the_shared_folder(index: RegionIndex) -> None:
    assert [picture.name for picture in indexed_pictures(index)] == sorted(f"{number}.png" for number in range(9))


def test_an_outline_runs_around_the_mask_in_the_pictures_pixels() -> None:
    mask = np.zeros((8, 16), bool)
    mask[2:6, 4:12] = True
    drawn = outline(mask, (80, 320))
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", drawn), float)
    assert drawn.count("M") == drawn.count("Z") == 1
    assert np.abs(points.min(0) - [80, 20]).max() <= 4 and np.abs(points.max(0) - [240, 60]).max() <= 4
    assert outline(np.zeros((8, 8), bool), (8, 8)) == ""


def test_there_is_no_search_without_an_index(quick_segmenter: TextRegionSegmenter) -> None:
    with TestClient(create_app(quick_segmenter), base_url="http://localhost") as client:
        assert client.post("/api/search", json={"words": ["dog"]}).status_code == 404
        assert client.get("/api/info").json()["index"] is None
