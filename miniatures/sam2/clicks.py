"""What the training and the scoring of a small SAM 2 share: encode pictures, decode clicks, score the masks.

A click is one foreground point in the model's own pixels, (x, y), continuous: the middle of the first pixel is
(0.5, 0.5). Every picture of a batch gets the same number of clicks, and each click three masks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import SAM2Base
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from miniatures.scenes import Scene, render_scene
from textregion.masks import stability_score

ROLES = ("thing", "part", "ground")
HELD_OUT_SEEDS = range(100)  # training seeds start far above: see sam2_examples.FIRST_SEED
MIN_AREA_FRACTION = 1e-3  # an object with less of the picture visible is four cells of the mask grid: not scored


def normalize(images_u8: Tensor) -> Tensor:
    """(B, 3, S, S) in 0..255 -> the same, ImageNet-normalised, float32."""
    mean = torch.tensor(IMAGENET_DEFAULT_MEAN, device=images_u8.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_DEFAULT_STD, device=images_u8.device).view(3, 1, 1)
    return (images_u8.float() / 255 - mean) / std


def encode_pictures(model: SAM2Base, images: Tensor) -> list[Tensor]:
    """Normalised pictures (B, 3, S, S) -> feature maps, finest first, the last one the image embedding.

    The same steps as `SAM2ImagePredictor.set_image`, with gradients and for a batch.
    """
    backbone = model.forward_image(images)
    _, features, _, sizes = model._prepare_backbone_features(backbone)
    if model.directly_add_no_mem_embed:
        features[-1] = features[-1] + model.no_mem_embed
    return [f.permute(1, 2, 0).unflatten(2, hw) for f, hw in zip(features, sizes, strict=True)]


def decode_clicks(model: SAM2Base, features: list[Tensor], points_xy: Tensor) -> tuple[Tensor, Tensor]:
    """Clicks (B, n, 2) -> mask logits (B, n, 3, h, w) and predicted IoU (B, n, 3).

    The same calls as `SAM2ImagePredictor._predict`, with gradients and for a batch.
    """
    batch, clicks = points_xy.shape[:2]
    labels = torch.ones(batch * clicks, 1, dtype=torch.int32, device=points_xy.device)
    sparse, dense = model.sam_prompt_encoder(points=(points_xy.flatten(0, 1)[:, None], labels), boxes=None, masks=None)
    repeated = [f.repeat_interleave(clicks, dim=0) for f in features]
    logits, predicted_iou, _, _ = model.sam_mask_decoder(
        image_embeddings=repeated[-1],
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        repeat_image=False,
        high_res_features=repeated[:-1],
    )
    return logits.unflatten(0, (batch, clicks)), predicted_iou.unflatten(0, (batch, clicks))


def click_on(mask: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """A pixel (x, y) of a boolean mask (H, W), every pixel equally likely."""
    pixel = int(rng.choice(np.flatnonzero(mask)))
    return pixel % mask.shape[1], pixel // mask.shape[1]


@torch.inference_mode()
def click_masks(model: SAM2Base, image: np.ndarray, points_xy: np.ndarray) -> tuple[Tensor, Tensor]:
    """Picture (H, W, 3) uint8 and clicks (n, 2) in its pixels -> logits (n, 3, h, w), predicted IoU (n, 3)."""
    height, width = image.shape[:2]
    picture = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    resized = F.interpolate(picture, (model.image_size,) * 2, mode="bilinear", align_corners=False)
    scale = torch.tensor([model.image_size / width, model.image_size / height])
    points = (torch.from_numpy(points_xy).float() + 0.5) * scale
    logits, predicted_iou = decode_clicks(model, encode_pictures(model, normalize(resized)), points[None])
    return logits[0], predicted_iou[0]


def score_scene(model: SAM2Base, scene: Scene, rng: np.random.Generator) -> list[tuple[str, float, float, bool]]:
    """One click on every object that is large enough -> (role, best-of-3 IoU, first-ranked IoU, kept) each.

    IoU is measured at the picture's own size. `kept`: the best mask passes the two filters of the mask
    generator, predicted IoU > 0.6 and stability >= 0.6.
    """
    floor = MIN_AREA_FRACTION * scene.image.shape[0] * scene.image.shape[1]
    objects = [o for o in scene.objects if o.mask.sum() >= floor]
    points = np.array([click_on(o.mask, rng) for o in objects])
    logits, predicted_iou = click_masks(model, scene.image, points)
    stability = stability_score(logits.flatten(0, 1)).unflatten(0, logits.shape[:2])
    masks = F.interpolate(logits, scene.image.shape[:2], mode="bilinear", align_corners=False) > 0
    rows = []
    for index, item in enumerate(objects):
        truth = torch.from_numpy(item.mask)
        overlap = (masks[index] & truth).sum((-2, -1)) / (masks[index] | truth).sum((-2, -1))
        best = int(overlap.argmax())
        kept = bool(predicted_iou[index, best] > 0.6 and stability[index, best] >= 0.6)
        rows.append((item.role, float(overlap[best]), float(overlap[predicted_iou[index].argmax()]), kept))
    return rows


def evaluate_clicks(
    model: SAM2Base, seeds: Iterable[int] = HELD_OUT_SEEDS, size_hw: tuple[int, int] = (480, 640)
) -> dict[str, dict[str, float]]:
    """Scores on rendered scenes, by role: {role: {best_of_3, first_ranked, kept, clicks}}.

    One click on every object of a scene that shows at least a thousandth of the picture, at a random visible
    pixel (drawn from the scene's seed). `best_of_3` and `first_ranked` are mean IoU of the best of the three
    masks and of the mask with the highest predicted IoU; `kept` is the share of best masks that pass the mask
    generator's filters.
    """
    was_training = model.training
    model.eval()
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for seed in seeds:
        for role, *scores in score_scene(model, render_scene(seed, size_hw), np.random.default_rng(seed)):
            rows[role].append([float(score) for score in scores])
    model.train(was_training)
    names = ("best_of_3", "first_ranked", "kept")
    return {
        role: dict(zip(names, np.mean(rows[role], axis=0).tolist(), strict=True)) | {"clicks": len(rows[role])}
        for role in ROLES
        if rows[role]
    }
