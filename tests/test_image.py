"""Any picture becomes RGB, and the resize rule."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import mmcv
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from textregion import UserError
from textregion.image import IMAGE_SUFFIXES, load_picture, load_rgb, resize, resized_hw

COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [255, 255, 255], [128, 64, 32]]], np.uint8)


@pytest.mark.parametrize(
    ("size_hw", "scale", "expected"),
    [
        ((375, 500), (2016, 672), (672, 896)),
        ((375, 500), (1008, 672), (672, 896)),
        ((281, 500), (2016, 672), (672, 1196)),
        ((281, 500), (1008, 672), (566, 1008)),
        ((480, 640), (1334, 896), (896, 1195)),
        ((427, 640), (1334, 896), (890, 1334)),
        ((512, 683), (2016, 672), (672, 896)),
        ((1024, 2048), (2688, 1344), (1344, 2688)),
        ((480, 640), (2016, 2016), (1512, 2016)),
        ((1, 3000), (2016, 672), (1, 2016)),
    ],
)
def test_resize_rule(size_hw: tuple[int, int], scale: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_hw(size_hw, scale) == expected


@given(st.integers(2, 90), st.integers(2, 90), st.integers(0, 2**32 - 1))
def test_resize_is_that_of_mmcv(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    scale = (120, 64)
    np.testing.assert_array_equal(resize(image, resized_hw((height, width), scale)), mmcv.imrescale(image, scale))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"])
def test_every_mode_keeps_black_and_white(mode: str, tmp_path: Path) -> None:
    black_white = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("RGB").convert(mode)
    rgb = load_rgb(black_white)
    assert rgb.shape == (2, 2, 3)
    assert rgb.dtype == np.uint8
    np.testing.assert_allclose(rgb[:, :, 0], [[0, 255], [255, 0]], atol=3)


def test_rgb_files_are_read_as_they_are(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_rgb(tmp_path / "a.png"), COLOURS)
    np.testing.assert_array_equal(load_rgb(str(tmp_path / "a.png")), COLOURS)
    np.testing.assert_array_equal(load_rgb(COLOURS), COLOURS)


def test_sixteen_bits_and_floats_are_scaled() -> None:
    deep = np.array([[0, 32768], [65535, 257]], np.uint16)
    np.testing.assert_array_equal(load_rgb(Image.fromarray(deep))[:, :, 0], [[0, 128], [255, 1]])
    unit = np.array([[0.0, 0.5], [1.0, 0.25]], np.float32)
    np.testing.assert_array_equal(load_rgb(Image.fromarray(unit))[:, :, 0], [[0, 128], [255, 64]])
    bytes_ = np.array([[0, 200], [255, 7]], np.int32)
    np.testing.assert_array_equal(load_rgb(Image.fromarray(bytes_, "I"))[:, :, 0], [[0, 200], [255, 7]])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-np.inf, 0.5, np.nan, 1.0], [0, 128, 0, 255]),
        ([-3.0, 0.0, 2.0, 255.0], [0, 0, 2, 255]),
        ([0.0, 255.5, 65535.0, np.inf], [0, 1, 255, 255]),
        ([0.0, 50000.0, 100000.0, 25000.0], [0, 128, 255, 64]),
    ],
)
def test_floats_have_the_smallest_range_that_holds_them(values: list[float], expected: list[int]) -> None:
    assert load_rgb(Image.fromarray(np.array([values], np.float32)))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(("values", "expected"), [([0, 127, 255], [0, 127, 255]), ([0, 256, 65535], [0, 1, 255])])
def test_integers_are_of_8_or_of_16_bits(values: list[int], expected: list[int]) -> None:
    assert load_rgb(Image.fromarray(np.array([values], np.int32)))[0, :, 0].tolist() == expected


def test_transparency_lies_on_white() -> None:
    pixels = np.array([[[255, 0, 0, 0], [255, 0, 0, 255]]], np.uint8)
    expected = [[[255, 255, 255], [255, 0, 0]]]
    np.testing.assert_array_equal(load_rgb(Image.fromarray(pixels, "RGBA")), expected)
    np.testing.assert_array_equal(load_rgb(pixels), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["png", "webp", "tif", "RGBA tif"])
def test_exif_orientation_is_applied(orientation: int, form: str, tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS).convert("RGBA" if "RGBA" in form else "RGB")
    path = tmp_path / f"turned.{form[-4:].strip()}"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(path, exif=exif, **({"lossless": True} if form == "webp" else {}))
    turned = {
        1: COLOURS,
        2: COLOURS[:, ::-1],
        3: COLOURS[::-1, ::-1],
        4: COLOURS[::-1],
        5: COLOURS.transpose(1, 0, 2),
        6: np.rot90(COLOURS, -1),
        7: COLOURS[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(COLOURS),
    }[orientation]
    np.testing.assert_array_equal(load_rgb(path), turned)


def test_exif_that_cannot_be_written_anew_is_read_all_the_same(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ResolutionUnit] = 2
    written = exif.tobytes().replace(b"\x01\x28\x00\x03", b"\x01\x28\x00\x02")  # a number that says it is a text
    Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=written)
    with Image.open(tmp_path / "a.png") as image, pytest.raises(struct.error):
        ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(load_rgb(tmp_path / "a.png"), np.rot90(COLOURS, -1))
    Image.fromarray(COLOURS).save(tmp_path / "b.png", exif=b"Exif\0\0no EXIF at all")
    np.testing.assert_array_equal(load_rgb(tmp_path / "b.png"), COLOURS)


def test_grey_arrays_and_animations(tmp_path: Path) -> None:
    assert load_rgb(np.full((2, 3), 7, np.uint8)).tolist() == [[[7, 7, 7]] * 3] * 2
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert load_rgb(tmp_path / "moving.gif")[0, 0].tolist() == [255, 0, 0]


def _files(folder: Path) -> dict[str, tuple[Path, str]]:
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(folder / "whole.png")
    whole = (folder / "whole.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    os.mkfifo(folder / "pipe.png")
    (folder / "program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    return {
        "missing": (folder / "none.png", "does not exist"),
        "folder": (folder, "is a folder"),
        "empty": (folder / "empty.png", "is an empty file"),
        "text": (folder / "text.jpg", "not an image"),
        "truncated": (folder / "cut.png", "is damaged"),
        "pipe": (folder / "pipe.png", "is no file"),
        "very long name": (folder / ("a" * 5000), "does not exist"),
        "PostScript": (folder / "program.png", "is PostScript"),
    }


@pytest.mark.parametrize(
    "kind", ["missing", "folder", "empty", "text", "truncated", "pipe", "very long name", "PostScript"]
)
def test_a_bad_file_is_one_clear_sentence(kind: str, tmp_path: Path) -> None:
    path, said = _files(tmp_path)[kind]
    with pytest.raises(UserError, match=said) as caught:
        load_rgb(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


class Unseekable:
    """As a download is read."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self) -> bytes:
        return self._content


