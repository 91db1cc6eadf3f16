"""The method as an MMSegmentation model: an adapter around TextRegionSegmenter, without a stage of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from textregion import ClassWords, RegionTokens, TextRegionSegmenter, UserError, painting
from textregion.image import RGB
from textregion.runtime import DtypeName, StageClock
from textregion.templates import TemplatesLike
from textregion.weights import DEFAULT_CLIP, uses_miniatures

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED_MODELS = {
    "openai": ("ViT-B/16",),
    "laion2b_s32b_b79k": ("ViT-H/14",),
    "siglip2": ("ViT-B-16-SigLIP2", "ViT-SO400M-16-SigLIP2-384"),
    "meta": ("PE-Core-B16-224", "PE-Core-L14-336"),
}
"""Weights and the architectures that the paper evaluates with them; the first is the default."""
SWEEP_CLIP = "laion2b_s32b_b79k"
"""Weights that the published sweep over all data sets evaluates by default."""


@MODELS.register_module()
class TextRegionSegmentor(BaseSegmentor):
    """Training-free open-vocabulary segmentation behind MMSegmentation's interface.

    Args:
        class_file: query words, one class a line, synonyms separated by ``;``; a path, or one below the checkout.
        options: settings over the semantic preset (fields of ``SegmenterOptions``).
        segmenter: a ready segmenter, used as it is; the names of models below then say nothing.
        comma_names: see :meth:`ClassWords.from_file`.
        clip_architecture, clip_pretrained, clip_download_root, tokenizer, sam2_checkpoint, model_cfg, device, dtype,
            sam2_dtype, published, templates: see :func:`textregion.weights.load_parts`; without any model named, the
            miniatures.
        data_preprocessor: MMEngine's own does (it only moves data).
    """

    def __init__(
        self,
        class_file: str,
        options: Mapping[str, Any] | None = None,
        segmenter: TextRegionSegmenter | None = None,
        *,
        comma_names: bool = False,
        clip_architecture: str | None = None,
        clip_pretrained: str | None = None,
        clip_download_root: str | None = None,
        tokenizer: str | None = None,
        sam2_checkpoint: str | None = None,
        model_cfg: str | None = None,
        device: str | None = None,
        dtype: DtypeName | None = None,
        sam2_dtype: DtypeName | None = None,
        published: bool = False,
        templates: TemplatesLike = "imagenet",
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        self.words = read_words(class_file, comma_names)
        if segmenter is None:
            segmenter = TextRegionSegmenter.from_pretrained(
                clip_architecture=semantic_architecture(clip_architecture, clip_pretrained, sam2_checkpoint),
                clip_pretrained=clip_pretrained,
                clip_download_root=clip_download_root,
                tokenizer=tokenizer,
                sam2_checkpoint=sam2_checkpoint,
                model_cfg=model_cfg,
                device=device,
                dtype=dtype,
                sam2_dtype=sam2_dtype,
                published=published,
                templates=templates,
                task="semantic",
                options=options,
                clock=StageClock(),
            )
        self.segmenter = segmenter

    def predict(
        self, inputs: Tensor | Sequence[Tensor], data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Class maps of pictures.

        Args:
            inputs: pictures, each (3, H, W) uint8 RGB at its own size.
            data_samples: one a picture, to which the results are added.

        Returns:
            ``pred_sem_seg`` (1, H, W) int64, ``confidence`` (1, H, W) float32, and ``stage_seconds``, the time of
            every stage, where the segmenter has a clock.
        """
        samples = data_samples or [SegDataSample() for _ in inputs]
        for picture, sample in zip(_pictures(inputs), samples):
            before = dict(self._seconds())
            result = self.segmenter.segment(picture, self.words.words, self.words.class_of)
            sample.set_data(
                {
                    "pred_sem_seg": PixelData(data=result.labels[None]),
                    "confidence": PixelData(data=result.confidence[None]),
                }
            )
            spent = {name: total - before.get(name, 0.0) for name, total in self._seconds().items()}
            sample.set_metainfo({"stage_seconds": spent})
        return samples

    def extract_feat(self, inputs: Tensor | Sequence[Tensor]) -> list[RegionTokens]:
        """Region tokens of every picture."""
        return [self.segmenter.encode(picture) for picture in _pictures(inputs)]

    @torch.no_grad()
    def encode_decode(self, inputs: Tensor | Sequence[Tensor], batch_data_samples: Any = None) -> list[Tensor]:
        """Class probabilities of every picture, each (classes, H, W) float32, before the threshold."""
        return [self._probabilities(regions) for regions in self.extract_feat(inputs)]

    def _forward(self, inputs: Tensor | Sequence[Tensor], data_samples: Any = None) -> list[Tensor]:
        return self.encode_decode(inputs)

    def loss(self, inputs: Any, data_samples: Any) -> dict[str, Tensor]:
        """There is none.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("TextRegion is training-free: there is no loss to compute.")

    def _probabilities(self, regions: RegionTokens) -> Tensor:
        segmenter, words = self.segmenter, self.words
        scores = segmenter.scores(regions, words.words)
        bands = painting.class_probabilities(
            regions.region_masks.to(scores.device),
            scores,
            regions.size_hw,
            segmenter.paint_rules(regions, words.words, words.class_of),
        )
        return torch.cat([band for _, band in bands], dim=1)

    def _seconds(self) -> Mapping[str, float]:
        return {} if self.segmenter.clock is None else self.segmenter.clock.seconds


def read_words(class_file: str, comma_names: bool = False) -> ClassWords:
    """Query words of a class file, by its path from here or from the checkout; see :meth:`ClassWords.from_file`."""
    beside = ROOT / class_file
    path = beside if beside.is_file() and not Path(class_file).is_file() else class_file
    return ClassWords.from_file(path, comma_names)


def semantic_architecture(
    clip_architecture: str | None, clip_pretrained: str | None, sam2_checkpoint: str | None
) -> str | None:
    """The architecture that was named, or the first that the paper evaluates with the weights; None: miniatures."""
    if clip_architecture is not None or uses_miniatures(clip_pretrained, sam2_checkpoint):
        return clip_architecture
    return PUBLISHED_MODELS.get(clip_pretrained or DEFAULT_CLIP, (None,))[0]


def sweep_weights(
    clip_architecture: str | None, clip_pretrained: str | None, sam2_checkpoint: str | None
) -> str | None:
    """The weights that were named; where a real model is named without, those of the published sweep, LAION's ViT-H/14,
    unless the architecture is another; None: that one's usual weights, or miniatures."""
    if clip_pretrained is not None or uses_miniatures(clip_architecture, sam2_checkpoint):
        return clip_pretrained
    (architecture,) = PUBLISHED_MODELS[SWEEP_CLIP]
    return SWEEP_CLIP if (clip_architecture or architecture).replace("/", "-") == "ViT-H-14" else None


def check_class_count(words: ClassWords, class_file: str, classes: Sequence[str], dataset: str) -> None:
    """Refuse words that do not name the data set's classes one by one.

    Raises:
        UserError: another count.
    """
    if words.num_classes != len(classes):
        raise UserError(
            f"Class file {class_file!r} names {words.num_classes} classes, but {dataset} has {len(classes)}: "
            "write one class a line, in the data set's order."
        )


def _pictures(inputs: Tensor | Sequence[Tensor]) -> Iterator[RGB]:
    for image in inputs:
        yield image.permute(1, 2, 0).contiguous().cpu().numpy()
