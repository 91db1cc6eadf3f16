"""Pictures of every kind, whole and damaged, under names of every kind; and what must come of them."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import ExifTags, Image
from skimage import data

import TextRegionSegmenter as demo
from tests.test_demo import check_results
from textregion import cli

MODES_OF = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    # Pillow below 13 cannot read what it writes in YCbCr.
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "PPM": ("1", "L", "RGB", "I"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA"),
}
GREYS = ("L", "LA", "I;16", "I", "F")
WITH_EXIF = ("PNG", "JPEG", "TIFF", "WEBP")
WITH_FRAMES = ("PNG", "GIF", "WEBP", "TIFF")
WITH_TRANSPARENCY = (("PNG", "1"), ("PNG", "L"), ("PNG", "P"), ("GIF", "P"))
HOW = ["whole"] * 5 + ["cut", "cut", "flipped", "flipped", "missing", "empty", "text"]
WORDS = ["dog", "sky"]
REMARKS = ("pictures:", "No region was found: dense", "No font of this machine", "The text ", "Picture ")
"""What stderr holds when nothing is wrong: the bar, and what is said of tiny pictures, strange words, deep pictures."""
RESULTS = {"labels.png", "overlay.png", "regions.json"}
_NO_PICTURE = {"empty": b"", "text": b"no picture, but a text\n" * 9}
SUFFIXES = (".png", ".jpg", ".JPEG", ".gif", ".webp", ".tif", ".txt", ".tar.gz", "")
LETTERS = "ab. \t\n\r\v'\"`$&|;*?[]{}%\\~#!<>-_é名ńש🐶\u202e\u2028\x07\x1b\x7f\udcff"
LONGEST_NAME = 255


@dataclass(frozen=True)
class Drawn:
    """What a picture file is made of."""

    name: str
    form: str
    mode: str
    saved_size: tuple[int, int]
    orientation: int | None
    frames: int
    transparent: bool
    how: str
    """``whole``, or what is wrong with it."""
    seed: int

    @property
    def size(self) -> tuple[int, int] | None:
        """Upright width and height; None: damaged or pages of anything: nothing or another size may come of it."""
        if self.how != "whole" or (self.form == "TIFF" and self.mode in GREYS and self.frames > 1):
            return None
        return self.saved_size[::-1] if (self.orientation or 1) > 4 else self.saved_size

    def content(self) -> bytes:
        """The file."""
        if self.how in _NO_PICTURE:
            return _NO_PICTURE[self.how]
        image = _pixels(self.mode, self.saved_size, self.seed)
        settings: dict[str, Any] = {"transparency": 0} if self.transparent else {}
        if self.orientation is not None:
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = self.orientation
            settings["exif"] = exif
        if self.frames > 1:
            others = [image.rotate(7 * turn) for turn in range(1, self.frames)]
            settings |= {"save_all": True, "append_images": others}
        buffer = io.BytesIO()
        image.save(buffer, self.form, **settings)
        return _damaged(buffer.getvalue(), self.how, self.seed)


def _stem(letters: str) -> bool:
    return letters.strip(".") != "" and "/" not in letters


names = st.builds(
    lambda stem, repeat, suffix: _fit(stem * repeat, suffix),
    st.one_of(
        st.sampled_from(["a", "a  b", "it's", 'the "one"', "two\nlines", "名前", "קובץ"]),
        st.text(LETTERS, min_size=1, max_size=12),
    ).filter(_stem),
    st.sampled_from([1, 1, 1, 1, 1, 1, 300]),
    st.sampled_from(SUFFIXES),
)
sizes = st.one_of(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from([(1, 1), (1, 2), (2, 1), (1, 500), (500, 1), (4000, 30), (30, 4000), (4000, 1), (3, 4000)]),
)


def _fit(stem: str, suffix: str) -> str:
    """The name, as long as a file's may be."""
    while len(os.fsencode(stem + suffix)) > LONGEST_NAME:
        stem = stem[:-1]
    return stem + suffix