def test_bytes_and_open_files_are_read_as_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(COLOURS).save(path)
    content = path.read_bytes()
    with path.open("rb") as read_already, zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        read_already.read()
        archive.write(path, "a.png")
        for same in (
            *(content, bytearray(content), memoryview(content), io.BytesIO(content), read_already),
            *(Unseekable(content), archive.open("a.png"), PathOfBytes(path)),
        ):
            np.testing.assert_array_equal(load_rgb(same), COLOURS)  # type: ignore[arg-type]


class PathOfBytes(os.PathLike[bytes]):
    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> bytes:
        return os.fsencode(self._path)


def test_the_turn_is_told_with_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for form in ("png", "jpg", "tif"):
        Image.fromarray(COLOURS).save(tmp_path / f"a.{form}", exif=exif)
        assert load_picture(tmp_path / f"a.{form}").turn == Image.Transpose.ROTATE_270
        with Image.open(tmp_path / f"a.{form}") as image:
            assert load_picture(image).turn == Image.Transpose.ROTATE_270
    assert load_picture(COLOURS).turn is None


def test_what_is_no_picture_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("words")
    closed = io.BytesIO(b"")
    closed.close()
    refused = {
        "https://example.org/cat.png": "'https://example.org/cat.png' is a URL: download it",
        Path("https://example.org/cat.png"): "is a URL",
        "s3://bucket/cat.png": "is a URL",
        "data:image/png;base64,iVBO": "is a URL",
        b"": "given as bytes is an empty file",
        b"words": "given as bytes is not an image",
        io.BytesIO(b""): "given as a file is an empty file",
        closed: "given as a file cannot be read",
        (tmp_path / "text").open(encoding="utf-8"): "text' gives str instead of bytes: open it in binary mode",
        (tmp_path / "text").open("ab"): "text' cannot be read",
        None: "but got None",
        7: "but got 7",
        ("a.png",): "One picture is taken at a time, but got .*a.png.*: encode_many takes several",
    }
    for picture, said in refused.items():
        with pytest.raises(UserError, match=said) as caught:
            load_rgb(picture)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_a_file_whose_name_looks_like_a_url_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "http:").mkdir()
    Image.fromarray(COLOURS).save(tmp_path / "http:" / "a.png")
    np.testing.assert_array_equal(load_rgb("http://a.png"), COLOURS)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 2), np.uint16), np.zeros((2, 2, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 3, 3), np.uint8)],
)
def test_a_bad_array_is_refused(array: np.ndarray) -> None:
    with pytest.raises(UserError, match="array must be"):
        load_rgb(array)


class Failing(Image.Image):
    """A picture whose decoder fails as Pillow's do, on damaged data, with whatever happens to them."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.filename = "cat.avif"

    def load(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error", [RuntimeError("no item"), struct.error("unpack"), NotImplementedError(), OSError("cut")]
)
def test_whatever_a_decoder_raises_is_one_sentence(error: Exception) -> None:
    with pytest.raises(UserError, match=r"Picture 'cat\.avif' is damaged \(.+\): save it again\."):
        load_rgb(Failing(error))


def test_too_little_memory_and_no_pixels_are_told_apart_from_damage() -> None:
    with pytest.raises(MemoryError):
        load_rgb(Failing(MemoryError()))
    with pytest.raises(UserError, match="has no pixels \\(0 x 3\\)"):
        load_rgb(Image.new("RGB", (0, 3)))


def test_pictures_in_folders_are_known_by_these_endings() -> None:
    usual = {".jpg", ".jpeg", ".jpe", ".png", ".gif", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".jp2", ".ppm", ".pgm"}
    assert usual == IMAGE_SUFFIXES
