"""How well the miniature CLIP names things, grounds and patches of scenes that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

from miniatures.clip.model import Tokenizer, encode_pictures, ensemble, pooled_head
from miniatures.scenes import GROUNDS, THINGS, Scene, render_scene

HELD_OUT_SEEDS = range(100)
MIN_AREA_SHARE = 1e-3  # an object with less of the picture visible is not a region


def normalize(images_u8: Tensor) -> Tensor:
    """(B, 3, S, S) in 0..255 -> normalised with CLIP's mean and deviation."""
    mean = torch.tensor(OPENAI_DATASET_MEAN, device=images_u8.device).view(3, 1, 1)
    std = torch.tensor(OPENAI_DATASET_STD, device=images_u8.device).view(3, 1, 1)
    return (images_u8.float() / 255 - mean) / std


def split_views(image: np.ndarray, size: int) -> tuple[Tensor, tuple[int, int]]:
    """(H, W, 3) uint8 -> the whole picture and its tiles (1 + T, 3, S, S), normalised; and (rows, cols)."""
    height, width = image.shape[:2]
    rows, cols = max(height // size, 1), max(width // size, 1)
    tile_h, tile_w = -(-height // rows), -(-width // cols)
    views = [image]
    for top in (min(i * tile_h, height - tile_h) for i in range(rows)):
        for left in (min(j * tile_w, width - tile_w) for j in range(cols)):
            views.append(image[top : top + tile_h, left : left + tile_w])
    resized = [
        F.interpolate(
            torch.from_numpy(np.ascontiguousarray(view)).permute(2, 0, 1)[None].float(),
            (size, size), mode="bicubic", antialias=True, align_corners=False,
        )
        for view in views
    ]  # fmt: skip
    return normalize(torch.cat(resized).clamp(0, 255)), (rows, cols)


def fused_values(model: open_clip.CLIP, image: np.ndarray, coarse: float = 1.0, fine: float = 1.0) -> Tensor:
    """(H, W, 3) uint8 -> values of both resolutions on the fused grid, (C, gh, gw)."""
    views, (rows, cols) = split_views(image, model.visual.image_size[0])
    _, values = encode_pictures(model.visual, views.to(model.logit_scale.device))
    grid = values.shape[-1]
    tiles = values[1:].unflatten(0, (rows, cols)).permute(2, 0, 3, 1, 4).reshape(-1, rows * grid, cols * grid)
    whole = F.interpolate(values[:1], tiles.shape[-2:], mode="bilinear", align_corners=False)[0]
    return coarse * whole + fine * tiles


@dataclass(frozen=True)
class RegionScores:
    """Naming with the true masks of things and grounds, and naming every patch alone; all in 0..1."""

    things: float
    grounds: float
    by_area: float
    miou: float
    patch_miou: float

    def __str__(self) -> str:
        return (
            f"things {self.things:.3f} grounds {self.grounds:.3f} by area {self.by_area:.3f} "
            f"mIoU {self.miou:.3f} patches alone mIoU {self.patch_miou:.3f}"
        )


def regions_of(scene: Scene, names: Sequence[str]) -> Iterator[tuple[int, str, np.ndarray]]:
    """(name index, role, mask) of every thing and ground that is visible enough."""
    for item in scene.objects:
        if item.role != "part" and item.mask.mean() >= MIN_AREA_SHARE:
            yield names.index(item.kind), item.role, item.mask


def mean_iou(confusion: np.ndarray) -> float:
    """(K, K) pixel counts, truth in rows -> mean over the names that occur."""
    hits = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    occurs = confusion.sum(axis=1) > 0
    return float((hits[occurs] / union[occurs]).mean())


@torch.inference_mode()
def score_regions(
    model: open_clip.CLIP,
    tokenizer: Tokenizer,
    size_hw: tuple[int, int] = (256, 384),
    *,
    seeds: Sequence[int] = HELD_OUT_SEEDS,
    shrink_to: float = 1.0,
    pool_mlp: bool = False,
    coarse: float = 1.0,
    fine: float = 1.0,
) -> RegionScores:
    """Name the true regions of scenes, in the way the method pools them.

    shrink_to: the picture is seen at this factor of its rendered size.
    coarse, fine: factors of the two resolutions' values.
    """
    names = [*THINGS, *GROUNDS]
    text = ensemble(model, tokenizer, names)
    right: dict[str, list[tuple[bool, float]]] = {"thing": [], "ground": []}
    oracle, patches = np.zeros((2, len(names), len(names)), dtype=np.int64)
    for seed in seeds:
        scene = render_scene(seed, size_hw)
        seen = cv2.resize(scene.image, None, fx=shrink_to, fy=shrink_to, interpolation=cv2.INTER_AREA)
        values = fused_values(model, seen, coarse, fine)
        dense = pooled_head(model.visual, values.permute(1, 2, 0), pool_mlp) @ text.T
        upsampled = F.interpolate(dense.permute(2, 0, 1)[None], size_hw, mode="bilinear", align_corners=False)
        patch_labels = upsampled[0].argmax(dim=0).cpu().numpy()
        for truth, role, mask in regions_of(scene, names):
            soft = torch.from_numpy(mask)[None, None].to(values)
            weights = F.interpolate(soft, values.shape[-2:], mode="area")[0]
            token = pooled_head(model.visual, (values * weights).sum(dim=(1, 2)), pool_mlp)
            guess = int((text @ token).argmax())
            right[role].append((guess == truth, float(mask.sum())))
            oracle[truth, guess] += mask.sum()
            patches[truth] += np.bincount(patch_labels[mask], minlength=len(names))
    named = {role: np.array(rows, dtype=float) for role, rows in right.items()}
    both = np.concatenate(list(named.values()))
    return RegionScores(
        things=named["thing"][:, 0].mean(),
        grounds=named["ground"][:, 0].mean(),
        by_area=float((both[:, 0] * both[:, 1]).sum() / both[:, 1].sum()),
        miou=mean_iou(oracle),
        patch_miou=mean_iou(patches),
    )


@torch.inference_mode()
def score_closeups(
    model: open_clip.CLIP, tokenizer: Tokenizer, seeds: Sequence[int] = HELD_OUT_SEEDS, size: int = 128
) -> tuple[float, float]:
    """Share of close-ups whose thing is named right among all kinds: by class token, by pooled values."""
    names = list(THINGS)
    text = ensemble(model, tokenizer, names)
    hits = np.zeros(2)
    for seed in seeds:
        scene = render_scene(seed, (size, size), closeup=True)
        truth = names.index(next(item.kind for item in scene.objects if item.role == "thing"))
        views, _ = split_views(scene.image, model.visual.image_size[0])
        embedding, values = encode_pictures(model.visual, views[:1].to(text.device))
        pooled = pooled_head(model.visual, values.mean(dim=(2, 3)), pool_mlp=False)
        hits += [int((text @ token[0]).argmax()) == truth for token in (embedding, pooled)]
    by_class_token, by_values = hits / len(seeds)
    return float(by_class_token), float(by_values)
