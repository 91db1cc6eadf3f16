"""What ``--show-dir`` holds: picture, ground truth and prediction side by side, and the predicted label maps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.shared.show import write_picture
from textregion.image import RGB, load_rgb
from textregion.visualize import SMALLEST_SIDE, overlay

GAP = 8
"""Pixels between the panels."""
IGNORED = "ignored"
"""Name of pixels without ground truth in the legend."""
NO_REGION = "no region"
"""Name of predicted pixels without a class, which ``uncovered='none'`` leaves."""


class PictureFolder:
    """Draws data samples into a folder.

    ``overlays/<picture>.png`` has three panels: the picture, the ground truth, the prediction, with the names of the
    classes that occur. ``labels/<picture>.png`` is the predicted label map, 8-bit, or 16-bit for more than
    255 classes, in the numbering of the data set's classes. All are upright, as the picture is shown.

    Args:
        folder: made where missing.
        pictures: the data set's folder of pictures; what lies below it lies below this one too.
        classes: their names.
        palette: (K, 3) their colours.
        ignore_index: label of pixels without ground truth.
    """

    def __init__(
        self, folder: Path, pictures: str, classes: Sequence[str], palette: Sequence[Sequence[int]], ignore_index: int
    ) -> None:
        self._folder, self._pictures = folder, pictures
        self._classes = classes
        self._colours = np.array(palette, dtype=np.uint8)
        self._ignore_index = ignore_index

    def has(self, picture: str) -> bool:
        """True where the picture of this path was drawn; its label map is written last."""
        return self._path("labels", picture).is_file()

    def draw(self, sample: Mapping[str, Any]) -> None:
        """Draw a picture with its ground truth and prediction.

        Raises:
            UserError: a file cannot be written.
        """
        picture = sample["img_path"]
        image = load_rgb(picture)
        truth, predicted = (sample[name]["data"].squeeze(0).cpu().numpy() for name in ("gt_sem_seg", "pred_sem_seg"))
        truth = np.where(truth == self._ignore_index, -1, truth.astype(np.int32))
        maps = [
            overlay(image, labels, self._classes, colours=self._colours, blank_name=name)
            for labels, name in ((truth, IGNORED), (predicted, NO_REGION))
        ]
        # A pixel without a class, -1, has the highest value.
        depth = np.uint8 if len(self._classes) <= 255 else np.uint16
        write_picture(_side_by_side([_enlarge(image), *maps]), self._path("overlays", picture))
        write_picture(Image.fromarray(predicted.astype(depth)), self._path("labels", picture))

    def _path(self, kind: str, picture: str) -> Path:
        return (self._folder / kind / os.path.relpath(picture, self._pictures)).with_suffix(".png")


def _enlarge(image: RGB) -> Image.Image:
    """A small picture enlarged as its overlay is."""
    factor = max(1, SMALLEST_SIDE // max(image.shape[:2]))
    return Image.fromarray(image.repeat(factor, 0).repeat(factor, 1))


def _side_by_side(panels: Sequence[Image.Image]) -> Image.Image:
    """One row on white."""
    height = max(panel.height for panel in panels)
    canvas = Image.new("RGB", (sum(panel.width for panel in panels) + GAP * (len(panels) - 1), height), "white")
    left = 0
    for panel in panels:
        canvas.paste(panel, (left, 0))
        left += panel.width + GAP
    return canvas
