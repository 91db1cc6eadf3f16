"""Rendered pictures say so, whichever layout they are in, and photos do not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from miniatures.scenes import render_scene
from miniatures.scenes.files import write_picture
from miniatures.scenes.formats import FORMATS
from textregion.rendered import DEMO_DIGESTS, MARK, all_rendered, is_rendered, marked

ASSETS = Path(__file__).parents[1] / "assets"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_mark_changes_no_pixel(suffix: str, tmp_path: Path) -> None:
    image = render_scene(3, (48, 64)).image
    _, plain = cv2.imencode(suffix, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else [])
    write_picture(tmp_path / f"scene{suffix}", image)
    content = (tmp_path / f"scene{suffix}").read_bytes()
    assert content == marked(plain.tobytes()) != plain.tobytes()
    for read in (lambda data: np.array(Image.open(data)), lambda data: cv2.imread(str(data))[..., ::-1]):
        (tmp_path / f"plain{suffix}").write_bytes(plain.tobytes())
        assert (read(tmp_path / f"scene{suffix}") == read(tmp_path / f"plain{suffix}")).all()
    assert is_rendered(tmp_path / f"scene{suffix}") is True
    assert is_rendered(tmp_path / f"plain{suffix}") is False


@pytest.mark.parametrize("layout", FORMATS)
def test_every_layout_of_the_renderer_is_known(layout: str, tmp_path: Path) -> None:
    FORMATS[layout](tmp_path, [render_scene(1, (48, 64))])
    pictures = [path for path in tmp_path.rglob("*.[jp][pn]g") if "label" not in path.name and "Class" not in str(path)]
    assert pictures and all(is_rendered(path) for path in pictures)


def test_the_demos_pictures_are_known_wherever_they_lie(tmp_path: Path) -> None:
    demo = sorted(ASSETS.glob("scene_*.jpg"))
    assert len(demo) == len(DEMO_DIGESTS) == 4
    (tmp_path / "copy.jpg").write_bytes(demo[0].read_bytes())
    assert all_rendered([*demo, tmp_path / "copy.jpg", ASSETS / "scene_*.jpg"])


def test_photos_folders_of_them_and_files_that_are_none(tmp_path: Path) -> None:
    assert all_rendered([])
    photo = tmp_path / "below" / "photo.jpg"
    photo.parent.mkdir()
    Image.new("RGB", (8, 8)).save(photo, comment="of a holiday")
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:30])
    assert is_rendered(tmp_path / "cut.png") is None and is_rendered(tmp_path / "nowhere.png") is None
    assert all_rendered([tmp_path / "cut.png", tmp_path / "nowhere.png", ASSETS / "scene_wide.jpg"])
    assert not all_rendered([ASSETS / "scene_wide.jpg", photo])
    assert not all_rendered([tmp_path]) and not all_rendered([tmp_path / "**" / "*.jpg"])


def test_a_comment_of_the_same_words_is_the_mark(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", comment=MARK)
    assert is_rendered(tmp_path / "a.jpg")
    (tmp_path / "COCO_train2014_000000900017.jpg").write_bytes(b"")
    assert is_rendered(tmp_path / "COCO_train2014_000000900017.jpg")
    Image.new("RGB", (8, 8)).save(tmp_path / "COCO_train2014_000000581929.jpg")
    assert is_rendered(tmp_path / "COCO_train2014_000000581929.jpg") is False


@pytest.mark.parametrize("suffix", [".gif", ".jp2", ".PPM"])
def test_a_folder_of_pictures_of_any_kind_is_looked_into(suffix: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / f"own{suffix}")
    assert not all_rendered([tmp_path])
