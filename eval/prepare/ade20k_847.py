"""ADE20K with 847 classes: the full release's validation pictures, made smaller, with 16-bit labels."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from eval.prepare.common import UINT16_IGNORED, MissingSource, Report, Split, make_all, need, save_image, save_lines
from eval.shared.label_maps import open_image
from eval.shared.orientation import orientation_of, turn_of_labels, turned
from textregion.image import load_rgb
from utils.text_files import visible

FOLDER = "ADE20K_2021_17_01"
COUNT = 2000
SHORT_SIDE = 512
# Line by line, the index in the full release of every label, then its name.
_TABLE = Path(__file__).with_name("ade20k_847.tsv")
_ORIGIN = "ADE20K_2021_17_01.zip, the full release, from ade20k.csail.mit.edu (after registration)"


def convert(data_root: Path, workers: int) -> Report:
    """Write ``images_detectron2/validation/*.jpg``, ``annotations_detectron2/validation/*.tif`` and ``validation.txt``.

    Raises:
        MissingSource: the full release is not there.
    """
    folder = data_root / FOLDER
    source = need(folder / "images", "ade20k_847", f"{_ORIGIN} into {data_root}")
    pictures = {path.stem: path for path in visible(source.rglob("ADE_val_*.jpg"))}
    if not pictures:
        raise MissingSource(f"ade20k_847: no ADE_val_*.jpg below {source}; unpack {_ORIGIN}")
    target = folder / "annotations_detectron2" / "validation"
    jobs = [(pictures[stem], target / f"{stem}.tif") for stem in sorted(pictures)]
    split = make_all(make_pair, jobs, Split("validation", COUNT), workers, "ade20k_847 validation")
    save_lines(sorted(pictures), folder / "validation.txt")
    return Report("ade20k_847", folder, (split,))


@cache
def labels_by_index() -> np.ndarray:
    """Index in the full release, 0..65535 -> label, 0..846 or 65535; (65536,) uint16."""
    indices = [int(line.split("\t")[0]) for line in _TABLE.read_text(encoding="utf-8").splitlines()[1:]]
    table = np.full(2**16, UINT16_IGNORED, dtype=np.uint16)
    table[indices] = np.arange(len(indices), dtype=np.uint16)
    return table


def make_pair(picture: Path, target: Path) -> None:
    """One picture and its label map, both made smaller where the short side is above 512."""
    path = picture.with_name(f"{picture.stem}_seg.png")
    with open_image(picture, "Picture") as image, open_image(path, "Segments") as segments:
        if segments.mode not in ("RGB", "RGBA"):
            raise ValueError(f"{path} is a picture of mode {segments.mode}, but segments are coded by colours")
        try:
            turn = turn_of_labels(orientation_of(segments), orientation_of(image))
        except ValueError as error:
            raise ValueError(f"{path} has {error}") from None
        upright = Image.fromarray(np.ascontiguousarray(turned(np.asarray(segments.convert("RGB")), turn)))
    size = _smaller(upright.size)
    colours = np.asarray(upright.resize(size, Image.Resampling.NEAREST)).astype(np.uint16)
    pixels = np.asarray(Image.fromarray(load_rgb(picture)).resize(size, Image.Resampling.BILINEAR))
    # The label is the mark of a finished pair, so it comes last.
    folder = target.parents[2] / "images_detectron2" / target.parent.name
    save_image(pixels, folder / f"{target.stem}.jpg")
    index = colours[..., 0] // 10 * 256 + colours[..., 1]
    save_image(labels_by_index()[index], target, compression="tiff_adobe_deflate")


def _smaller(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height with a short side of at most 512; the long side is rounded."""
    width, height = size_wh
    short = min(size_wh)
    if short <= SHORT_SIDE:
        return size_wh
    return round(width / short * SHORT_SIDE), round(height / short * SHORT_SIDE)
