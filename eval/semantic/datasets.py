"""Data sets that MMSegmentation lacks, and how a picture and its label map are read (data.md sections 1.2, 1.7, 7)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset, COCOStuffDataset, PascalVOCDataset
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image, UnidentifiedImageError

from miniatures.scenes.files import voc_palette
from miniatures.scenes.formats import VOC_CLASSES
from textregion import ClassWords, UserError
from textregion.image import load_rgb, upright_turn

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MetaInfo = dict[str, Any]
_VOC20_COLOURS = {3: [0, 0, 192], 4: [128, 128, 0], 7: [192, 128, 64]}
"""Bird, boat and car have other colours where VOC is evaluated without the background."""
IGNORED_16_BIT = 65535
"""Ignored value of the 16-bit data sets, whose class 255 is a class like any other."""

_SWAPPING = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)
"""The turns that swap width and height."""
_IMAGE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow's decoders raise on a damaged file."""


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
    """The label map that belongs to the upright picture, 8- or 16-bit, checked against the picture's size."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds gt_seg_map, (H, W) int64.

        Raises:
            UserError: see :func:`read_labels`.
        """
        labels = read_labels(results["seg_map_path"], results["img_path"])
        if results["reduce_zero_label"]:
            labels = np.where((labels == 0) | (labels == 255), 255, labels - 1)
        return {**results, "gt_seg_map": labels, "seg_fields": [*results["seg_fields"], "gt_seg_map"]}


def read_labels(label_path: str | os.PathLike[str], picture_path: str | os.PathLike[str]) -> npt.NDArray[np.int64]:
    """A label map as (H, W), turned as the picture's EXIF orientation asks.

    A map whose size fits only the upright picture was drawn on that and is left as it is.

    Raises:
        UserError: a file that cannot be read, is no label map, or has another size than the picture.
    """
    with _open(picture_path, "Picture") as picture:
        stored_size, turn = picture.size, upright_turn(picture)
    upright_size = stored_size[::-1] if turn in _SWAPPING else stored_size
    with _open(label_path, "Label map") as labels:
        _load_labels(labels, label_path)
        if labels.size == stored_size:
            return np.asarray(labels if turn is None else labels.transpose(turn)).astype(np.int64)
        if labels.size == upright_size:
            return np.asarray(labels).astype(np.int64)
        raise UserError(
            f"Label map {os.fspath(label_path)!r} has {labels.width} x {labels.height} pixels, but its picture "
            f"{os.fspath(picture_path)!r} has {stored_size[0]} x {stored_size[1]}: convert the labels again."
        )


def _load_labels(labels: Image.Image, path: str | os.PathLike[str]) -> None:
    try:
        labels.load()
    except _IMAGE_ERRORS as error:
        raise UserError(f"Label map {os.fspath(path)!r} is damaged ({error}): copy it again.") from None
    if len(labels.getbands()) != 1 or labels.mode == "F":
        raise UserError(
            f"Label map {os.fspath(path)!r} is a picture of mode {labels.mode}: expected one whole number a pixel."
        )


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


def _open(path: str | os.PathLike[str], what: str) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise UserError(f"{what} {os.fspath(path)!r} does not exist: complete the data set.") from None
    except UnidentifiedImageError:
        raise UserError(f"{what} {os.fspath(path)!r} is not an image that Pillow can read: copy it again.") from None
    except _IMAGE_ERRORS as error:
        raise UserError(f"{what} {os.fspath(path)!r} cannot be read ({error}): copy it again.") from None
