"""TIFF files of every kind: the right three bands, or one sentence."""

from __future__ import annotations

import io
import logging
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from textregion import UserError
from textregion.image import load_picture, load_rgb

EIGHT = np.ascontiguousarray(data.astronaut()[::16, ::8])
GREY = np.ascontiguousarray(EIGHT[..., 0])
TWELVE = EIGHT.astype(np.uint16) * 16
FIVE = np.concatenate([EIGHT, 255 - EIGHT[..., :2]], axis=2)
UNSAID = ["unspecified"]


def _file(values: np.ndarray, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    settings.setdefault("photometric", "rgb" if values.ndim == 3 and values.shape[-1] < 9 else "minisblack")
    tifffile.imwrite(buffer, values, **settings)
    return buffer.getvalue()


def _planes(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))


RIGHT: dict[str, bytes] = {
    "12 bits in 16": _file(TWELVE),
    "the other byte order": _file(TWELVE, byteorder=">"),
    "BigTIFF": _file(TWELVE, bigtiff=True),
    "deflated": _file(TWELVE, compression="zlib"),
    "tiled": _file(np.pad(TWELVE, ((0, 16), (0, 0), (0, 0))), tile=(16, 16)),
    "in planes": _file(_planes(TWELVE), planarconfig="separate", photometric="rgb"),
    "8 bits in planes": _file(_planes(EIGHT), planarconfig="separate", photometric="rgb"),
    "all 16 bits": _file(EIGHT.astype(np.uint16) * 257),
    "32 bits": _file(EIGHT.astype(np.uint32) * (2**24 + 2**16 + 2**8 + 1)),
    "floats in 0..1": _file((EIGHT / 255).astype(np.float32)),
    "16-bit floats": _file((EIGHT / 255).astype(np.float16)),
    "64-bit floats": _file(EIGHT / 255),
    "floats of 8 bits": _file(EIGHT.astype(np.float32)),
    "RGB and near infrared": _file(np.concatenate([EIGHT, EIGHT[..., :1]], 2), extrasamples=UNSAID),
    "RGB and near infrared of 12 bits": _file(np.concatenate([TWELVE, TWELVE[..., :1]], 2), extrasamples=UNSAID),
    "RGB and two more": _file(FIVE, planarconfig="contig", extrasamples=UNSAID * 2),
    "RGB and two more of 12 bits": _file(FIVE.astype(np.uint16) * 16, planarconfig="contig", extrasamples=UNSAID * 2),
    "RGB and two more in planes": _file(
        _planes(FIVE), planarconfig="separate", photometric="rgb", extrasamples=UNSAID * 2
    ),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_the_right_three_bands(kind: str, tmp_path: Path) -> None:
    rgb = load_rgb(RIGHT[kind])
    np.testing.assert_allclose(rgb[: len(EIGHT)], EIGHT, atol=1)
    (tmp_path / "a.tif").write_bytes(RIGHT[kind])
    np.testing.assert_array_equal(load_rgb(tmp_path / "a.tif"), rgb)


GREYS: dict[str, bytes] = {
    "12 bits in 16": _file(GREY.astype(np.uint16) * 16),
    "12 bits in 32": _file(GREY.astype(np.uint32) * 16),
    "12 bits in signed 16": _file(GREY.astype(np.int16) * 16),
    "the upper half of 32 bits": _file(GREY.astype(np.uint32) * 2**24),
    "signed": _file((GREY.astype(np.int16) - 128).astype(np.int8)),
    "white is 0": _file(4095 - GREY.astype(np.uint16) * 16, photometric="miniswhite"),
    "white is 0 of 8 bits": _file(255 - GREY, photometric="miniswhite"),
    "64 bits": _file(GREY.astype(np.uint64)),
    "64-bit floats": _file(GREY / 255),
}


@pytest.mark.parametrize("kind", GREYS)
def test_grey(kind: str) -> None:
    lowest, highest = int(GREY.min()), int(GREY.max())
    assert (lowest, highest) == (0, 255)
    np.testing.assert_allclose(load_rgb(GREYS[kind]), GREY[..., None].repeat(3, 2), atol=1)


def test_the_stated_range_is_believed() -> None:
    dark = GREY.astype(np.uint16)  # of 12 bits, very dark: the range found would be 8 bits
    for tag in (281, 341):
        stated = _file(dark, extratags=[(tag, 3, 1, 4095, True)])
        np.testing.assert_allclose(load_rgb(stated)[..., 0], GREY / 16.06, atol=1)
    # what only says that there are 16 bits says nothing
    np.testing.assert_array_equal(load_rgb(_file(dark, extratags=[(281, 3, 1, 65535, True)]))[..., 0], GREY)
    offset = _file(dark + 1000, extratags=[(280, 3, 1, 1000, True), (281, 3, 1, 1255, True)])
    np.testing.assert_array_equal(load_rgb(offset)[..., 0], GREY)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_bits_packed_side_by_side(bits: int) -> None:
    dark = GREY[:, :32] // 8  # so dark that the range found would be another
    values = np.round(dark / 255 * (2**bits - 1)).astype(np.uint16)
    ones = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    content = bytearray(_file(np.packbits(ones.astype(np.uint8).reshape(len(dark), -1), axis=1)))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page: Any = file.pages[0]
        for name, value in (("ImageWidth", 32), ("BitsPerSample", bits)):
            struct.pack_into("<H", content, page.tags[name].valueoffset, value)
    np.testing.assert_allclose(load_rgb(bytes(content))[..., 1], dark, atol=1)


@pytest.mark.parametrize("extra", ["assocalpha", "unassalpha"])
@pytest.mark.parametrize("grey", [False, True])
def test_opacity_lies_on_white(extra: str, grey: bool) -> None:
    colour = np.array([[[16, 8, 0], [4, 4, 4]]], np.uint16) * 4000
    alpha = np.array([[[65535], [0]]], np.uint16)
    if grey:
        colour = colour[..., :1]
    bands = np.concatenate([colour * (alpha > 0) if extra == "assocalpha" else colour, alpha], axis=2)
    photometric = "minisblack" if grey else "rgb"
    rgb = load_rgb(_file(bands, photometric=photometric, planarconfig="contig", extrasamples=[extra]))
    assert rgb.tolist() == [[[249] * 3 if grey else [249, 125, 0], [255] * 3]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["deep", "compressed by LZW", "unknown to Pillow"])
def test_orientation(orientation: int, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    if kind == "compressed by LZW":
        path.write_bytes(_lzw(TWELVE, orientation))
    else:
        values = TWELVE if kind == "deep" else TWELVE.astype(np.float32)
        path.write_bytes(_file(values, extratags=[(274, 3, 1, orientation, True)]))
    turned = {
        1: EIGHT,
        2: EIGHT[:, ::-1],
        3: EIGHT[::-1, ::-1],
        4: EIGHT[::-1],
        5: EIGHT.transpose(1, 0, 2),
        6: np.rot90(EIGHT, -1),
        7: EIGHT[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(EIGHT),
    }[orientation]
    np.testing.assert_allclose(load_rgb(path), turned, atol=1)
    assert (load_picture(path).turn is None) == (orientation == 1)
    if kind != "unknown to Pillow":
        with Image.open(path) as image:
            np.testing.assert_allclose(load_rgb(image), turned, atol=1)


def _lzw(values: np.ndarray, orientation: int) -> bytes:
    """OpenCV's own file, whose entry that says what is so without it says the orientation instead."""
    _, written = cv2.imencode(".tif", values[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    content = bytearray(written.tobytes())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page: Any = file.pages[0]
        assert page.compression.name == "LZW"
        struct.pack_into("<HHIH", content, page.tags["SampleFormat"].offset, 274, 3, 1, orientation)
    return bytes(content)


def _pages(*pages: tuple[np.ndarray, dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for values, settings in pages:
            file.write(values, **{"photometric": "rgb" if values.ndim == 3 else "minisblack", **settings})
    return buffer.getvalue()


PREVIEW: dict[str, Any] = {"subfiletype": 1}
PAGES: dict[str, bytes] = {
    "colour pages": _pages((EIGHT, {}), (255 - EIGHT, {})),
    "deep colour pages": _pages((TWELVE, {}), (TWELVE[::-1], {})),
    "a preview first": _pages((EIGHT[::2, ::2], PREVIEW), (EIGHT, {})),
    "a preview before deep colours": _pages((EIGHT[::2, ::2], PREVIEW), (TWELVE, {})),
    "previews behind": _pages((EIGHT, {}), (EIGHT[::2, ::2], PREVIEW), (GREY, PREVIEW)),
    "a pyramid": _pages((EIGHT, {"subifds": 1}), (EIGHT[::2, ::2], PREVIEW)),
}


@pytest.mark.parametrize("kind", PAGES)
def test_the_first_page_that_is_a_whole_picture(kind: str) -> None:
    np.testing.assert_allclose(load_rgb(PAGES[kind]), EIGHT, atol=1)


def test_the_log_says_which_of_several_pages_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        load_rgb(_pages((EIGHT[::2, ::2], PREVIEW), (EIGHT, {}), (EIGHT, {})))
    assert caplog.messages == ["The picture given as bytes has 3 pages: page 1 (counted from 0) is taken."]


def test_pages_that_are_no_bands() -> None:
    frames = [Image.fromarray(GREY).convert("1"), Image.fromarray(GREY).convert("1").rotate(180)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(load_rgb(buffer)[..., 0], np.array(frames[0].convert("L")))
    small = load_rgb(_pages((GREY, {}), (GREY[:9, :9], {})))
    np.testing.assert_array_equal(small[..., 0], GREY)


REFUSED: dict[str, tuple[bytes, str]] = {
    "five bands": (
        _file(FIVE, photometric="minisblack", planarconfig="contig"),
        "has 5 bands and does not say which of them are red, green and blue: save those three as an RGB picture",
    ),
    "three bands": (_file(EIGHT, photometric="minisblack", planarconfig="contig"), "has 3 bands"),
    "three bands of 16 bits": (_file(TWELVE, photometric="minisblack", planarconfig="contig"), "has 3 bands"),
    "three planes": (_file(_planes(EIGHT), photometric="minisblack", planarconfig="separate"), "has 3 bands"),
    "two bands": (_file(FIVE[..., :2], photometric="minisblack", planarconfig="contig"), "has 2 bands"),
    "grey pages": (_file(_planes(FIVE), photometric="minisblack"), "has 5 grey pages of 32 x 64"),
    "deep grey pages": (_file(_planes(TWELVE), photometric="minisblack"), "has 3 grey pages"),
    "an array as tifffile writes it": (_file(FIVE, photometric=None), "has 32 grey pages of 64 x 5"),
    "previews only": (_pages((EIGHT, PREVIEW)), "has previews or masks as its pages, but no picture"),
    "colours of a printer": (_file(np.zeros((4, 4, 4), np.float32), photometric="separated"), "SEPARATED colours"),
    "a volume": (_file(np.zeros((1, 3, 16, 16), np.float32), volumetric=True, tile=(3, 16, 16)), "no flat picture"),
    "cut off": (RIGHT["64-bit floats"][:-400], "is damaged"),
    "cut off in its tags": (RIGHT["64-bit floats"][:100], "(is damaged|not an image)"),
    "strange compression": (
        _lzw(TWELVE, 1).replace(struct.pack("<HHIH", 259, 3, 1, 5), struct.pack("<HHIH", 259, 3, 1, 34887)),
        r"is (compressed \(LERC, 16 bits\)|damaged|not an image)",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_told_is_one_sentence(
    kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    content, said = REFUSED[kind]
    with pytest.raises(UserError, match=said) as caught:
        load_rgb(content)
    assert "\n" not in str(caught.value)
    assert not caplog.messages
    assert capfd.readouterr().err == ""


def test_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    with pytest.raises(UserError, match="too large to open safely"):
        load_rgb(RIGHT["64-bit floats"])
