"""Every default of the method, once. Names and numbers are those of method.md (sections 1 to 13)."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .errors import UserError

ResizeMethod = Literal["multi_resolution", "resize"]
Square = Literal["picture", "view"]
MaskType = Literal["soft", "hard"]
PoolFeature = Literal["value", "input", "output"]
SizeName = Literal["resized", "original"]
Uncovered = Literal["uniform", "first", "dense", "none"]
Task = Literal["demo", "semantic", "referring", "reasoning"]

MAX_SIDE = 2**16
"""Pixels that a picture can be resized to along one side."""


@dataclass(frozen=True)
class SegmenterOptions:
    """Settings of one segmenter. The plain defaults are those of the demo; see :meth:`for_task`.

    An unknown field, a wrong type or a value out of range raises :class:`UserError`.
    """

    # 1, 2: resize and tiles
    resize_method: ResizeMethod = "multi_resolution"
    square: Square = "picture"
    """Under ``resize_method='resize'``, what becomes a square of ``crop_size``: the picture, so that SAM 2 sees the
    square too, or the image tower's one view alone, of the picture fitted into ``scale``."""
    scale: tuple[int, int] = (2016, 672)
    """Long and short side that the picture is fitted into, in pixels; an unordered pair."""
    crop_size: int | None = None
    """Side of the encoder's input in pixels; None: 336 for CLIP ViT, the tower's own size for SigLIP2 and PE."""
    global_views: int = 1
    """1: the whole picture; 2: its left and right half side by side (wide street scenes); 0: none beside the tiles, of
    which a picture smaller than one is the only one."""
    antialias: bool = True
    """Views are resized with antialiasing, which matters where they shrink; off: as torchvision resizes tensors by
    itself up to 0.16."""
    upsample_times: int = 1
    """Patch values are bilinearly upsampled this many times before they are fused."""
    view_batch: int = 0
    """Views in one pass of the image tower; 0: as many as fit a memory budget."""

    # 5: region masks
    points_per_side: int = 16
    pred_iou_thresh: float = 0.6
    stability_score_thresh: float = 0.6
    box_nms_thresh: float = 0.9
    min_size: int = 100
    """A mask of this area or less, in low-resolution pixels, is dropped."""
    fuse_mask: bool = True
    fuse_mask_threshold: float = 0.8
    fuse_box_iou: float = 0.2
    points_per_batch: int = 0
    """Points decoded at a time; 0: a size that suits the device."""
    mask_size: SizeName = "resized"
    """Size at which the region masks are taken (and fused): the resized or the original picture."""

    # 6, 7, 8: pooling
    mask_type: MaskType = "soft"
    remove_global_patch: bool = True
    global_patch_threshold: float = 0.07
    pool_feature: PoolFeature = "value"
    pool_mlp: bool = True
    """CLIP ViT only: add the last block's MLP to the pooled token."""
    normalize_values: bool = True
    """CLIP ViT only: L2-normalise the patch values before pooling (multi-resolution with the filter on)."""

    # 11, 12: painting
    region_logit_scale: float = 50.0
    uncovered: Uncovered = "uniform"
    """Pixels that no region covers: all words alike (so that the first stands there), the first word for certain, the
    dense CLIP scores, or no word (label -1). Published are the first three, each in some task."""
    prob_thd: float = 0.0
    """A pixel whose highest class probability is below this becomes class 0."""
    output_size: SizeName = "original"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", _pair(self.scale))
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name))
        _check_ranges(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SegmenterOptions:
        """Options from names and values (a YAML or JSON mapping); an unknown name is an error."""
        if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
            raise UserError(f"Options must be a mapping of names to values, but got {values!r}.")
        return cls().replace(**values)

    @classmethod
    def for_task(cls, task: Task, *, weights_origin: str | None = None, **overrides: Any) -> SegmenterOptions:
        """The preset of a task (method.md section 12), with any field overridden.

        Args:
            task: its name.
            weights_origin: whose image-text weights they are (:attr:`Encoder.weights_origin`), where it is known.
            overrides: fields.
        """
        return cls().replace(**{**preset(task, weights_origin), **overrides})

    def replace(self, **changes: Any) -> SegmenterOptions:
        """A copy with some fields changed; an unknown name raises :class:`UserError`."""
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known options: {', '.join(names)}."
                raise UserError(f"Unknown option {name!r}: {hint}")
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as they are written beside a result."""
        return dataclasses.asdict(self)

    def of_regions(self) -> dict[str, Any]:
        """The values that a picture's regions depend on: neither painting nor batch sizes change them."""
        return {name: value for name, value in self.as_dict().items() if name not in _NOT_OF_REGIONS}


PRESETS: dict[str, dict[str, Any]] = {
    "demo": {},
    "semantic": {"square": "view", "mask_size": "original", "pool_mlp": False, "uncovered": "dense"},
    "referring": {"scale": (2016, 2016)},
    "reasoning": {"min_size": 0, "uncovered": "first", "pool_mlp": False},
}

PRESETS_OF_WEIGHTS: dict[str, dict[str, dict[str, Any]]] = {"openai": {"semantic": {"normalize_values": False}}}
"""What a task's preset has otherwise with weights of one origin."""


def preset(task: Task, weights_origin: str | None = None) -> dict[str, Any]:
    """What a task changes of the defaults, with weights of an origin."""
    if task not in PRESETS:
        raise UserError(f"Unknown task {task!r}: choose one of {', '.join(PRESETS)}.")
    return {**PRESETS[task], **PRESETS_OF_WEIGHTS.get(weights_origin or "", {}).get(task, {})}


_NOT_OF_REGIONS = ("region_logit_scale", "uncovered", "prob_thd", "output_size", "points_per_batch", "view_batch")
_CHOICES: dict[str, tuple[str, ...]] = {
    "resize_method": get_args(ResizeMethod),
    "square": get_args(Square),
    "mask_type": get_args(MaskType),
    "pool_feature": get_args(PoolFeature),
    "mask_size": get_args(SizeName),
    "output_size": get_args(SizeName),
    "uncovered": get_args(Uncovered),
}
_BOOLS = ("antialias", "fuse_mask", "remove_global_patch", "pool_mlp", "normalize_values")
_POSITIVE_INTS = ("upsample_times", "points_per_side")
_MOST = {"points_per_side": 256, "upsample_times": 16, "crop_size": 4096}
"""More than any use takes, and less than what would need all of a machine's memory before a picture is read."""
_NATURALS = ("min_size", "points_per_batch", "view_batch")
_FRACTIONS = (
    "pred_iou_thresh",
    "stability_score_thresh",
    "box_nms_thresh",
    "fuse_mask_threshold",
    "fuse_box_iou",
    "prob_thd",
)


def _pair(scale: Any) -> tuple[int, int]:
    pair = tuple(scale) if isinstance(scale, (list, tuple)) else (scale,)
    if len(pair) != 2 or not all(type(side) is int and 0 < side <= MAX_SIDE for side in pair):
        raise UserError(
            f"Option 'scale' must be two positive whole numbers (long, short) of at most {MAX_SIDE}, but got {scale!r}."
        )
    return pair[0], pair[1]


def _check_type(name: str, value: Any) -> None:
    if name in _CHOICES and value not in _CHOICES[name]:
        raise UserError(f"Option {name!r} must be one of {', '.join(_CHOICES[name])}, but got {value!r}.")
    if name in _BOOLS and type(value) is not bool:
        raise UserError(f"Option {name!r} must be true or false, but got {value!r}.")
    if name in _POSITIVE_INTS and (type(value) is not int or value < 1):
        raise UserError(f"Option {name!r} must be a whole number of at least 1, but got {value!r}.")
    if name in _NATURALS and (type(value) is not int or value < 0):
        raise UserError(f"Option {name!r} must be a whole number of at least 0, but got {value!r}.")
    is_number = type(value) in (int, float) and abs(value) < 1e30
    if name in _FRACTIONS and not (is_number and 0 <= value <= 1):
        raise UserError(f"Option {name!r} must be a number from 0 to 1, but got {value!r}.")
    if name in ("global_patch_threshold", "region_logit_scale") and not is_number:
        raise UserError(f"Option {name!r} must be a finite number, but got {value!r}.")


def _check_ranges(options: SegmenterOptions) -> None:
    size = options.crop_size
    if size is not None and (type(size) is not int or size < 1):
        raise UserError(f"Option 'crop_size' must be a whole number of pixels or None, but got {size!r}.")
    for name, most in _MOST.items():
        if (getattr(options, name) or 0) > most:
            raise UserError(f"Option {name!r} must be at most {most}, but got {getattr(options, name)}.")
    if type(options.global_views) is not int or options.global_views not in (0, 1, 2):
        raise UserError(f"Option 'global_views' must be 0, 1 or 2, but got {options.global_views!r}.")
    if options.global_views == 0 and options.resize_method == "resize":
        raise UserError(
            "Option 'global_views' is 0, but resize_method 'resize' has no other view: leave one of them out."
        )
