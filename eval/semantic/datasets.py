"""Data sets that MMSegmentation lacks, and how a picture and its label map are read (data.md sections 1.2, 1.7, 7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset, COCOStuffDataset, PascalVOCDataset
from mmseg.registry import DATASETS, TRANSFORMS

from eval.shared.label_maps import read_labels
from miniatures.scenes.files import voc_palette
from miniatures.scenes.formats import VOC_CLASSES
from textregion import ClassWords, UserError
from textregion.image import load_rgb

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MetaInfo = dict[str, Any]
_VOC20_COLOURS = {3: [0, 0, 192], 4: [128, 128, 0], 7: [192, 128, 64]}
"""Bird, boat and car have other colours where VOC is evaluated without the background."""
IGNORED_16_BIT = 65535
"""Ignored value of the 16-bit data sets, whose class 255 is a class like any other."""


def _words(name: str) -> tuple[str, ...]:
    return ClassWords.from_file(CONFIGS / name, comma_names=True).words


@DATASETS.register_module()
class PascalVOC20Dataset(BaseSegDataset):
    """PASCAL VOC 2012 without the background, whose pixels are ignored."""

    METAINFO: ClassVar[MetaInfo] = {
        "classes": PascalVOCDataset.METAINFO["classes"][1:],
        "palette": [_VOC20_COLOURS.get(k, colour) for k, colour in enumerate(PascalVOCDataset.METAINFO["palette"])][1:],
    }

    def __init__(self, reduce_zero_label: bool = True, **kwargs: Any) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label, **kwargs)


@DATASETS.register_module()
class COCOObjectDataset(BaseSegDataset):
    """COCO's 80 things and the background."""

    METAINFO: ClassVar[MetaInfo] = {
        "classes": ("background", *_words("cls_coco_object.txt")[-80:]),
        "palette": [[0, 0, 0], *COCOStuffDataset.METAINFO["palette"][:80]],
    }

    def __init__(self, seg_map_suffix: str = "_instanceTrainIds.png", **kwargs: Any) -> None:
        super().__init__(seg_map_suffix=seg_map_suffix, **kwargs)


@DATASETS.register_module()
class ADE20K847Dataset(BaseSegDataset):
    """The full ADE20K: 847 classes in 16-bit label maps."""

    METAINFO: ClassVar[MetaInfo] = {
        "classes": tuple(word.replace("lords table", "lord's table") for word in _words("cls_ade20k847.txt"))
    }

    def __init__(self, seg_map_suffix: str = ".tif", ignore_index: int = IGNORED_16_BIT, **kwargs: Any) -> None:
        super().__init__(seg_map_suffix=seg_map_suffix, ignore_index=ignore_index, **kwargs)


@DATASETS.register_module()
class PascalContext459Dataset(BaseSegDataset):
    """The full PASCAL Context: 459 classes in 16-bit label maps; class names are written without blanks."""

    METAINFO: ClassVar[MetaInfo] = {"classes": tuple(word.replace(" ", "") for word in _words("cls_context459.txt"))}

    def __init__(self, seg_map_suffix: str = ".tif", ignore_index: int = IGNORED_16_BIT, **kwargs: Any) -> None:
        super().__init__(seg_map_suffix=seg_map_suffix, ignore_index=ignore_index, **kwargs)


@DATASETS.register_module()
class ScenesDataset(BaseSegDataset):
    """Rendered scenes in PASCAL VOC's layout: things; the grounds are background."""

    METAINFO: ClassVar[MetaInfo] = {"classes": VOC_CLASSES, "palette": voc_palette()[: len(VOC_CLASSES)].tolist()}


@TRANSFORMS.register_module()
class LoadPicture(BaseTransform):
    """The picture at its own size as (H, W, 3) uint8 RGB, upright; the segmentor resizes it."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds img, img_shape and ori_shape."""
        image = load_rgb(results["img_path"])
        size_hw = image.shape[:2]
        return {**results, "img": image, "img_shape": size_hw, "ori_shape": size_hw}


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """The label map that belongs to the upright picture, checked against its size."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds gt_seg_map, (H, W) int64.

        Raises:
            UserError: see :func:`eval.shared.label_maps.read_labels`.
        """
        labels = read_labels(results["seg_map_path"], results["img_path"])
        if results["reduce_zero_label"]:
            labels = np.where((labels == 0) | (labels == 255), 255, labels - 1)
        return {**results, "gt_seg_map": labels, "seg_fields": [*results["seg_fields"], "gt_seg_map"]}


def check_labels(labels: npt.NDArray[np.int64], label_path: str, num_classes: int, ignore_index: int) -> None:
    """Refuse a label map that holds a value which is neither a class nor ignored.

    Raises:
        UserError: naming the file and the first such value.
    """
    unknown = labels[(labels != ignore_index) & ((labels < 0) | (labels >= num_classes))]
    if unknown.size:
        raise UserError(
            f"Label map {label_path!r} holds {unknown.size} pixels with label {int(unknown[0])} "
            f"(after the data set's own mapping), but there are {num_classes} classes, 0 to {num_classes - 1}, and "
            f"{ignore_index} for ignored pixels: convert the labels with process_dataset.sh."
        )