def _pixels(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    """A piece of a photograph in a mode."""
    rng = np.random.default_rng(seed)
    left, top = rng.integers(0, 256, 2).tolist()
    photo = Image.fromarray(data.astronaut()).crop((left, top, left + 256, top + 256)).resize(size)
    if mode in ("I;16", "I", "F"):
        grey = np.asarray(photo.convert("L")) / 255.0
        if mode != "F":
            return Image.fromarray((grey * rng.choice([255, 65535])).astype(np.uint16 if mode == "I;16" else np.int32))
        grey = (grey * rng.choice([1.0, 255.0, 1e30]) - rng.choice([0.0, 0.5])).astype(np.float32)
        grey.ravel()[0] = rng.choice(np.float32([0, np.nan, np.inf, -np.inf]))
        return Image.fromarray(grey)
    image = photo.convert("RGB").convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(rng.integers(0, 256, (size[1], size[0]), np.uint8)))
    return image


def _damaged(content: bytes, how: str, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    if how == "cut":
        return content[: int(rng.integers(1, len(content)))]
    if how == "flipped":
        flipped = bytearray(content)
        for place in rng.integers(0, rng.choice([40, len(content)]), rng.integers(1, 9)):
            flipped[place % len(content)] = int(rng.integers(0, 256))
        return bytes(flipped)
    return content


@st.composite
def pictures(draw: st.DrawFn) -> Drawn:
    """Any picture file."""
    name, how = draw(names), draw(st.sampled_from(HOW))
    if how == "missing" and glob.has_magic(name):
        how = "empty"  # a pattern that matches nothing ends the run before any picture is looked at
    form, mode = draw(st.sampled_from([(form, mode) for form, modes in MODES_OF.items() for mode in modes]))
    return Drawn(
        name,
        form,
        mode,
        draw(sizes),
        orientation=draw(st.one_of(st.none(), st.integers(1, 8))) if form in WITH_EXIF else None,
        frames=draw(st.sampled_from([1, 1, 3])) if form in WITH_FRAMES else 1,
        transparent=(form, mode) in WITH_TRANSPARENCY and draw(st.booleans()),
        how=how,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def write(drawn: Sequence[Drawn], folder: Path) -> list[Path]:
    """The files, in a folder."""
    paths = [folder / picture.name for picture in drawn]
    for picture, path in zip(drawn, paths):
        if picture.how != "missing":
            path.write_bytes(picture.content())
    return paths


def run(*argv: str) -> tuple[int, list[str], list[str]]:
    """The demo as on a terminal that knows ASCII only: exit status, lines on stdout, on stderr but for remarks."""
    out, err = io.TextIOWrapper(io.BytesIO(), "ascii"), io.TextIOWrapper(io.BytesIO(), "ascii", "backslashreplace")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 2 * 10**6)  # twice as many are refused
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        cli.run(lambda: demo.main(argv))
    printed = []
    for stream in (out, err):
        stream.flush()
        printed.append(stream.buffer.getvalue().decode().replace("\r", "\n").splitlines())  # type: ignore[attr-defined]
    assert isinstance(end.value.code, int)
    return end.value.code, printed[0], [line for line in printed[1] if line.strip() and not line.startswith(REMARKS)]


def check_run(drawn: Sequence[Drawn], folder: Path) -> int:
    """Segment pictures and check everything that comes of it; how many were segmented."""
    paths, out = write(drawn, folder), folder / "the results"
    argv = ["--image_list", *map(str, paths), "--labels", *WORDS, "--output_dir", str(out)]
    jobs = demo.plan_jobs(demo.build_parser().parse_args(argv))
    assert [job.picture for job in jobs] == paths
    status, said, errors = run(*argv)
    done = [job for job in jobs if job.result("regions.json").exists()]
    failed = [job for job in jobs if job not in done]
    assert status == (2 if failed else 0), errors
    assert len(errors) == len(failed)
    for job, line in zip(failed, errors):
        assert line.startswith("error: Picture " + repr(str(job.picture)).encode("ascii", "backslashreplace").decode())
    assert len(said) == (1 if done or len(jobs) > 1 else 0)
    expected = {f"{job.prefix.name}_{kind}" for job in done for kind in RESULTS}
    assert len(expected) == len(done) * len(RESULTS)
    expected |= {demo.COCO_FILE} if done else set()
    assert set(os.listdir(out) if out.exists() else []) == expected
    for job, picture in zip(jobs, drawn):
        if job in done:
            content = check_results(out, job.prefix.name, job.picture, WORDS)
            assert picture.size in (None, tuple(content["size"][::-1]))
        else:
            assert picture.size is None, f"{picture.name!r} is whole, but: {errors}"
    return len(done)
