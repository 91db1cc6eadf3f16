"""Stage 7: region scores and masks become a class map and a confidence, band by band (method.md sections 11, 12)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .options import MaskType, Uncovered
from .region_masks import RegionMasks
from .resample import bilinear_axis, sample_points
from .runtime import first_max

CELLS, GPU_CELLS = 32, 128
"""Low-resolution pixels along a side of a block that is painted at a time."""
LOGIT_BYTES, GPU_LOGIT_BYTES = 4 * 2**20, 256 * 2**20
"""Memory for the logits of the pixels that are looked at together: on a CPU a part of its cache."""
BAND_BYTES = 64 * 2**20
"""Memory for a band of probabilities."""


@dataclass(frozen=True)
class DenseScores:
    """Scores of every patch of the fused grid, for pixels that no region covers."""

    grid: Tensor
    """(K, gh, gw)."""


@dataclass(frozen=True)
class PaintRules:
    """How scores of regions become a class map, besides the scores themselves."""

    scale: float = 50.0
    """Factor on the logits before the softmax."""
    mask_type: MaskType = "soft"
    """``soft`` clamps the masks to [0, 1]; ``hard`` takes every pixel above 0 as 1."""
    uncovered: Uncovered = "uniform"
    """What stands at pixels that no region covers."""
    dense: DenseScores | None = None
    """Needed for ``uncovered='dense'``."""
    class_of: Sequence[int] | None = None
    """Class of each word; a class's probability is the maximum over its words. None: one word a class."""
    prob_thd: float = 0.0
    """A pixel whose highest class probability is below this becomes class 0 of a class map."""


def paint(
    masks: RegionMasks, scores: Tensor, size_hw: tuple[int, int], rules: PaintRules = PaintRules()
) -> tuple[Tensor, Tensor]:
    """Class map and confidence.

    Args:
        masks: R regions.
        scores: (R, K) score of every region and word.
        size_hw: (H, W) of the map.
        rules: how they become a class map.

    Returns:
        labels (H, W) int64 and confidence (H, W) float32, the highest class probability; -1 and 0 where
        ``uncovered='none'`` leaves a pixel without a word.
    """
    painted = torch.empty(2, *size_hw, device=scores.device)
    canvas = _Canvas(masks, scores, size_hw, rules, blank=(-1.0, 0.0))
    for band in canvas.bands(canvas.block):
        canvas.render(band, _most_probable, painted[:, band.pixels])
    labels, confidence = painted[0].long(), painted[1]
    if _has_synonyms(rules.class_of):
        class_of = torch.tensor(rules.class_of, device=labels.device).unique(return_inverse=True)[1]
        labels = torch.where(labels < 0, labels, class_of[labels])
    if rules.prob_thd > 0:
        labels[(confidence < rules.prob_thd) & (labels >= 0)] = 0
    return labels, confidence


