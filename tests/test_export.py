"""Results read back by independent readers equal what was written."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from textregion import RegionMasks, RegionTokens, UserError, export
from textregion.visualize import word_colours

TWO = RegionTokens(torch.eye(2), RegionMasks.from_masks(torch.ones(2, 3, 5)), (3, 5), (3, 5))
"""Two regions that each cover a picture of 3 x 5 pixels."""


def test_json_of_a_picture_is_utf8_with_half_characters_escaped() -> None:
    content = export.regions_json([{"id": 7}], (2, 3), ["名"], image="a\udcff🐶.png").decode("utf-8")
    expected = {"image": "a\udcff🐶.png", "size": [2, 3], "words": ["名"], "regions": [{"id": 7}]}
    assert json.loads(content) == expected
    assert "名" in content


def add(run: export.CocoRun, picture: Path, words: list[str], best: list[int], folder: Path) -> None:
    """A picture with two regions whose best words are given, finished as the demo does it."""
    scores = torch.zeros(2, len(words))
    scores[[0, 1], best] = 0.5
    file = folder / f"{abs(hash(picture))}.json"
    file.write_bytes(export.regions_json(run.annotations(picture, TWO, scores, words), TWO.size_hw, words))
    run.add(picture, TWO.size_hw, file)


def test_a_run_becomes_one_coco_file(tmp_path: Path) -> None:
    pictures = [tmp_path / name for name in ("a/cat.png", "bad.png", "b/cat.png", "b/caf\u00e9 \udcff.png")]
    words = [["cat", "sky"], ["cat"], ["名前", "cat"], ["sky"]]
    run = export.CocoRun(pictures, words)
    add(run, pictures[0], words[0], [1, 0], tmp_path)
    add(run, pictures[2], words[2], [0, 1], tmp_path)  # the second was bad
    add(run, pictures[3], words[3], [0, 0], tmp_path)
    run.write(tmp_path / "coco.json", encoder="tiny")
    text = (tmp_path / "coco.json").read_bytes().decode("ascii")
    assert "\\ud" not in text  # half a character: strict readers refuse the whole file
    content = json.loads(text)
    assert list(content) == ["info", "licenses", "images", "categories", "annotations"]
    assert (content["info"]["encoder"], content["info"]["folder"]) == ("tiny", str(tmp_path))
    names = [(image["id"], image["file_name"], image["height"], image["width"]) for image in content["images"]]
    assert names == [(1, "a/cat.png", 3, 5), (3, "b/cat.png", 3, 5), (4, "b/caf\u00e9 \\xff.png", 3, 5)]
    named = [(category["id"], category["name"]) for category in content["categories"]]
    assert named == [(1, "cat"), (2, "sky"), (3, "名前")]
    found = [(one["id"], one["image_id"], one["category_id"], one["word"]) for one in content["annotations"]]
    assert found == [
        *((1, 1, 2, "sky"), (2, 1, 1, "cat"), (3, 3, 3, "名前"), (4, 3, 1, "cat"), (5, 4, 2, "sky"), (6, 4, 2, "sky"))
    ]
    assert all((one["area"], one["bbox"]) == (15, [0, 0, 5, 3]) for one in content["annotations"])


def test_names_in_a_coco_file_count_from_the_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for pictures, folder, name in (
        ([Path("photos/x.png")], "photos", "x.png"),
        ([Path("x.png"), Path("photos/y.png")], ".", "x.png"),
        ([Path("photos/../x.png")], ".", "x.png"),
        ([Path("photos/x.png"), tmp_path / "photos/deep/y.png"], str(tmp_path / "photos"), "x.png"),
    ):
        run = export.CocoRun(pictures, [["cat"]] * len(pictures))
        add(run, pictures[0], ["cat"], [0, 0], tmp_path)
        run.write(Path("coco.json"))
        content = json.loads(Path("coco.json").read_text())
        assert (content["info"]["folder"], content["images"][0]["file_name"]) == (folder, name)


def test_a_run_without_a_finished_picture_has_no_coco_file(tmp_path: Path) -> None:
    export.CocoRun([tmp_path / "x.png"], [["cat"]]).write(tmp_path / "coco.json")
    assert os.listdir(tmp_path) == []


def test_a_coco_file_that_cannot_be_finished_is_not_there(tmp_path: Path) -> None:
    run = export.CocoRun([tmp_path / "x.png"], [["cat"]])
    add(run, tmp_path / "x.png", ["cat"], [0, 0], tmp_path)
    next(tmp_path.glob("*.json")).unlink()
    with pytest.raises(UserError, match=r"coco.json' cannot be written \(No such file or directory\)"):
        run.write(tmp_path / "coco.json")
    assert os.listdir(tmp_path) == []


def test_an_earlier_result_is_removed_or_the_folder_in_its_place_named(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    export.remove(tmp_path / "old")
    export.remove(tmp_path / "old")
    assert os.listdir(tmp_path) == []
    with pytest.raises(UserError, match="it is a folder where a file is wanted"):
        export.remove(tmp_path)


@pytest.mark.parametrize("count", [1, 2, 5, 17, 256])
def test_label_map_holds_indices_and_the_words_colours(count: int) -> None:
    words = [f"word {number}" for number in range(count)]
    labels = torch.randint(0, count, (33, 47), generator=torch.Generator().manual_seed(count))
    labels[0, 0] = count - 1
    png = export.label_map_png(labels, word_colours(words))
    with Image.open(io.BytesIO(png)) as image:
        assert (image.mode, image.size) == ("P", (47, 33))
        np.testing.assert_array_equal(np.array(image), labels.numpy())
    in_colour = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))[:, :, ::-1]
    np.testing.assert_array_equal(in_colour, word_colours(words)[labels.numpy()])


@pytest.mark.parametrize("count", [1, 5, 255])
def test_pixels_without_a_word_have_a_value_and_a_colour_of_their_own(count: int) -> None:
    colours = word_colours([f"word {number}" for number in range(count)])
    labels = torch.randint(-1, count, (33, 47), generator=torch.Generator().manual_seed(count))
    labels[0, 0], labels[0, 1] = -1, count - 1
    png = export.label_map_png(labels, colours)
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image), np.where(labels < 0, 255, labels))
    in_colour = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))[:, :, ::-1]
    np.testing.assert_array_equal(in_colour, np.concatenate([colours, [[255] * 3]])[labels.numpy()])


def test_256_words_leave_no_value_for_pixels_without_one() -> None:
    colours = np.zeros((256, 3), np.uint8)
    with pytest.raises(UserError, match=r"256 words leave a label map no value .* at most 255"):
        export.label_map_png(torch.tensor([[0, -1]]), colours)
    assert export.label_map_png(torch.tensor([[0, 255]]), colours)


def test_more_words_than_a_palette_holds_are_refused() -> None:
    with pytest.raises(UserError, match="at most 256 words, but there are 257"):
        export.label_map_png(torch.zeros(2, 2, dtype=torch.int64), np.zeros((257, 3), np.uint8))


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_bytes(b"old")
    export.write_files({first: b"new", second: b"two"})
    assert (first.read_bytes(), second.read_bytes()) == (b"new", b"two")
    with pytest.raises(UserError, match=r"there is no folder '.*no folder'\): make it or choose another"):
        export.write_files({first: b"newer", tmp_path / "no folder" / "c.txt": b"three"})
    assert first.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]


def test_a_full_disk_is_told_with_the_results_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, content: bytes) -> int:
        if path.name.startswith(".b.txt"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(UserError) as caught:
        export.write_files({tmp_path / "a.txt": b"one", tmp_path / "b.txt": b"two"})
    assert str(caught.value) == (
        f"Result {str(tmp_path / 'b.txt')!r} cannot be written (No space left on device): free space or choose another "
        "folder."
    )
    assert os.listdir(tmp_path) == []
