"""Rendered scenes as training examples for a small SAM 2: rendered once into a cache, then viewed and clicked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from miniatures.sam2.clicks import ROLES, click_on
from miniatures.scenes import render_scene

FIRST_SEED = 1_000_000  # scenes below this seed are never trained on
SIZES_HW = ((480, 640), (640, 480), (512, 512), (384, 672))
SHARD = 50
SIDE = 256
MASK_SIDE = 128  # finer than the model's masks, so that edges are learnt between their cells
MIN_CELLS = 12  # an object that shows in fewer cells is no target
ROLE_WEIGHTS = {"thing": 0.55, "part": 0.2, "ground": 0.25}


@dataclass(frozen=True)
class CachedScene:
    """A scene at SIDE x SIDE: picture (SIDE, SIDE, 3) uint8, masks (K, SIDE * SIDE / 8) packed bits, roles (K,)."""

    image: np.ndarray
    packed: np.ndarray
    roles: np.ndarray  # indices into ROLES


def render_small(seed: int) -> CachedScene:
    """Render a scene at one of SIZES_HW and bring it to SIDE x SIDE the way SAM 2 does: bilinear, no antialias."""
    rng = np.random.default_rng(seed)
    height, width = SIZES_HW[rng.integers(len(SIZES_HW))]
    scene = render_scene(seed, (height, width), closeup=bool(rng.random() < 0.1))
    picture = torch.from_numpy(scene.image.copy()).permute(2, 0, 1)[None].float()
    small = F.interpolate(picture, (SIDE, SIDE), mode="bilinear", align_corners=False)
    rows = ((np.arange(SIDE) + 0.5) * height / SIDE).astype(int)
    cols = ((np.arange(SIDE) + 0.5) * width / SIDE).astype(int)
    masks = np.stack([item.mask[np.ix_(rows, cols)] for item in scene.objects])
    return CachedScene(
        small[0].permute(1, 2, 0).round().to(torch.uint8).numpy(),
        np.packbits(masks.reshape(len(masks), -1), axis=1),
        np.array([ROLES.index(item.role) for item in scene.objects], dtype=np.int8),
    )


def render_cache(folder: Path, count: int) -> None:
    """Render `count` scenes into shards of SHARD scenes; shards that exist are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, count, SHARD):
        shard = folder / f"scenes-{start:06d}.npz"
        if shard.exists():
            continue
        scenes = [render_small(FIRST_SEED + seed) for seed in range(start, start + SHARD)]
        partial = folder / f"partial-{os.getpid()}.npz"
        np.savez(
            partial,
            images=np.stack([s.image for s in scenes]),
            packed=np.concatenate([s.packed for s in scenes]),
            roles=np.concatenate([s.roles for s in scenes]),
            counts=np.array([len(s.roles) for s in scenes]),
        )
        partial.replace(shard)


class SceneCache:
    """The scenes of a cache folder; `refresh` takes in shards that came since."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scenes: list[CachedScene] = []
        self._seen: set[Path] = set()

    def refresh(self) -> None:
        for shard in sorted(set(self.folder.glob("scenes-*.npz")) - self._seen):
            with np.load(shard) as data:
                images, packed, roles, counts = (data[k] for k in ("images", "packed", "roles", "counts"))
            ends = np.cumsum(counts)
            for image, end, size in zip(images, ends, counts, strict=True):
                self.scenes.append(CachedScene(image, packed[end - size : end], roles[end - size : end]))
            self._seen.add(shard)


@dataclass(frozen=True)
class Example:
    """image (3, SIDE, SIDE) float 0..255; points_xy (n, 2); targets (K, cells) in {0, 1}; hit (n, K) bool."""

    image: Tensor
    points_xy: Tensor
    targets: Tensor
    hit: Tensor


def random_view(scene: CachedScene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The scene flipped or not, in a quarter of the cases cropped: picture (h, w, 3), masks (K, h, w) uint8."""
    masks = np.unpackbits(scene.packed, axis=1).reshape(-1, SIDE, SIDE)
    image = scene.image
    if rng.random() < 0.5:
        image, masks = image[:, ::-1], masks[:, :, ::-1]
    if rng.random() < 0.25:
        height, width = rng.integers(SIDE // 2, SIDE + 1, size=2)
        top, left = rng.integers(SIDE - height + 1), rng.integers(SIDE - width + 1)
        image = image[top : top + height, left : left + width]
        masks = masks[:, top : top + height, left : left + width]
    return np.ascontiguousarray(image), np.ascontiguousarray(masks)


def draw_clicks(masks: np.ndarray, roles: np.ndarray, clicks: int, rng: np.random.Generator) -> np.ndarray:
    """Clicks (clicks, 2) as pixels (x, y) of masks (K, h, w): a role, then an object of it, then a visible pixel."""
    weights = np.array([ROLE_WEIGHTS[ROLES[role]] / np.sum(roles == role) for role in roles])
    chosen = rng.choice(len(masks), size=clicks, p=weights / weights.sum())
    return np.array([click_on(masks[index], rng) for index in chosen])


def make_example(scene: CachedScene, clicks: int, rng: np.random.Generator) -> Example | None:
    """A view of a scene with clicks on it; None where nothing large enough is in view."""
    pixels, masks = random_view(scene, rng)
    height, width = masks.shape[1:]
    cells = F.adaptive_avg_pool2d(torch.from_numpy(masks).float()[:, None], MASK_SIDE)[:, 0] >= 0.5
    shown = (cells.sum((1, 2)) >= MIN_CELLS).numpy()
    if not shown.any():
        return None
    masks, cells = masks[shown], cells[torch.from_numpy(shown)]
    points = draw_clicks(masks, scene.roles[shown], clicks, rng)
    hit = torch.from_numpy(masks[:, points[:, 1], points[:, 0]].T > 0)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    image = F.interpolate(image, (SIDE, SIDE), mode="bilinear", align_corners=False)[0]
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, size=(3, 1, 1)) * rng.uniform(0.85, 1.15)).float()
    scale = torch.tensor([SIDE / width, SIDE / height])
    points_xy = (torch.from_numpy(points).float() + 0.5) * scale
    return Example((image * gain).clamp(0, 255), points_xy, cells.flatten(1).float(), hit)


def make_batch(scenes: list[CachedScene], pictures: int, clicks: int, rng: np.random.Generator) -> Example:
    """`pictures` examples stacked; targets are padded with empty masks that no click hits."""
    examples: list[Example] = []
    while len(examples) < pictures:
        example = make_example(scenes[rng.integers(len(scenes))], clicks, rng)
        if example is not None:
            examples.append(example)
    most = max(len(e.targets) for e in examples)
    return Example(
        torch.stack([e.image for e in examples]),
        torch.stack([e.points_xy for e in examples]),
        torch.stack([F.pad(e.targets, (0, 0, 0, most - len(e.targets))) for e in examples]),
        torch.stack([F.pad(e.hit, (0, most - e.hit.shape[1])) for e in examples]),
    )
