"""Stage 6: what is known of a picture once it is encoded: tokens, masks, scores, validated once; save and load."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from . import coco
from .errors import UserError, reason_of
from .files import cannot_write, replacing
from .indexing import Index, positions
from .options import MAX_SIDE
from .region_masks import RegionMasks
from .views import Box, ViewPlan

FORMAT = "textregion-regions-1"
MAX_PIXELS = 2**30
"""A file that claims a larger picture is not believed: to paint it would take all memory."""


@dataclass(frozen=True)
class DensePatches:
    """Dense embeddings of the patches of every view, for pixels that no region covers (CLIP ViT)."""

    embeddings: Tensor
    """(V, D, g, g), L2-normalised over D."""
    plan: ViewPlan


@dataclass(frozen=True)
class RegionTokens:
    """Text-aligned tokens of a picture's R regions; columns of one length, validated at construction."""

    tokens: Tensor
    """(R, D) float, L2-normalised."""
    region_masks: RegionMasks
    """The R regions' soft masks, low-resolution."""
    size_hw: tuple[int, int]
    """Height and width of the picture as it came."""
    resized_hw: tuple[int, int]
    """Height and width after the method's resize."""
    encoder: str = ""
    """Name of the encoder, so that words of another encoder are never compared with these tokens."""
    dense: DensePatches | None = None
    locality: Tensor | None = None
    """(gh, gw) figure of section 7 for every patch; None where the filter was off."""

    def __post_init__(self) -> None:
        if self.tokens.ndim != 2 or len(self.tokens) != len(self.region_masks):
            raise ValueError(
                f"expected tokens (R, D) for {len(self.region_masks)} region masks, but got {tuple(self.tokens.shape)}"
            )

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: Index) -> RegionTokens:
        """The regions that an index picks; masks, tokens and scores together.

        Args:
            index: an int (one region), a slice, a list of ints, or a boolean mask (R,); arrays and tensors as well.

        Raises:
            IndexError: out of range.
            TypeError: an index of another kind.
        """
        chosen = positions(index, len(self))
        return RegionTokens(
            self.tokens[chosen.to(self.tokens.device)],
            self.region_masks[chosen],
            self.size_hw,
            self.resized_hw,
            self.encoder,
            self.dense,
            self.locality,
        )

    @property
    def scores(self) -> Tensor:
        """(R,) SAM 2's predicted IoU."""
        return self.region_masks.scores

    @property
    def source(self) -> Tensor | None:
        """(R,) int64, which of the given masks each region came from; None: SAM 2 found them."""
        return self.region_masks.source

    def masks(self, size_hw: tuple[int, int] | None = None, regions: Index | None = None) -> Tensor:
        """(R, H, W) float16 soft masks in [0, 3], made on demand.

        Args:
            size_hw: their size; None: the picture's own.
            regions: only these, by any index that the regions themselves take.
        """
        return self.region_masks.full(size_hw or self.size_hw, regions)

    def foreground(self, region: int, size_hw: tuple[int, int] | None = None) -> Tensor:
        """(H, W) bool: where the soft mask of one region is above 0.

        Args:
            region: its index.
            size_hw: as in :meth:`masks`.
        """
        return self.region_masks.foreground(region, size_hw or self.size_hw)

    def boxes_xywh(self, size_hw: tuple[int, int] | None = None) -> Tensor:
        """(R, 4) float x, y, width, height of each mask's non-zero pixels (zeros for an empty one).

        Args:
            size_hw: size of the picture that the pixels are counted in; None: the picture's own.
        """
        boxes = torch.zeros(len(self), 4)
        for region in range(len(self)):
            mask = self.foreground(region, size_hw)
            rows, cols = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
            if len(rows):
                top, left = int(rows[0]), int(cols[0])
                boxes[region] = torch.tensor([left, top, int(cols[-1]) + 1 - left, int(rows[-1]) + 1 - top])
        return boxes

    def to_coco(
        self,
        scores: Tensor | None = None,
        words: Sequence[str] | None = None,
        *,
        image_id: int = 1,
        first_id: int = 1,
        category_ids: Sequence[int] | None = None,
    ) -> list[coco.Annotation]:
        """The regions as COCO annotations of one picture, at its own size; ``COCO.loadRes`` takes the list.

        Args:
            scores: (R, K) score of every region and word; None: every region is of category 1.
            words: the K words; each annotation then has its own under ``word``.
            image_id: the picture's in the COCO file.
            first_id: id of the first annotation.
            category_ids: ids of the K words in the COCO file; None: 1 to K.

        Returns:
            At most R annotations: ``id``, ``image_id``, ``category_id`` of the best word, ``segmentation`` (compressed
            RLE of the pixels where the soft mask is above 0), ``area`` in pixels, ``bbox`` (x, y, width, height),
            ``iscrowd`` 0, ``score`` of the best word (without words SAM 2's predicted IoU), ``predicted_iou``, and
            ``region``, the index of the region: those without a pixel at the picture's size are left out.

        Raises:
            ValueError: columns that do not fit one another.
        """
        return coco.region_annotations(
            self.region_masks,
            self.size_hw,
            scores,
            words,
            image_id=image_id,
            first_id=first_id,
            category_ids=category_ids,
        )

    def to(self, device: torch.device | str) -> RegionTokens:
        """The same regions on another device."""
        dense = self.dense and DensePatches(self.dense.embeddings.to(device), self.dense.plan)
        locality = None if self.locality is None else self.locality.to(device)
        return RegionTokens(
            self.tokens.to(device),
            self.region_masks.to(device),
            self.size_hw,
            self.resized_hw,
            self.encoder,
            dense,
            locality,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that is known to one safetensors file (to a temporary name, then renamed).

        Raises:
            UserError: the file cannot be written.
        """
        tensors = {
            "tokens": self.tokens,
            "logits": self.region_masks.logits,
            "region_of": self.region_masks.region_of,
            "scores": self.region_masks.scores,
            "stability": self.region_masks.stability,
        }
        facts: dict[str, object] = {
            "size_hw": self.size_hw,
            "resized_hw": self.resized_hw,
            "output_hw": self.region_masks.output_hw,
            "encoder": self.encoder,
        }
        if self.source is not None:
            tensors["source"] = self.source
        if self.dense is not None:
            tensors["dense"] = self.dense.embeddings
            facts["plan"] = vars(self.dense.plan)
        if self.locality is not None:
            tensors["locality"] = self.locality
        target = Path(path)
        # Cloned: safetensors refuses columns that share memory.
        columns = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
        try:
            with replacing(target) as temporary:
                temporary.write_bytes(save(columns, metadata={"format": FORMAT, "facts": json.dumps(facts)}))
        except OSError as error:
            raise cannot_write(target, error) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RegionTokens:
        """Read what :meth:`save` wrote.

        Raises:
            UserError: a file that is missing, damaged or of another kind.
        """
        name = os.fspath(path)
        try:
            with safe_open(name, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise UserError(f"File {name!r} holds no region tokens of this version: encode the picture again.")
                facts = json.loads(metadata["facts"])
                # Cloned: the file's own memory is not aligned, and products of such tensors differ in their last bits.
                tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 (not a mapping)
            return _assemble(tensors, facts)
        except UserError:
            raise
        except FileNotFoundError:
            raise UserError(f"Region file {name!r} does not exist: encode the picture and save its regions.") from None
        except Exception as error:  # made-up columns and facts raise errors of any kind; all mean the same
            raise UserError(
                f"Region file {name!r} is damaged ({reason_of(error)}): encode the picture again."
            ) from None


def _assemble(tensors: dict[str, Tensor], facts: dict[str, object]) -> RegionTokens:
    masks = RegionMasks(
        tensors["logits"],
        tensors["region_of"],
        tensors["scores"],
        tensors["stability"],
        _pair(facts["output_hw"]),
        tensors.get("source"),
    )
    dense = None
    if "dense" in tensors:
        dense = DensePatches(tensors["dense"], _plan(facts["plan"]))
    regions = RegionTokens(
        tensors["tokens"],
        masks,
        _pair(facts["size_hw"]),
        _pair(facts["resized_hw"]),
        str(facts["encoder"]),
        dense,
        tensors.get("locality"),
    )
    _check_columns(regions)
    return regions


def _check_columns(regions: RegionTokens) -> None:
    """Refuse values that no picture's regions have, so that they never reach a score or a label map."""
    masks, logits = regions.region_masks, regions.region_masks.logits
    sound = {
        "tokens of length 1": regions.tokens.is_floating_point() and _all_near_one(regions.tokens.norm(dim=1)),
        "masks of 16-bit floats": logits.dtype == torch.float16 and 0 not in logits.shape[1:],
        "masks in [0, 3]": bool(((logits >= 0) & (logits <= 3)).all()),
        "whole numbers in region_of": masks.region_of.dtype == torch.int64,
        "one score and one stability a region": masks.scores.shape == masks.stability.shape == (len(masks),),
        "whole numbers in source": masks.source is None or masks.source.dtype == torch.int64,
        "finite scores": bool(masks.scores.isfinite().all() and masks.stability.isfinite().all()),
        "a locality for every patch": regions.locality is None or regions.locality.ndim == 2,
    }
    if regions.dense is not None:
        sound |= _dense_columns(regions.dense.embeddings, regions.dense.plan, regions.tokens.shape[1])
    for what, holds in sound.items():
        if not holds:
            raise ValueError(f"expected {what}")


def _dense_columns(embeddings: Tensor, plan: ViewPlan, size: int) -> dict[str, bool]:
    side = embeddings.shape[-1]
    return {
        "a row of views for every row of the plan": len(plan.tile_boxes) in (0, plan.rows * plan.cols),
        "up to two views of the whole picture": len(plan.global_boxes) <= 2 and len(plan.boxes) > 0,
        "dense embeddings of every view": embeddings.shape == (len(plan.boxes), size, side, side),
        "a grid of patches": 1 <= side <= plan.view_patches <= MAX_SIDE and min(plan.rows, plan.cols) >= 1,
        "dense embeddings of length 1": embeddings.is_floating_point() and _all_near_one(embeddings.norm(dim=1)),
    }


def _all_near_one(lengths: Tensor) -> bool:
    return bool(((lengths - 1).abs() < 1e-2).all())


def _pair(value: object) -> tuple[int, int]:
    whole = isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)
    if not isinstance(value, list) or not whole or value[0] * value[1] > MAX_PIXELS:
        raise ValueError(f"expected a height and a width, but got {value!r}")
    return value[0], value[1]


def _plan(value: object) -> ViewPlan:
    if not isinstance(value, dict):
        raise ValueError(f"expected a layout of views, but got {value!r}")
    return ViewPlan(
        image_hw=_pair(value["image_hw"]),
        global_boxes=_boxes(value["global_boxes"]),
        tile_boxes=_boxes(value["tile_boxes"]),
        rows=int(value["rows"]),
        cols=int(value["cols"]),
        view_patches=int(value["view_patches"]),
    )


def _boxes(values: list[list[int]]) -> tuple[Box, ...]:
    return tuple((int(top), int(left), int(bottom), int(right)) for top, left, bottom, right in values)
