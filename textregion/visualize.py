"""Pictures to look at: overlay with a legend, heat map of the global-patch filter. The only user of matplotlib."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from . import lettering
from .image import RGB

logger = logging.getLogger(__name__)

Colours = npt.NDArray[np.uint8]

SMALLEST_SIDE = 320
"""Pictures whose longer side is less are enlarged for the overlay, by a whole factor."""
_ALIKE = 12.0
"""Colours that are closer than this in CIELAB can be mistaken for each other."""
_ROOMY = 64
"""About as many colours are that far from one another; for more words they stand closer."""
_SALT = 14623889
"""Chosen so that the words of the rendered scenes all keep their own colours, and their grounds differ clearly."""
_INK, _PAPER = (24, 24, 24), (255, 255, 255)
_BLANK_NAME = "no region"
_FONT = str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf")
_MOST_LINES = 3
_SMALLEST_LETTERS, _LARGEST_LETTERS = 14, 100


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
    blank: npt.NDArray[np.bool_] | Tensor | None = None,
    opacity: float = 0.55,
) -> Image.Image:
    """The picture under the colours of its words, with outlines, and a legend of the words that occur.

    Args:
        image: (H, W, 3) uint8.
        labels: (h, w) index of the word at every pixel; brought to the picture's size if it has another.
        words: K words.
        colours: (K, 3) uint8; None: :func:`word_colours`.
        blank: (h, w) pixels to leave uncoloured (no region is there).
        opacity: of the colours, 0 to 1.
    """
    colours = word_colours(words) if colours is None else colours
    index = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels).astype(np.int32)
    if blank is not None:
        index = np.where(np.asarray(blank.cpu() if isinstance(blank, Tensor) else blank), -1, index)
    height, width = image.shape[:2]
    if index.shape != (height, width):
        index = cv2.resize(index, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int32)
    legend = _legend(index, words, colours)
    factor = SMALLEST_SIDE // max(height, width)
    if factor > 1:
        image = image.repeat(factor, 0).repeat(factor, 1)
        index = index.repeat(factor, 0).repeat(factor, 1)
    return _beside_legend(Image.fromarray(_tint(image, index, colours, opacity)), legend)


def _tint(image: RGB, index: npt.NDArray[np.int32], colours: Colours, opacity: float) -> RGB:
    """Colours over the picture; every coloured area is edged on its inside in its own full colour, and in white."""
    table = np.concatenate([colours, np.zeros((1, 3), np.uint8)])
    shown = (index >= 0).view(np.uint8)
    flat = table[index]
    tinted = image.copy()
    cv2.copyTo(cv2.addWeighted(image, 1 - opacity, flat, opacity, 0), shown, tinted)
    line = max(1, round(min(index.shape) / 500))
    for reach, solid in ((3 * line, flat), (line, np.full_like(flat, 255))):
        cv2.copyTo(solid, _edges(index, reach).view(np.uint8) & shown, tinted)
    return tinted


def _edges(index: npt.NDArray[np.int32], reach: int) -> npt.NDArray[np.bool_]:
    """Pixels that have another label within ``reach`` pixels (chessboard distance)."""
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    values = index.astype(np.float32)
    edges: npt.NDArray[np.bool_] = cv2.dilate(values, kernel) != cv2.erode(values, kernel)
    return edges


@dataclass(frozen=True)
class _Entry:
    text: str
    font: str
    share: str
    colour: tuple[int, ...]


def _legend(index: npt.NDArray[np.int32], words: Sequence[str], colours: Colours) -> list[_Entry]:
    """Words that occur with their share of the picture, the largest first; uncoloured pixels last."""
    counts = np.bincount(index.ravel() + 1, minlength=len(words) + 1)
    present = sorted((k for k in range(len(words)) if counts[k + 1]), key=lambda k: (-counts[k + 1], words[k]))
    entries = [
        _Entry(*_written(words[k], k), _share(counts[k + 1] / index.size), tuple(map(int, colours[k]))) for k in present
    ]
    if counts[0]:
        entries.append(_Entry(_BLANK_NAME, _FONT, _share(counts[0] / index.size), _PAPER))
    return entries


def _written(word: str, number: int) -> tuple[str, str]:
    """What stands for a word, and in which font: the word, symbols by their names, or its number in the list."""
    text = lettering.visible(word)
    for shown in (text, lettering.spell_symbols(text, lambda symbol: _has_letters(_FONT, symbol))):
        font = _font_with(shown)
        if shown and font is not None:
            return shown, font
    logger.warning("No font of this machine has the letters of %r: the legend calls it 'word %d'.", word[:60], number)
    return f"word {number}", _FONT


@functools.lru_cache(maxsize=1024)
def _font_with(text: str) -> str | None:
    """The first font that has all letters of a text, the usual one before the others of the machine."""
    plain = (font for font in fontManager.ttflist if (font.style, font.weight) == ("normal", 400))
    others = (font.fname for font in plain if "lastresort" not in font.name.lower().replace(" ", ""))
    return next((font for font in itertools.chain([_FONT], others) if _has_letters(font, text)), None)


def _has_letters(font: str, text: str) -> bool:
    try:
        face = FT2Font(font)
    except (RuntimeError, OSError):  # a damaged font, or one that is gone
        return False
    return face.scalable and all(face.get_char_index(ord(letter)) or letter in lettering.JOINERS for letter in text)


def _share(fraction: float) -> str:
    return f"{fraction:.1%}" if fraction >= 0.001 else "<0.1%"


def _beside_legend(picture: Image.Image, entries: Sequence[_Entry]) -> Image.Image:
    """The picture with its legend: to the right of a tall one, under a wide one."""
    size = min(max(_SMALLEST_LETTERS, round(max(picture.size) * 0.02)), _LARGEST_LETTERS)
    if picture.height > picture.width:
        width = max(14 * size, round(picture.width * 0.4))
        panel = _panel(entries, size, width, height=picture.height)
        canvas = Image.new("RGB", (picture.width + panel.width, max(picture.height, panel.height)), _PAPER)
        canvas.paste(panel, (picture.width, 0))
    else:
        panel = _panel(entries, size, max(14 * size, picture.width))
        canvas = Image.new("RGB", (max(picture.width, panel.width), picture.height + panel.height), _PAPER)
        canvas.paste(panel, (0, picture.height))
    canvas.paste(picture, (0, 0))
    return canvas


def _panel(entries: Sequence[_Entry], size: int, width: int, height: int | None = None) -> Image.Image:
    """Entries in columns that are read downwards: as many columns as the width takes, or, where a height is given, as
    few (of at most four) as that height takes."""
    fonts = {name: ImageFont.truetype(name, size) for name in {_FONT, *(entry.font for entry in entries)}}
    swatch, gap, row = round(size * 1.2), size // 2, round(size * 1.5)
    room = min(width - 3 * gap - swatch, 18 * size)
    written = [_lines(entry, fonts, room) for entry in entries]
    widest = max((width for _, _, width in written), default=0.0)
    column_width = round(widest) + swatch + 3 * gap
    tops = [row * sum(len(lines) for lines, _, _ in written[:i]) for i in range(len(written) + 1)]
    columns = width // column_width if height is None else min(4, -(-tops[-1] // max(1, height - 2 * gap)))
    columns = max(1, min(columns, len(entries)))
    column_of = [top * columns // tops[-1] for top in tops[:-1]]
    starts = [tops[column_of.index(column)] for column in column_of]
    tallest = max((tops[i + 1] - starts[i] for i in range(len(entries))), default=0)
    panel = Image.new("RGB", (max(column_width * columns, 0 if height else width), tallest + 2 * gap), _PAPER)
    draw = ImageDraw.Draw(panel)
    for entry, (lines, behind, _), top, start, column in zip(entries, written, tops, starts, column_of):
        left, middle = column * column_width + gap, gap + top - start + row // 2
        box = (left, middle - swatch // 2, left + swatch, middle + swatch // 2)
        draw.rectangle(box, fill=entry.colour, outline=_INK, width=max(1, size // 14))
        left += swatch + gap
        for text in lines:
            draw.text((left, middle), text, fill=_INK, font=fonts[entry.font], anchor="lm")
            middle += row
        draw.text((left + behind, middle - row), entry.share, fill=_INK, font=fonts[_FONT], anchor="lm")
    return panel


def _lines(entry: _Entry, fonts: dict[str, ImageFont.FreeTypeFont], room: float) -> tuple[list[str], float, float]:
    """The word's lines, how far behind the start of the last its share stands, and the width of them all.

    The share is drawn by itself, or it would stand in front of a word that is read from right to left.
    """
    measure, share = fonts[entry.font].getlength, fonts[_FONT].getlength(entry.share)
    lines = [lettering.as_drawn(line) for line in lettering.wrap(entry.text, measure, room, _MOST_LINES)]
    behind = measure(lines[-1]) + fonts[_FONT].getlength("  ")
    if behind + share > room:
        lines.append("")
        behind = 0.0
    return lines, behind, max(behind + share, *map(measure, lines))


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
