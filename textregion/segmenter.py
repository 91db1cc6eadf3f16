"""The method from a picture to region tokens and a class map; the only place that knows the order of the stages."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import painting, pooling, views
from .ahead import ahead
from .checkpoints.digests import weights_digest
from .encoders.base import Encoder, PatchFeatures
from .errors import UserError, described
from .given_masks import Masks, check_size
from .image import RGB, Loaded, Picture, is_picture, load_picture, resize, resized_hw
from .masks import MaskGenerator
from .options import SegmenterOptions
from .region_masks import RegionMasks
from .regions import DensePatches, RegionTokens
from .runtime import Precision, StageClock, gaps_filled
from .text import TextBank
from .weights import load_parts
from .words import as_words

if TYPE_CHECKING:
    from typing import Self

logger = logging.getLogger(__name__)

VIEW_BYTES = 512 * 2**20
"""Memory for the views that pass through the image tower at a time."""
FLOATS_PER_TOKEN = 12
"""Floats a channel that a block holds at most: the stream, queries, keys, values, the MLP's hidden layer."""


@dataclass(frozen=True)
class Segmentation:
    """A class map of one picture."""

    labels: Tensor
    """(H, W) int64, index of the word (or class) at every pixel; -1 where ``uncovered='none'`` leaves it without."""
    confidence: Tensor
    """(H, W) float32, the highest probability."""
    scores: Tensor
    """(R, K) score of every region and word."""


