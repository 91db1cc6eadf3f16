"""Pictures to look at: overlay with names and a legend, heat map of the global-patch filter."""

from __future__ import annotations

import hashlib
import io
import itertools
import logging
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from . import fonts, legend, tint
from .image import RGB
from .tint import Colours, Index, Style

logger = logging.getLogger(__name__)

SMALLEST_SIDE = 320
"""Pictures whose longer side is less are enlarged for the overlay, by a whole factor."""
_ALIKE = 12.0
"""Colours that are closer than this in CIELAB can be mistaken for each other."""
_ROOMY = 64
"""About as many colours are that far from one another; for more words they stand closer."""
_SALT = 14623889
"""Chosen so that the words of the rendered scenes all keep their own colours, and their grounds differ clearly."""
UNSURE_BELOW = 0.5
"""Below this confidence the other words together are more likely."""


def word_colours(words: Sequence[str]) -> Colours:
    """(K, 3) uint8 RGB: a colour a word, from the word itself.

    Hue, lightness and chroma come from a hash of the word. Where two words of a list would look alike, the
    one that comes later in the alphabet takes the next colour of its own sequence, so that the order of the words does
    not matter.
    """
    taken: dict[str, Colours] = {}
    alike = _ALIKE * min(1.0, (_ROOMY / max(1, len(set(words)))) ** (1 / 3))
    seen = np.zeros((0, 3), np.float32)
    for word in sorted(set(words)):
        taken[word], place = _free_colour(word, seen, alike)
        seen = np.concatenate([seen, place])
    return np.array([taken[word] for word in words], dtype=np.uint8).reshape(-1, 3)


def _free_colour(word: str, seen: npt.NDArray[np.float32], alike: float) -> tuple[Colours, npt.NDArray[np.float32]]:
    """The word's first colour that is far from those seen, and its place (1, 3) in CIELAB, where distances are as the
    eye sees them; what counts as far shrinks with every attempt."""
    for attempt in itertools.count():
        colour = _hashed_colour(word, attempt)
        place = np.asarray(cv2.cvtColor(colour[None, None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0], np.float32)
        if np.linalg.norm(seen - place, axis=1).min(initial=np.inf) >= alike * 0.97**attempt:
            return colour, place
    raise AssertionError("the colours of a word never end")


def _hashed_colour(word: str, attempt: int) -> Colours:
    digest = hashlib.sha256(f"{_SALT + attempt}:{word}".encode("utf-8", "surrogatepass")).digest()
    hue = int.from_bytes(digest[:4], "big") / 2**32 * 2 * np.pi
    lightness, chroma = 44 + 44 * digest[4] / 255, 38 + 32 * digest[5] / 255
    lab = np.array([[[lightness, chroma * np.cos(hue), chroma * np.sin(hue)]]], dtype=np.float32)
    rgb: Colours = np.clip(np.rint(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)[0, 0] * 255), 0, 255).astype(np.uint8)
    return rgb


def overlay(
    image: RGB,
    labels: npt.NDArray[np.integer] | Tensor,
    words: Sequence[str],
    *,
    colours: Colours | None = None,
    confidence: npt.NDArray[np.floating] | Tensor | None = None,
    unsure_below: float = UNSURE_BELOW,
    style: Style = "both",
    opacity: float = 0.7,
    blank_name: str = "no region",
) -> Image.Image:
    """A picture with its words: their colours over it, their names on it, and below it a legend with their shares.

    Colours keep the light and shade of the picture. A name stands on its region, at the most inner point at which it
    fits; one for all pieces of a thing. Small pictures are enlarged by a whole factor.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) index of each pixel's word, or (h, w) of a smaller map; pixels with another value (-1, 255) stay
            as they are, and are white in the legend.
        words: K words.
        colours: (K, 3) of the words (:func:`word_colours` where None).
        confidence: of each label, of the same shape. None: nothing is striped.
        unsure_below: areas of a lower confidence are striped.
        style: colours on areas ("fill"), on their borders ("outline"), or on "both".
        opacity: of the areas' colours, 0 to 1.
        blank_name: what the legend calls pixels without a word.
    """
    colours = word_colours(words) if colours is None else colours[: len(words)]
    size_hw = image.shape[0], image.shape[1]
    index = _plain_index(_array(labels), len(words), size_hw)
    unsure = (
        None if confidence is None else _unsure_areas(_array(confidence) < unsure_below, index < len(words), size_hw)
    )
    factor = SMALLEST_SIDE // max(size_hw)
    if factor > 1:
        image = image.repeat(factor, 0).repeat(factor, 1)
        index = index.repeat(factor, 0).repeat(factor, 1)
        unsure = None if unsure is None else unsure.repeat(factor, 0).repeat(factor, 1)
    written = [fonts.written(word, number) for number, word in enumerate(words)]
    below = _legend(index, written, colours, blank_name, None if unsure is None else float(unsure.mean()), unsure_below)
    height, width = index.shape
    canvas = Image.new("RGB", (max(width, below.width), height + below.height), legend.PAPER)
    for top, rows in tint.coloured(image, index, colours, style=style, opacity=opacity, unsure=unsure):
        canvas.paste(Image.fromarray(rows), (0, top))
    legend.draw_names(canvas, index, written, colours)
    canvas.paste(below, (0, height))
    return canvas


