"""PNG, PNM and JPEG 2000 files keep all their bits until they are scaled."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image
from skimage import data

from textregion import UserError
from textregion.image import load_rgb

EIGHT = np.ascontiguousarray(data.astronaut()[::16, ::8])
GREY = EIGHT[..., :1].repeat(3, 2)
OPAQUE = np.full((*EIGHT.shape[:2], 1), 65535, np.uint16)


def _write(path: Path, rgb: np.ndarray) -> Path:
    """Numbers as they are, in RGB(A) order or grey."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(rgb.shape[2], [0])
    lossless = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000] if path.suffix == ".jp2" else []
    assert cv2.imwrite(str(path), rgb[..., order], lossless)
    return path


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _with_chunk(png: Path, chunk: bytes) -> Path:
    """The chunk behind the header."""
    content = png.read_bytes()
    png.write_bytes(content[:33] + chunk + content[33:])
    return png


@pytest.mark.parametrize("form", ["png", "ppm", "jp2"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_colours_of_fewer_bits_in_sixteen(form: str, bits: int, tmp_path: Path) -> None:
    deep = np.round(EIGHT / 255 * (2**bits - 1)).astype(np.uint16)
    path = _write(tmp_path / f"deep.{form}", deep)
    with Image.open(path) as image:
        assert image.mode == "RGB"  # Pillow would have kept the upper 8 of 16 bits
    np.testing.assert_allclose(load_rgb(path), EIGHT, atol=1 if form != "jp2" else 6)
    with Image.open(path) as image:
        np.testing.assert_array_equal(load_rgb(image), load_rgb(path))
    np.testing.assert_array_equal(load_rgb(path.read_bytes()), load_rgb(path))


@pytest.mark.parametrize("form", ["png", "pgm", "jp2"])
def test_grey_of_twelve_bits_in_sixteen(form: str, tmp_path: Path) -> None:
    path = _write(tmp_path / f"deep.{form}", GREY[..., :1].astype(np.uint16) * 16)
    np.testing.assert_allclose(load_rgb(path), GREY, atol=1 if form != "jp2" else 6)


def test_opacity_has_a_range_of_its_own(tmp_path: Path) -> None:
    deep = np.concatenate([EIGHT.astype(np.uint16) * 16, OPAQUE], axis=2)
    deep[0, 0] = (0, 0, 0, 0)
    rgb = load_rgb(_write(tmp_path / "deep.png", deep))
    np.testing.assert_allclose(rgb[1:], EIGHT[1:], atol=1)
    assert rgb[0, 0].tolist() == [255, 255, 255]


def test_orientation_is_applied_to_deep_pictures(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = _write(tmp_path / "deep.png", EIGHT.astype(np.uint16) * 16)
    turned = load_rgb(_with_chunk(path, _chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))))
    np.testing.assert_allclose(turned, np.rot90(EIGHT, -1), atol=1)


def test_the_significant_bits_of_a_png_are_its_range(tmp_path: Path) -> None:
    dark = EIGHT // 8  # so dark that the range found would be another
    plain = _write(tmp_path / "plain.png", dark.astype(np.uint16) * 16)
    np.testing.assert_allclose(load_rgb(_with_chunk(plain, _chunk(b"sBIT", b"\x0c\x0c\x0c"))), dark, atol=1)
    # as the standard has it, the 12 bits are scaled up to fill 16
    filled = _write(tmp_path / "filled.png", dark.astype(np.uint16) * 257)
    np.testing.assert_allclose(load_rgb(_with_chunk(filled, _chunk(b"sBIT", b"\x0c\x0c\x0c"))), dark, atol=1)
    grey = _write(tmp_path / "grey.png", dark[..., :1].astype(np.uint16) * 16)
    np.testing.assert_allclose(load_rgb(_with_chunk(grey, _chunk(b"sBIT", b"\x0c")))[..., 0], dark[..., 0], atol=1)


@pytest.mark.parametrize("magic", [b"P5", b"P6"])
def test_the_largest_number_of_a_pnm_is_its_range(magic: bytes) -> None:
    dark = EIGHT // 8 if magic == b"P6" else EIGHT[..., :1] // 8
    height, width = dark.shape[:2]
    header = magic + b"\n%d %d\n4095\n" % (width, height)
    rgb = load_rgb(header + (dark.astype(np.uint16) * 16).astype(">u2").tobytes())
    np.testing.assert_allclose(rgb, np.broadcast_to(dark, rgb.shape), atol=1)


def test_deep_files_that_are_cut_off_are_one_sentence(tmp_path: Path) -> None:
    for form in ("png", "ppm", "jp2"):
        content = _write(tmp_path / f"deep.{form}", EIGHT.astype(np.uint16) * 16).read_bytes()
        with pytest.raises(UserError, match=r"given as bytes is (damaged|not an image)"):
            load_rgb(content[: len(content) // 2])


def test_pictures_of_eight_bits_stay_what_they_are() -> None:
    for form in ("PNG", "PPM", "TIFF", "JPEG2000"):
        buffer = io.BytesIO()
        Image.fromarray(EIGHT // 8).save(buffer, form, **({"irreversible": False} if form == "JPEG2000" else {}))
        np.testing.assert_array_equal(load_rgb(buffer), EIGHT // 8)
