"""Label maps of every bit depth, written byte by byte here, and which way up they belong to their picture."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.shared.label_maps import read_label_map, read_labels
from textregion import UserError
from textregion.image import load_rgb

GREY, PALETTE = 0, 3
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row and column, and the steps between rows and columns, of the passes of an interlaced PNG."""


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of whole numbers as bits, each row padded to whole bytes and led by PNG's filter of none."""
    rows = []
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row.tolist())
        text += "0" * (-len(text) % 8)
        rows.append(b"\0" + int(text, 2).to_bytes(len(text) // 8, "big"))
    return b"".join(rows)


def write_png(
    path: Path, values: np.ndarray, bits: int, kind: int, *, interlaced: bool = False, clear: bytes | None = None
) -> Path:
    """A PNG after the letter of its specification, without Pillow."""
    passes = [values[top::down, left::right] for top, left, down, right in ADAM7] if interlaced else [values]
    height, width = values.shape
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, int(interlaced)))]
    if kind == PALETTE:
        chunks.append((b"PLTE", bytes(range(3 * 2**bits)) if bits < 8 else bytes(range(256)) * 3))
    if clear is not None:
        chunks.append((b"tRNS", clear))
    chunks += [(b"IDAT", zlib.compress(b"".join(packed(part, bits) for part in passes if part.size))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in chunks:
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    path.write_bytes(data)
    return path


def values_of(bits: int) -> np.ndarray:
    """All values of a bit depth (of 16 bits: some), in no order, in a picture whose rows end within a byte."""
    values = np.arange(2**bits) if bits < 16 else np.array([0, 1, 254, 255, 256, 257, 4369, 65534, 65535])
    return np.resize(np.random.default_rng(bits).permutation(values), (19, 13))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("clear", [None, 1])
@pytest.mark.parametrize(
    ("kind", "bits"), [*((GREY, bits) for bits in (1, 2, 4, 8, 16)), *((PALETTE, bits) for bits in (1, 2, 4, 8))]
)
def test_png_values_are_read_as_stored(
    kind: int, bits: int, clear: int | None, interlaced: bool, tmp_path: Path
) -> None:
    values = values_of(bits)
    transparent = None if clear is None else bytes([255, 0]) if kind == PALETTE else struct.pack(">H", clear)
    path = write_png(tmp_path / "labels.png", values, bits, kind, interlaced=interlaced, clear=transparent)
    read = read_label_map(path)
    assert read.values.tolist() == values.tolist() and read.turn is None


def write_tiff(path: Path, values: np.ndarray, bits: int, photometric: int, compression: int = 1) -> Path:
    """A TIFF of one strip, without Pillow."""
    rows = packed(values, bits)
    step = 1 + -(-values.shape[1] * bits // 8)
    strip = b"".join(rows[start + 1 : start + step] for start in range(0, len(rows), step))
    if bits == 16:
        strip = values.astype("<u2").tobytes()
    if compression == 8:
        strip = zlib.compress(strip)
    palette = photometric == PALETTE
    tags = [(256, 3, 1, values.shape[1]), (257, 3, 1, values.shape[0]), (258, 3, 1, bits), (259, 3, 1, compression)]
    tags += [(262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, values.shape[0])]
    tags += [(279, 4, 1, len(strip))]
    colours = struct.pack(f"<{3 * 2**bits}H", *range(3 * 2**bits)) if palette else b""
    if palette:
        tags.append((320, 3, 3 * 2**bits, 8 + len(strip)))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + b"\0\0\0\0"
    start = 8 + len(strip) + len(colours)
    path.write_bytes(b"II*\0" + struct.pack("<I", start) + strip + colours + directory)
    return path


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(
    ("photometric", "bits"),
    [
        *((0, bits) for bits in (1, 2, 4, 8)),  # white is zero
        *((1, bits) for bits in (1, 2, 4, 8, 16)),
        *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    ],
)
def test_tiff_values_are_read_as_stored(photometric: int, bits: int, compression: int, tmp_path: Path) -> None:
    values = values_of(bits)
    path = write_tiff(tmp_path / "labels.tif", values, bits, photometric, compression)
    assert read_label_map(path).values.tolist() == values.tolist()


@pytest.mark.parametrize(("magic", "top"), [("P2", 5), ("P5", 20), ("P5", 255), ("P5", 300), ("P5", 65535), ("P1", 1)])
def test_grey_maps_of_any_maximum_are_read_as_stored(magic: str, top: int, tmp_path: Path) -> None:
    values = np.resize(np.arange(top + 1), (3, 7)) if top < 300 else np.array([[0, 1, 256, top - 1, top]])
    height, width = values.shape
    header = f"{magic} {width} {height} " + (f"{top}\n" if magic != "P1" else "\n")
    plain = " ".join(map(str, values.ravel())).encode()
    raw = values.astype(np.uint8 if top < 256 else ">u2").tobytes()
    path = tmp_path / "labels.pgm"
    path.write_bytes(header.encode() + (raw if magic == "P5" else plain))
    assert read_label_map(path).values.tolist() == values.tolist()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK", "F"])
def test_what_is_no_index_is_refused(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("labels.tif" if mode in ("CMYK", "F") else "labels.png")
    Image.new(mode, (4, 3)).save(path)
    with pytest.raises(UserError, match=rf"labels\.\w+' is a picture of mode {mode}: .*the number of its class"):
        read_label_map(path)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def write_pair(folder: Path, upright: np.ndarray, orientation: int, suffix: str = ".png") -> Path:
    """A picture that its EXIF turns; upright, its red is ``upright``."""
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    stored = np.asarray(Image.fromarray(upright).transpose(TURNS[undo])) if orientation > 1 else upright
    path = folder / f"picture{suffix}"
    settings = {"tiffinfo": {274: orientation}} if suffix == ".tif" else {"exif": exif_of(orientation)}
    Image.fromarray(np.repeat(stored[..., None], 3, 2)).save(path, **settings)
    assert np.array_equal(load_rgb(path)[..., 0], upright)
    return path


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What EXIF says of each orientation (PIL's rotations are counter-clockwise)."""
SHAPES = [(4, 6), (5, 5)]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_are_upright_unless_only_the_stored_size_fits(
    tmp_path: Path, orientation: int, shape: tuple[int, int], suffix: str
) -> None:
    upright = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    picture = write_pair(tmp_path, upright, orientation, suffix)
    Image.fromarray(upright).save(tmp_path / "labels.png")
    assert np.array_equal(read_labels(tmp_path / "labels.png", picture), upright)
    if orientation > 4 and shape[0] != shape[1]:  # drawn on the stored pixels: no other way to fit
        undone = Image.fromarray(upright).transpose(TURNS[{6: 8, 8: 6}.get(orientation, orientation)])
        undone.save(tmp_path / "stored.png")
        assert np.array_equal(read_labels(tmp_path / "stored.png", picture), upright)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_labels_with_exif_of_their_own(tmp_path: Path, orientation: int, shape: tuple[int, int], suffix: str) -> None:
    upright = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    picture = write_pair(tmp_path, upright, orientation)
    stored = Image.fromarray(upright).transpose(TURNS[{6: 8, 8: 6}.get(orientation, orientation)])
    settings = {"tiffinfo": {274: orientation}} if suffix == ".tif" else {"exif": exif_of(orientation)}
    labels = tmp_path / f"labels{suffix}"
    stored.save(labels, **settings)  # stored as the picture is, and says so
    assert np.array_equal(read_labels(labels, picture), upright)
    assert np.array_equal(read_label_map(labels).values, stored)
    if (
        orientation > 4 and shape[0] != shape[1]
    ):  # upright, with the picture's EXIF copied over: turned, it does not fit
        Image.fromarray(upright).save(labels, **settings)
        assert np.array_equal(read_labels(labels, picture), upright)


def test_a_map_of_another_size_is_refused_with_both(tmp_path: Path) -> None:
    picture = write_pair(tmp_path, np.zeros((4, 6), np.uint8), 6)
    Image.new("L", (7, 4)).save(tmp_path / "labels.png")
    with pytest.raises(UserError, match=r"labels\.png' does not fit .*has 7 x 4 pixels, but its picture has 4 x 6"):
        read_labels(tmp_path / "labels.png", picture)