class TextRegionSegmenter:
    """Frozen image-text model + SAM 2 -> text-aligned region tokens -> segmentation.

    Args:
        encoder: the image-text model, see :func:`textregion.load_encoder`.
        mask_generator: SAM 2's region masks.
        options: settings of all stages; None: the mask generator's own.
        text: word embeddings; None: a bank in memory.
        precision: autocast of the image tower.
        clock: adds up the time of every stage, if given.
    """

    def __init__(
        self,
        encoder: Encoder,
        mask_generator: MaskGenerator,
        options: SegmenterOptions | None = None,
        *,
        text: TextBank | None = None,
        precision: Precision | None = None,
        clock: StageClock | None = None,
    ) -> None:
        self.encoder = encoder
        self.mask_generator = mask_generator
        self.options = options or mask_generator.options
        self.precision = precision or Precision()
        self.text = text or TextBank(encoder, precision=self.precision)
        self.clock = clock
        _check_crop_size(encoder, self.options)

    @classmethod
    def from_pretrained(cls, *, clock: StageClock | None = None, **names: Any) -> Self:
        """Everything by name; without any, the bundled miniatures, which know their rendered world and nothing else.

        The scripts take real models for pictures that are not of that world; here that is the caller's to say.

        Args:
            clock: adds up the time of every stage.
            names: those of :func:`textregion.weights.load_parts`.
        """
        parts = load_parts(**names)
        return cls(
            parts.encoder,
            parts.mask_generator,
            parts.options,
            text=parts.text,
            precision=parts.precision,
            clock=clock,
        )

    @property
    def model_names(self) -> dict[str, str]:
        """What identifies the two frozen models in records and caches."""
        return {"encoder": self.encoder.name, "sam2": weights_digest(self.mask_generator.model)}

    @property
    def dtypes(self) -> dict[str, str]:
        """Precision of the two frozen models, by their names in records: ``dtype`` and ``sam2_dtype``."""
        return {"dtype": self.precision.dtype, "sam2_dtype": self.mask_generator.precision.dtype}

    def encode(self, picture: Picture, masks: RegionMasks | Masks | None = None) -> RegionTokens:
        """A picture's region tokens, once for all words.

        Args:
            picture: what :func:`textregion.image.load_picture` takes: a path, a file's bytes, a PIL image, an array ...
            masks: regions to use instead of SAM 2's: what :meth:`RegionMasks.from_masks` makes or takes. All of them
                are kept, in their order: one that lies between the centres of patches is pooled over the patches that
                it touches, by area, and one of global patches only keeps them. SAM 2's own are filtered as always.

        Returns:
            R regions. Where none is found: R = 0 with dense patches (CLIP ViT), or one region, the whole picture.

        Raises:
            UserError: a picture or masks of another kind, masks of another shape than the upright picture, an empty
                mask among those given.
        """
        return self._encode(load_picture(picture), masks)

    def encode_many(self, pictures: Iterable[Picture]) -> Iterator[RegionTokens]:
        """The region tokens of many pictures, one after the other and in order; the next is read meanwhile.

        Args:
            pictures: any number, of any kind that :meth:`encode` takes, also a generator.

        Raises:
            UserError: a single picture; and, when its turn comes, a picture that cannot be read.
        """
        if is_picture(pictures) or not isinstance(pictures, Iterable):
            raise UserError(f"encode_many takes a list of pictures, but got {described(pictures)}: give one to encode.")
        return (self._encode(read(), None) for _, read in ahead(load_picture, pictures))

    @torch.no_grad()
    def _encode(self, picture: Loaded, masks: RegionMasks | Masks | None) -> RegionTokens:
        image = picture.rgb
        resized = self._resize(image)
        original_hw, small_hw = _size_hw(image), _size_hw(resized)
        if masks is None:
            with self._stage("masks"):
                output_hw = original_hw if self.options.mask_size == "original" else small_hw
                masks = self.mask_generator.generate(resized, output_hw, self.options)
        else:
            masks = masks if isinstance(masks, RegionMasks) else RegionMasks.from_masks(masks)
            if masks.output_hw != small_hw:
                check_size(masks.output_hw, original_hw, picture.turn)
        plan = self._plan(small_hw)
        with self._stage("pooling"):
            masks, grid = self._on_grid(masks.to(self.encoder.device), plan)
            grid, shared = self._share_out(masks, grid, plan)
        with self._stage("image tower"):
            features = self._patch_features(resized, plan, dense=self._wants_dense(masks))
        with self._stage("pooling"):
            tokens, masks, locality = self._pool(masks, grid, features.values, plan, shared)
        dense = None if features.dense is None else DensePatches(features.dense, plan)
        return RegionTokens(tokens, masks, original_hw, small_hw, self.encoder.name, dense, locality)

    def scores(self, regions: RegionTokens, words: Sequence[str]) -> Tensor:
        """(R, K) score of every region and word (section 10).

        Raises:
            UserError: something else than regions, regions of another encoder, or words that are none
                (:func:`textregion.words.as_words`).
        """
        if not isinstance(regions, RegionTokens):
            raise UserError(f"Scores are of regions, but got {described(regions)}: encode the picture first.")
        if regions.encoder != self.encoder.name:
            raise UserError(
                f"These regions were made by {regions.encoder!r}, but the segmenter's encoder is "
                f"{self.encoder.name!r}: encode the picture again."
            )
        with self._stage("text"):
            text = self.text.encode(words)
        with torch.no_grad(), self._stage("scores"):
            return self.encoder.scores(regions.tokens.to(text), text)

    @torch.no_grad()
    def segment(
        self, picture: Picture | RegionTokens, words: Sequence[str], class_of: Sequence[int] | None = None
    ) -> Segmentation:
        """A class map for words.

        Args:
            picture: a picture, of any kind that :meth:`encode` takes, or the regions of one.
            words: K words. One alone is certain everywhere (:func:`textregion.words.against_background`).
            class_of: class of each word where several words stand for one class; None: one class a word.

        Raises:
            UserError: see :meth:`encode` and :meth:`scores`; as many classes as words are needed.
        """
        words = as_words(words)
        if class_of is not None and len(class_of) != len(words):
            raise UserError(f"class_of needs a class for each of the {len(words)} words, but has {len(class_of)}.")
        regions = picture if isinstance(picture, RegionTokens) else self.encode(picture)
        scores = self.scores(regions, words)
        with self._stage("painting"):
            labels, confidence = painting.paint(
                regions.region_masks.to(scores.device),
                scores,
                self._painted_hw(regions),
                self.paint_rules(regions, words, class_of),
            )
            if self.options.output_size == "original" and labels.shape != regions.size_hw:
                labels, confidence = (_nearest(values, regions.size_hw) for values in (labels, confidence))
        return Segmentation(labels, confidence, scores)

    def paint_rules(
        self, regions: RegionTokens, words: Sequence[str], class_of: Sequence[int] | None = None
    ) -> painting.PaintRules:
        """How the scores of a picture's regions become a class map; the arguments are those of :meth:`segment`."""
        options = self.options
        rules = painting.PaintRules(
            options.region_logit_scale, options.mask_type, class_of=class_of, prob_thd=options.prob_thd
        )
        wants_dense = options.uncovered == "dense" or len(regions) == 0
        if not wants_dense or regions.dense is None:
            return replace(rules, uncovered="uniform" if options.uncovered == "dense" else options.uncovered)
        dense, text = regions.dense, self.text.encode(words)
        maps = torch.einsum("vdyx,kd->vkyx", dense.embeddings.to(text), text)
        return replace(rules, uncovered="dense", dense=painting.DenseScores(views.fuse(maps, dense.plan, 1.0)))

    def _painted_hw(self, regions: RegionTokens) -> tuple[int, int]:
        return regions.size_hw if self.options.mask_size == "original" else regions.resized_hw

    def _wants_dense(self, masks: RegionMasks) -> bool:
        return self.encoder.has_dense and (self.options.uncovered == "dense" or len(masks) == 0)

    def _crop_size(self) -> int:
        return self.options.crop_size or self.encoder.crop_size

    def _resize(self, image: RGB) -> RGB:
        if self.options.resize_method == "resize" and self.options.square == "picture":
            return resize(image, (self._crop_size(), self._crop_size()))
        height, width = image.shape[:2]
        return resize(image, resized_hw((height, width), self.options.scale))

    def _plan(self, small_hw: tuple[int, int]) -> views.ViewPlan:
        crop = self._crop_size()
        return views.plan_views(
            small_hw,
            crop,
            crop // self.encoder.patch_size * self.options.upsample_times,
            tiles=self.options.resize_method == "multi_resolution",
            global_views=self.options.global_views,
        )

    def _on_grid(self, masks: RegionMasks, plan: views.ViewPlan) -> tuple[RegionMasks, Tensor]:
        """Masks on the patch grid without empty ones (section 6); the whole picture where there is nothing else.

        Masks that were given are all kept, see :meth:`_share_out`.
        """
        grid = pooling.to_grid(masks, plan.grid_hw)
        if self.options.mask_type == "hard":
            grid = (grid > 0).to(grid.dtype)
        if masks.source is None:
            masks, grid = _drop_empty(masks, grid)
        if len(masks) > 0:
            return masks, grid
        if self.encoder.has_dense:
            logger.warning("No region was found: dense CLIP scores take their place.")
            return masks, grid
        logger.warning("No region was found: the whole picture is taken as one.")
        whole = RegionMasks.from_masks(torch.ones(1, 1, 1, device=grid.device), masks.output_hw)
        return replace(whole, source=None), torch.ones(1, grid.shape[1], device=grid.device)

    def _share_out(self, masks: RegionMasks, grid: Tensor, plan: views.ViewPlan) -> tuple[Tensor, Tensor | None]:
        """Given masks that no patch's centre lies in, which have nothing on the grid, get their shares of patches.

        Returns:
            The grid, and which regions have shares (R,); None: none.
        """
        shared = grid.sum(1) == 0
        if masks.source is None or not bool(shared.any()):
            return grid, None
        shares = pooling.patch_shares(masks[shared], plan.grid_hw, hard=self.options.mask_type == "hard")
        empty = masks.source[shared][shares.sum(1) == 0].tolist()
        if empty:
            raise UserError(f"Mask {empty[0]} (counted from 0) is empty: leave out masks without a pixel above 0.")
        return grid.masked_scatter(shared[:, None], shares), shared

    def _views(self, resized: RGB, plan: views.ViewPlan) -> Tensor:
        """(V, 3, S, S) normalised views on the encoder's device."""
        image = torch.from_numpy(resized).to(self.encoder.device).permute(2, 0, 1).float() / 255
        recipe = self.encoder.preprocess
        with gaps_filled(image.device):
            batch = views.split(image, plan, self._crop_size(), recipe.interpolation, self.options.antialias)
        mean, std = (batch.new_tensor(v)[:, None, None] for v in (recipe.mean, recipe.std))
        return (batch - mean) / std

    def _patch_features(self, resized: RGB, plan: views.ViewPlan, dense: bool) -> PatchFeatures:
        """Patch features of all views of a resized picture, in float32."""
        batch = self._views(resized, plan)
        with self.precision.autocast(self.encoder.device):
            parts = [
                self.encoder.patch_features(part, feature=self.options.pool_feature, dense=dense)
                for part in batch.split(self.options.view_batch or self._views_at_a_time())
            ]
        values = torch.cat([part.values.float() for part in parts])
        embeddings = [part.dense.float() for part in parts if part.dense is not None]
        return PatchFeatures(values, torch.cat(embeddings) if embeddings else None)

    def _views_at_a_time(self) -> int:
        tokens = (self._crop_size() // self.encoder.patch_size) ** 2 + 1
        return max(1, VIEW_BYTES // (4 * FLOATS_PER_TOKEN * tokens * self.encoder.width))

    def _pool(
        self, masks: RegionMasks, grid: Tensor, values: Tensor, plan: views.ViewPlan, shared: Tensor | None = None
    ) -> tuple[Tensor, RegionMasks, Tensor | None]:
        """Tokens, masks and locality of the regions that survive the global-patch filter (sections 4, 7, 8).

        Given masks all survive: those of global patches only keep them.
        """
        options = self.options
        if options.upsample_times > 1:
            side = (plan.view_patches, plan.view_patches)
            values = F.interpolate(values, side, mode="bilinear", align_corners=False)
        fused = views.fuse(values, plan, self.encoder.global_weight).flatten(1).T
        locality = None
        if options.remove_global_patch:
            locality = pooling.patch_locality(fused, grid)
            local = pooling.drop_global_patches(grid, locality, options.global_patch_threshold)
            survives = local.sum(1) > 0
            if masks.source is not None:
                grid = torch.where(survives[:, None], local, grid)
            elif bool(survives.any()):
                masks, grid = _drop_empty(masks, local)
            locality = locality.reshape(plan.grid_hw)
            tiled = options.resize_method == "multi_resolution"
            if options.normalize_values and tiled and self.encoder.pooling == "sum":
                fused = F.normalize(fused, dim=-1)
        pooled = pooling.pool(fused, grid, self.encoder.pooling, shared)
        tokens = self.encoder.project(pooled, feature=options.pool_feature, mlp=options.pool_mlp)
        return tokens.float(), masks, locality

    def _stage(self, name: str) -> AbstractContextManager[None]:
        if self.clock is None:
            return contextlib.nullcontext()
        return self.clock.stage(name, self.encoder.device)


def _size_hw(image: RGB) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _nearest(values: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(h, w) values of any type at another size: of every pixel the one whose area its upper left corner lies in."""
    (rows, cols) = (
        torch.arange(target, device=values.device) * source // target for target, source in zip(size_hw, values.shape)
    )
    return values[rows][:, cols]


def _drop_empty(masks: RegionMasks, grid: Tensor) -> tuple[RegionMasks, Tensor]:
    """Regions whose grid mask is empty leave, masks and grid together."""
    keep = grid.sum(1) > 0
    return masks[keep], grid[keep]


def _check_crop_size(encoder: Encoder, options: SegmenterOptions) -> None:
    crop = options.crop_size
    if crop is None:
        return
    if encoder.fixed_crop_size and crop != encoder.crop_size:
        raise UserError(
            f"Encoder {encoder.name!r} takes {encoder.crop_size} x {encoder.crop_size} pixels only, but crop_size is "
            f"{crop}: leave crop_size out."
        )
    if crop % encoder.patch_size:
        raise UserError(f"crop_size {crop} is not a multiple of the encoder's patch size {encoder.patch_size}.")
