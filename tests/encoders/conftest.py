"""Tiny architectures among open_clip's, registered once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import open_clip
import pytest
import timm
from timm.models import vision_transformer

from textregion.encoders import supported_architectures
from textregion.encoders.published import openai_files

from ..checkpoints.openai_format import TINY

_TEXT = {"context_length": 16, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2}
_SIGLIP_TEXT = {
    **_TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6},
    "act_kwargs": {"approximate": "tanh"}, "hf_tokenizer_name": "somebody/Tiny-SigLIP2",
    "tokenizer_kwargs": {"clean": "canonicalize"},
}  # fmt: skip


def _tower(name: str, **settings: object) -> dict[str, object]:
    return {"timm_model_name": name, "timm_model_pretrained": False, "timm_pool": "map", **settings}


ARCHITECTURES = {
    "tiny-clip": TINY,
    "tiny-clip-quickgelu": {**TINY, "quick_gelu": True},
    "tiny-siglip": {
        "embed_dim": 32, "init_logit_bias": -10, "custom_text": True, "text_cfg": _SIGLIP_TEXT,
        "vision_cfg": _tower("vit_tiny_test_siglip", image_size=64, timm_proj="none"),
    },
    "tiny-pe": {
        "embed_dim": 16, "custom_text": True, "text_cfg": {**_TEXT, "vocab_size": 49408},
        "vision_cfg": _tower("vit_pe_tiny_test", image_size=64, timm_proj=None),
    },
}  # fmt: skip


@timm.models.register_model
def vit_tiny_test_siglip(pretrained: bool = False, **settings: object) -> object:
    """A SigLIP tower of two blocks."""
    sizes = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
    siglip = {"class_token": False, "global_pool": "map", "act_layer": "gelu_tanh"}
    return vision_transformer.VisionTransformer(**{**sizes, **siglip, **_plain(settings)})  # type: ignore[arg-type]


@timm.models.register_model
def vit_pe_tiny_test(pretrained: bool = False, **settings: object) -> object:
    """A Perception Encoder tower of two blocks."""
    sizes = {"img_size": 64, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 2, "ref_feat_shape": (4, 4)}
    return timm.create_model("vit_pe_core_tiny_patch16_384", **{**_plain(settings), **sizes, "attn_pool_num_heads": 2})


def _plain(settings: dict[str, object]) -> dict[str, object]:
    dropped = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    return {name: value for name, value in settings.items() if name not in dropped and value is not None}


@pytest.fixture(scope="session", autouse=True)
def _architectures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("architectures")
    for name, config in ARCHITECTURES.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    supported_architectures.cache_clear()
    openai_files.cache_clear()
    yield
