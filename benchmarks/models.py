"""Frozen models of the real sizes with random weights, and masks as a trained SAM 2 would give them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import sam2
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from textregion import Encoder, MaskGenerator, SegmenterOptions, load_encoder
from textregion.image import RGB

SITES = (180, 90, 40)
"""Cells of the drawn sub-part, part and whole masks."""
_STEEPNESS = 400.0


@dataclass(frozen=True)
class Pair:
    """An image-text model and a SAM 2."""

    clip: str
    """open_clip's name; built for 336 pixels."""
    sam2: str
    """A config inside the sam2 package."""


PAIRS = {
    "ViT-B/16 + SAM 2.1 tiny": Pair("ViT-B-16", "sam2.1/sam2.1_hiera_t.yaml"),
    "ViT-L/14@336px + SAM 2.1 large": Pair("ViT-L-14-336", "sam2.1/sam2.1_hiera_l.yaml"),
}


def build_clip(pair: Pair, device: torch.device) -> tuple[nn.Module, Encoder]:
    """The open_clip model for 336 pixels, and the encoder around it."""
    torch.manual_seed(0)
    model = open_clip.create_model(pair.clip, pretrained=None, force_image_size=336).eval().to(device)
    tokenizer = open_clip.SimpleTokenizer(context_length=77)
    return model, load_encoder(model, tokenizer=tokenizer, crop_size=336, device=device, label=pair.clip)


def build_sam2(pair: Pair, device: torch.device) -> nn.Module:
    """A SAM 2 model, as the package builds it without postprocessing."""
    torch.manual_seed(0)
    config = OmegaConf.load(Path(sam2.__file__).parent / "configs" / pair.sam2)
    model: nn.Module = instantiate(config.model, _recursive_=True)
    return model.eval().to(device)


class DrawnMasks(MaskGenerator):
    """SAM 2 does all of its work, but its random masks are replaced by drawn ones, of which about 200 regions stay."""

    def __init__(self, sam2_model: nn.Module, options: SegmenterOptions, precision: Any) -> None:
        super().__init__(sam2_model, options, precision)
        self._drawn = draw_predictions(options.points_per_side, 256, self.device)

    def predict(self, image: RGB, options: SegmenterOptions | None = None) -> tuple[Tensor, Tensor]:
        """Run the model, answer with drawn masks."""
        super().predict(image, options)
        return self._drawn


def draw_predictions(
    per_side: int, size: int, device: torch.device | str = "cpu", sites: tuple[int, int, int] = SITES
) -> tuple[Tensor, Tensor]:
    """Logits (P, 3, size, size) float16 and predicted IoU (P, 3): at every point a small, a middle and a large cell.

    Cells are Voronoi cells around random sites, softest at their borders; points in one cell get nearly one mask, as
    they do from a trained model.
    """
    generator = torch.Generator().manual_seed(0)
    axis = (torch.arange(size) + 0.5) / size
    pixels = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).flatten(0, 1)
    centres = (torch.arange(per_side) + 0.5) / per_side
    points = torch.stack(torch.meshgrid(centres, centres, indexing="ij"), dim=-1).flatten(0, 1)
    logits = torch.empty(len(points), 3, size, size, dtype=torch.float16)
    for level, count in enumerate(sites):
        places = torch.rand(count, 2, generator=generator)
        distance = torch.cdist(pixels, places)
        nearest, order = distance.topk(2, largest=False)
        cell_of_point = torch.cdist(points, places).argmin(1)
        for own in cell_of_point.unique().tolist():
            other = torch.where(order[:, 0] == own, nearest[:, 1], nearest[:, 0])
            mask = (other - distance[:, own]) * _STEEPNESS
            logits[cell_of_point == own, level] = mask.view(size, size).clamp(-32, 32).half()
    iou = 0.7 + 0.3 * torch.rand(len(points), 3, generator=generator)
    return logits.to(device), iou.to(device)


def picture(width: int, height: int) -> RGB:
    """A random smooth picture."""
    noise = np.random.default_rng(0).random((1, 3, height // 32 + 1, width // 32 + 1), dtype=np.float32)
    smooth = torch.nn.functional.interpolate(torch.from_numpy(noise), (height, width), mode="bicubic")
    return (smooth[0].permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()
