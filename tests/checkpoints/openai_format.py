"""A tiny CLIP as OpenAI's package has and saves it: names, precisions, and the three numbers among the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

TINY: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 2, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


class OpenAIClip(nn.Module):
    """The parts of an open_clip model under the names that OpenAI's has, which are the same."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        model: Any = open_clip.CLIP(**TINY, quick_gelu=True).eval()
        self.visual, self.transformer = model.visual, model.transformer
        self.token_embedding, self.ln_final = model.token_embedding, model.ln_final
        self.positional_embedding, self.text_projection = model.positional_embedding, model.text_projection
        self.logit_scale = model.logit_scale
        numbers = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
        for name, number in numbers.items():
            self.register_buffer(name, torch.tensor(number))

    def forward(self, image: Tensor) -> Tensor:
        """The image tower stands for all."""
        features: Tensor = self.visual(image)
        return features


def save_archive(model: OpenAIClip, path: Path) -> Any:
    """Save it as OpenAI does: scripted, with all but the layer norms in float16."""
    scripted: Any = torch.jit.trace(model, torch.zeros(1, 3, 32, 32), check_trace=False)
    with torch.no_grad():
        for name, parameter in scripted.named_parameters():
            if not any(part.startswith("ln_") for part in name.split(".")):
                parameter.data = parameter.data.half()
    scripted.save(str(path))
    return scripted
