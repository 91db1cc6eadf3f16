"""What a rendered scene is: a picture, the objects that can be seen in it, and their exact masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from miniatures.scenes.grounds import GROUND_KINDS
from miniatures.scenes.things import COLOUR_VALUES, THING_KINDS

THINGS: tuple[str, ...] = tuple(THING_KINDS)
PARTS: tuple[str, ...] = ("wheel", "window", "door")
GROUNDS: tuple[str, ...] = tuple(GROUND_KINDS)
COLOURS: tuple[str, ...] = tuple(COLOUR_VALUES)


@dataclass(frozen=True)
class SceneObject:
    """One thing, part or ground and the pixels of it that can be seen.

    kind: a member of THINGS, PARTS or GROUNDS; role says which ("thing", "part", "ground").
    colour: a member of COLOURS, "" for grounds and parts.
    mask: (H, W) bool. A thing's mask includes its parts; a ground's excludes the things before it.
    parent: index in `Scene.objects` of the thing that a part belongs to.
    """

    kind: str
    colour: str
    role: str
    mask: np.ndarray
    parent: int | None = None

    @cached_property
    def area(self) -> int:
        """Visible pixels."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def box_xywh(self) -> tuple[float, float, float, float]:
        """x_min, y_min, width, height of the visible pixels, in continuous pixels."""
        x, y, width, height = cv2.boundingRect(self.mask.view(np.uint8))
        return float(x), float(y), float(width), float(height)

    @property
    def name(self) -> str:
        """The kind with its colour, such as "red car"."""
        return f"{self.colour} {self.kind}" if self.colour else self.kind


@dataclass(frozen=True)
class Scene:
    """A picture and what can be seen in it: grounds first, then things with their parts, far to near."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    objects: tuple[SceneObject, ...]
    seed: int

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]

    def labels(self, classes: Sequence[str], ignore: int = 255) -> np.ndarray:
        """(H, W) uint8: each pixel's index in `classes`, parts as their thing, `ignore` for other kinds."""
        plane = np.full(self.size_hw, ignore, dtype=np.uint8)
        for item in self.objects:
            if item.role != "part" and item.kind in classes:
                plane[item.mask] = list(classes).index(item.kind)
        return plane