def class_probabilities(
    masks: RegionMasks, scores: Tensor, size_hw: tuple[int, int], rules: PaintRules = PaintRules()
) -> Iterator[tuple[slice, Tensor]]:
    """Probabilities of the classes, a band of rows at a time: (rows, (classes, rows, W) float32).

    The arguments are those of :func:`paint`. All are 0 where ``uncovered='none'`` leaves a pixel without a word.
    """
    canvas = _Canvas(masks, scores, size_hw, rules)

    def probabilities(logits: Tensor) -> Tensor:
        return _merge(torch.softmax(logits, 1).T, rules.class_of)

    classes = scores.shape[1] if rules.class_of is None else len(set(rules.class_of))
    rows = BAND_BYTES // (4 * classes * size_hw[1])
    for band in canvas.bands(max(1, rows * len(canvas.cell_rows) // size_hw[0])):
        painted = torch.empty(classes, band.pixels.stop - band.pixels.start, size_hw[1], device=scores.device)
        canvas.render(band, probabilities, painted)
        yield band.pixels, painted


def _most_probable(logits: Tensor) -> Tensor:
    """(n, K) -> (2, n): the first of the most probable words, and its probability."""
    # The most probable class holds the most probable word, so no class needs its own probability.
    confidence, labels = first_max(torch.softmax(logits, 1))
    return torch.stack([labels.to(confidence.dtype), confidence])


@dataclass(frozen=True)
class _Span:
    """Some neighbouring cells of an axis, and the pixels that lie in them."""

    cells: slice
    pixels: slice


class _Canvas:
    """A picture whose pixels are painted through the cells of the low-resolution masks.

    A cell lies between four neighbouring mask pixels. Where each region is wholly in a cell or wholly out of it, as
    nearly everywhere, its pixels are all alike and are looked at once; the others one by one.

    The arguments are those of :func:`paint`, and:

    Args:
        blank: V values of a pixel without a word.
    """

    def __init__(
        self,
        masks: RegionMasks,
        scores: Tensor,
        size_hw: tuple[int, int],
        rules: PaintRules,
        blank: Sequence[float] = (0.0,),
    ) -> None:
        self.blank = torch.tensor(blank, device=scores.device)[:, None]
        self.masks, self.scaled, self.scale = masks, (scores * rules.scale).float(), rules.scale
        self.uncovered, self.hard = rules.uncovered, rules.mask_type == "hard"
        on_cpu = scores.device.type == "cpu"
        self.block = CELLS if on_cpu else GPU_CELLS
        self.pixels_at_a_time = max(1, (LOGIT_BYTES if on_cpu else GPU_LOGIT_BYTES) // (4 * (scores.shape[1] + 4)))
        self.rows, self.cols = masks.axes(size_hw)
        self.cell_rows, self.row_cell = self.rows.cells()
        self.cell_cols, self.col_cell = self.cols.cells()
        self.dense, self.dense_rows, self.dense_cols = None, self.rows, self.cols
        if rules.uncovered == "dense":
            if rules.dense is None:
                raise ValueError("uncovered='dense' needs dense scores; encode the picture with a CLIP ViT encoder")
            self.dense = rules.dense.grid.permute(1, 2, 0).contiguous()
            self.dense_rows, self.dense_cols = (
                bilinear_axis(patches, pixels, scores.device) for patches, pixels in zip(self.dense.shape, size_hw)
            )

    def bands(self, cells: int) -> Iterator[_Span]:
        """The picture from top to bottom, ``cells`` rows of cells at a time."""
        return _spans(self.row_cell, cells)

    def render(self, rows: _Span, decide: Callable[[Tensor], Tensor], out: Tensor) -> None:
        """Paint a band.

        Args:
            rows: the band.
            decide: logits of the words (n, K) -> values (V, n).
            out: (V, rows, W), written to.
        """
        for cols in _spans(self.col_cell, self.block):
            self._render_block(rows, cols, decide, out[..., cols.pixels])

    def _render_block(self, rows: _Span, cols: _Span, decide: Callable[[Tensor], Tensor], out: Tensor) -> None:
        cell_rows, cell_cols = self.cell_rows[rows.cells], self.cell_cols[cols.cells]
        window = self.masks.window(cell_rows, cell_cols)
        scaled = self.scaled[window.regions]
        low, high = window.bounds(cell_rows, cell_cols)
        inside, outside = (low > 0) if self.hard else (low >= 1), high <= 0
        alike = (inside | outside).all(0)
        if self.uncovered == "dense":
            alike &= inside.any(0)
        values = inside.flatten(1).float().T
        parts = [self._decided(decide, scaled, part) for part in values.split(self.pixels_at_a_time)]
        row_cell = self.row_cell[rows.pixels] - rows.cells.start
        col_cell = self.col_cell[cols.pixels] - cols.cells.start
        of_cells = torch.cat(parts, dim=1).unflatten(1, alike.shape)
        out.copy_(of_cells[:, row_cell][..., col_cell])
        y, x = (~alike)[row_cell][:, col_cell].nonzero(as_tuple=True)
        for at_y, at_x in zip(y.split(self.pixels_at_a_time), x.split(self.pixels_at_a_time)):
            row, col = at_y + rows.pixels.start, at_x + cols.pixels.start
            values = window.at_points(self.rows[row], self.cols[col])
            values = (values > 0).float() if self.hard else values.float().clamp_(max=1)
            out[:, at_y, at_x] = self._decided(decide, scaled, values, (row, col))

    def _decided(
        self,
        decide: Callable[[Tensor], Tensor],
        scaled: Tensor,
        values: Tensor,
        at: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """What becomes of n pixels: (V, n); the arguments are those of :meth:`_logits`."""
        decided = decide(self._logits(scaled, values, at))
        if self.uncovered == "none":
            decided = torch.where((values <= 0).all(1), self.blank, decided)
        return decided

    def _logits(self, scaled: Tensor, values: Tensor, at: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Masks (n, r) at n pixels and scaled scores (r, K) -> (n, K); ``at`` has rows and columns of single pixels."""
        logits = values @ scaled
        if self.uncovered in ("uniform", "none") or (self.uncovered == "dense" and at is None):
            return logits
        bare = (values <= 0).all(1)
        if self.uncovered == "first":
            logits[:, 0].masked_fill_(bare, self.scale)
        elif self.dense is not None and at is not None and bool(bare.any()):
            row, col = (place[bare] for place in at)
            logits[bare] = sample_points(self.dense, self.dense_rows[row], self.dense_cols[col]) * self.scale
        return logits


def _spans(cell_of: Tensor, size: int) -> Iterator[_Span]:
    """Spans of ``size`` cells of an axis, of which ``cell_of`` has the cell of every pixel."""
    count = int(cell_of[-1]) + 1
    starts = torch.arange(0, count + size, size, device=cell_of.device).clamp(max=count)
    pixels = torch.searchsorted(cell_of, starts).tolist()
    for first, last, top, bottom in zip(starts.tolist(), starts[1:].tolist(), pixels, pixels[1:]):
        if last > first:
            yield _Span(slice(first, last), slice(top, bottom))


def _merge(probabilities: Tensor, class_of: Sequence[int] | None) -> Tensor:
    """(K, ...) word probabilities -> (classes, ...) the maximum over each class's words."""
    if class_of is None or not _has_synonyms(class_of):
        return probabilities
    groups: dict[int, list[int]] = {}
    for word, index in enumerate(class_of):
        groups.setdefault(index, []).append(word)
    return torch.stack([probabilities[groups[index]].amax(0) for index in sorted(groups)])


def _has_synonyms(class_of: Sequence[int] | None) -> bool:
    return class_of is not None and len(set(class_of)) < len(class_of)
