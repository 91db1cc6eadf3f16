"""What the published evaluations did otherwise than the defaults here, because of the packages that they pinned.

One preset for all tasks (method.md sections 2 and 5). It leaves two things out: OpenAI's CLIP stays in float32 (theirs
ran in float16 on a GPU), and PyTorch's global switch for TF32 is not touched.
"""

from __future__ import annotations

from typing import Any

import torch

from .options import Task
from .runtime import DtypeName

OPTIONS: dict[str, Any] = {"antialias": False}
"""Over a task's preset: torchvision 0.16.0, which their set-up installs last, does not antialias tensors."""

_SAM2_ON_CUDA: dict[Task, DtypeName] = {"demo": "bf16", "semantic": "bf16", "referring": "bf16", "reasoning": "fp32"}


def sam2_dtype(task: Task, device: torch.device) -> DtypeName:
    """The precision that SAM 2 ran in, beside an image-text model in float32; on a CPU everything is float32."""
    return _SAM2_ON_CUDA[task] if device.type == "cuda" else "fp32"