def _array(values: npt.NDArray[Any] | Tensor) -> npt.NDArray[Any]:
    return np.asarray(values.cpu() if isinstance(values, Tensor) else values)


def _plain_index(labels: npt.NDArray[np.integer], count: int, size_hw: tuple[int, int]) -> Index:
    """Labels at the picture's size in as few bytes as they take; those of no word are ``count``."""
    kind = np.uint8 if count < 256 else np.uint16
    return _at_size(np.where((labels >= 0) & (labels < count), labels, count).astype(kind), size_hw)


def _unsure_areas(
    unsure: npt.NDArray[np.bool_], named: npt.NDArray[np.bool_], size_hw: tuple[int, int]
) -> npt.NDArray[np.uint8] | None:
    """(H, W), 1 where a label is unsure, without the thin seams between regions; None where there is no such area."""
    reach = 4 * tint.border_width(size_hw) + 1
    areas = cv2.morphologyEx(
        _at_size(unsure.astype(np.uint8), size_hw) & named, cv2.MORPH_OPEN, np.ones((reach, reach), np.uint8)
    )
    return np.asarray(areas, np.uint8) if areas.any() else None


def _at_size(values: Any, size_hw: tuple[int, int]) -> Any:
    return values if values.shape == size_hw else cv2.resize(values, size_hw[::-1], interpolation=cv2.INTER_NEAREST)


def _legend(
    index: Index,
    words: Sequence[tuple[str, str]],
    colours: Colours,
    blank_name: str,
    unsure: float | None,
    unsure_below: float,
) -> Image.Image:
    """Words that occur with their share of the picture, the largest first; pixels without a word last."""
    counts = np.bincount(index.ravel(), minlength=len(words) + 1)
    present = sorted((k for k in range(len(words)) if counts[k]), key=lambda k: (-counts[k], words[k]))
    shares = [legend.share(count / index.size) for count in counts]
    entries = [legend.Entry(*words[k], shares[k], tuple(map(int, colours[k]))) for k in present]
    if counts[len(words)]:
        entries.append(legend.Entry(blank_name, fonts.USUAL, shares[-1], legend.PAPER))
    if unsure is not None:
        text = f"less than {unsure_below:.0%} sure"
        entries.append(legend.Entry(text, fonts.USUAL, legend.share(unsure), (128, 128, 128), striped=True))
    return legend.panel(entries, (index.shape[0], index.shape[1]))


def locality_map(image: RGB, locality: Tensor, threshold: float) -> Image.Image:
    """The locality of every patch (section 7) over the picture, with a colour bar on which the threshold is marked.

    Args:
        image: (H, W, 3) uint8.
        locality: (gh, gw), as in :attr:`RegionTokens.locality`.
        threshold: patches below it are dropped; they are blue and crossed.
    """
    height, width = image.shape[:2]
    values = locality.detach().float().cpu().numpy()
    dropped = values < threshold
    reach = max(float(np.abs(values - threshold).max()), 1e-6)
    # Matplotlib's sizes are in inches; the text is legible in a figure of this size, whatever the picture's.
    scale = 9.0 / max(height, width)
    figure = Figure(
        figsize=(max(width * scale, 3.0) + 1.8, max(height * scale, 3.0) + 0.8), dpi=120, layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    extent = (0, width, height, 0)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)  # the map's colours are the only ones
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent)
    norm = Normalize(threshold - reach, threshold + reach)
    shown = axes.imshow(values, cmap="RdBu_r", norm=norm, alpha=0.6, extent=extent, interpolation="nearest")
    _cross_out(axes, dropped, (height, width))
    bar = figure.colorbar(shown, ax=axes, label="own regions minus other regions (cosine)")
    bar.ax.axhline(threshold, color="black", linewidth=2)
    bar.ax.text(
        -0.2,
        threshold,
        f"{threshold:g}",
        ha="right",
        va="center",
        weight="bold",
        transform=bar.ax.get_yaxis_transform(),
    )
    axes.set_title(f"{int(dropped.sum())} of {dropped.size} patches are below {threshold:g} (crosses)")
    if scale * min(height, width) < 1:
        axes.set_aspect("auto")  # a strip of a picture is spread out
    axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def _cross_out(axes: Axes, dropped: npt.NDArray[np.bool_], size_hw: tuple[int, int]) -> None:
    """A cross in the middle of every dropped patch."""
    rows, cols = np.nonzero(dropped)
    step_y, step_x = size_hw[0] / dropped.shape[0], size_hw[1] / dropped.shape[1]
    area = float(np.clip(4000 / dropped.size, 4, 60))
    axes.scatter((cols + 0.5) * step_x, (rows + 0.5) * step_y, s=area, marker="x", color="black", linewidths=1)


def show(image: Image.Image, title: str) -> None:
    """Open a window with a picture and wait until it is closed; without a display, say so in the log."""
    from matplotlib import pyplot

    if pyplot.get_backend().lower() == "agg":
        logger.warning("There is no display to show %s on: see the file instead.", title)
        return
    figure, axes = pyplot.subplots(num=title, layout="constrained")
    axes.imshow(image)
    axes.set_axis_off()
    pyplot.show()
    pyplot.close(figure)
