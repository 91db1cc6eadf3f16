"""Weights in Meta's and transformers' naming give the numbers of the models that they are of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from textregion import UserError, load_encoder
from textregion.checkpoints.conversion import to_open_clip
from textregion.checkpoints.naming import naming_of, what_is_wrong
from textregion.checkpoints.reading import read_checkpoint
from textregion.encoders.models import build_model, fill
from textregion.encoders.names import resolve_architecture

from .conftest import ARCHITECTURES

_TOWER = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
_TEXT = {**_TOWER, "vocab_size": 64, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 63}


def _randomised(model: nn.Module) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("logit_"):
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def _clip(act: str = "quick_gelu") -> Any:
    vision = {**_TOWER, "hidden_act": act, "image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config={**_TEXT, "hidden_act": act}, vision_config=vision, projection_dim=24)
    return _randomised(transformers.CLIPModel(config))


def _siglip() -> Any:
    vision = {**_TOWER, "image_size": 64, "patch_size": 16}
    return _randomised(transformers.SiglipModel(transformers.SiglipConfig(text_config=_TEXT, vision_config=vision)))


def _siglip2(patches: int) -> Any:
    vision = {**_TOWER, "num_patches": patches, "patch_size": 16}
    return _randomised(transformers.Siglip2Model(transformers.Siglip2Config(text_config=_TEXT, vision_config=vision)))


def _loaded(path: Path, config: dict[str, Any]) -> Any:
    tensors = read_checkpoint(path).tensors
    model = build_model(config)
    fill(model, to_open_clip(tensors, naming_of(tensors), model))
    return model.eval()


def _tokens() -> Tensor:
    tokens = torch.randint(2, 62, (3, 16), generator=torch.Generator().manual_seed(1))
    tokens[:, -1] = 63
    return tokens


def _image(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))


def _same(ours: Tensor, theirs: Any) -> None:
    theirs = getattr(theirs, "pooler_output", theirs)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    assert ours.std() > 1e-3


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_a_folder_of_transformers_clip_is_enough(act: str, tmp_path: Path) -> None:
    theirs = _clip(act)
    theirs.save_pretrained(tmp_path)
    encoder: Any = load_encoder(None, tmp_path, device="cpu", tokenizer=lambda texts: _tokens()[: len(texts)])
    with torch.no_grad():
        _same(encoder._visual(_image(32)), theirs.get_image_features(_image(32)))
        text = getattr(theirs.get_text_features(_tokens()), "pooler_output", theirs.get_text_features(_tokens()))
        torch.testing.assert_close(
            encoder.encode_text(_tokens()), nn.functional.normalize(text, dim=-1), atol=2e-5, rtol=0
        )
    assert encoder.name.startswith(f"{tmp_path.name}:")


@pytest.mark.parametrize("half", [False, True])
def test_transformers_siglip(half: bool, tmp_path: Path) -> None:
    theirs = _siglip()
    state = {name: value.half() if half else value for name, value in theirs.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    ours = _loaded(tmp_path / "model.safetensors", ARCHITECTURES["tiny-siglip"])
    if half:
        theirs.load_state_dict({name: value.float() for name, value in state.items()})
    with torch.no_grad():
        _same(ours.encode_image(_image(64)), theirs.get_image_features(_image(64)))
        _same(ours.encode_text(_tokens()), theirs.get_text_features(_tokens()))
        assert torch.equal(ours.logit_scale, theirs.logit_scale[0]) or torch.equal(ours.logit_scale, theirs.logit_scale)


@pytest.mark.parametrize("patches", [16, 25], ids=["its own grid", "another grid"])
def test_transformers_siglip2_of_any_size(patches: int, tmp_path: Path) -> None:
    theirs = _siglip2(patches)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    ours = _loaded(tmp_path / "model.safetensors", ARCHITECTURES["tiny-siglip"])
    image = _image(64)
    flat = image.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 4, 5, 1).reshape(2, 16, 768)
    shapes, mask = torch.tensor([[4, 4], [4, 4]]), torch.ones(2, 16, dtype=torch.long)
    with torch.no_grad():
        features = theirs.get_image_features(pixel_values=flat, spatial_shapes=shapes, pixel_attention_mask=mask)
        _same(ours.encode_image(image), features)
        _same(ours.encode_text(_tokens()), theirs.get_text_features(_tokens()))


def _in_metas_naming(model: nn.Module) -> dict[str, Tensor]:
    """An open_clip PE-Core's weights under the names of Meta's own files."""
    pairs = (
        ("patch_embed.proj", "conv1"), ("pos_embed", "positional_embedding"), ("attn_pool.latent", "attn_pool.probe"),
        ("attn_pool.norm", "attn_pool.layernorm"), ("attn_pool.proj", "attn_pool.attn.out_proj"),
        ("norm_pre", "ln_pre"), ("norm1", "ln_1"), ("norm2", "ln_2"), ("qkv.", "in_proj_"),
        ("attn.proj", "attn.out_proj"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("gamma_", "ls_"),
    )  # fmt: skip
    state: dict[str, Tensor] = {}
    own = model.state_dict()
    for name, value in own.items():
        if not name.startswith("visual."):
            state[name.removeprefix("text.")] = value
            continue
        name = name.removeprefix("visual.trunk.")
        if name in ("attn_pool.q.weight", "attn_pool.q.bias"):
            kind = name.rpartition(".")[2]
            both = [value, own[f"visual.trunk.attn_pool.kv.{kind}"]]
            state[f"visual.attn_pool.attn.in_proj_{kind}"] = torch.cat(both)
        elif name == "cls_token":
            state["visual.class_embedding"] = value[0, 0]
        elif name == "head.weight":
            state["visual.proj"] = value.T.contiguous()
        elif not name.startswith(("attn_pool.kv", "head.")):
            for ours, metas in pairs:
                name = name.replace(ours, metas)
            name = name.replace("norm.", "ln_post.") if name.startswith("norm.") else name
            state[f"visual.{name}"] = value[0] if name == "positional_embedding" else value
    return state


@pytest.mark.parametrize("wrapped", ["", "module."])
def test_metas_own_perception_encoder(wrapped: str, tmp_path: Path) -> None:
    model: Any = _randomised(build_model(ARCHITECTURES["tiny-pe"]))
    model.visual.trunk.head.bias.data.zero_()  # Meta's has none
    state = _in_metas_naming(model)
    assert {"visual.attn_pool.probe", "visual.transformer.resblocks.1.attn.in_proj_bias"} <= {
        name.replace("visual.blocks.", "visual.transformer.resblocks.") for name in state
    }
    state = {name.replace("visual.blocks.", "visual.transformer.resblocks."): value for name, value in state.items()}
    torch.save({wrapped + name: value for name, value in state.items()}, tmp_path / "PE.pt")
    ours = _loaded(tmp_path / "PE.pt", ARCHITECTURES["tiny-pe"])
    for name, value in model.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    encoder = load_encoder("tiny-pe", tmp_path / "PE.pt", device="cpu")
    assert encoder.encode_text(encoder.tokenize(["a dog"])).shape == (1, 16)


def test_open_clips_own_naming_of_either_kind_fits_either_model(tmp_path: Path) -> None:
    plain = build_model(ARCHITECTURES["tiny-clip"])
    custom = build_model({**ARCHITECTURES["tiny-clip"], "custom_text": True})
    for source, target in ((plain, custom), (custom, plain)):
        torch.save(source.state_dict(), tmp_path / "model.pt")
        fill(target, read_checkpoint(tmp_path / "model.pt").tensors)
        assert torch.equal(target.visual.proj, source.visual.proj)
    assert naming_of(plain.state_dict()) == naming_of(custom.state_dict()) == "open_clip"


REFUSED = {
    "vision": (
        "vision_model.embeddings.class_embedding",
        "an image tower alone, in transformers' naming: give the whole",
    ),
    "timm": ("patch_embed.proj.weight", "an image tower alone, in timm's naming: give open_clip's file"),
    "resnet": ("visual.layer1.0.conv1.weight", "a CLIP with a ResNet as its image tower: take one with a ViT"),
    "lora": ("base_model.model.visual.lora_A.weight", r"an adapter \(LoRA\).*: merge it"),
    "sam": ("image_encoder.blocks.0.attn.qkv.weight", "a SAM of the first generation: give a SAM 2"),
    "sam2": ("image_encoder.trunk.patch_embed.proj.weight", "a SAM 2 model: give it as --sam2_checkpoint"),
    "sam2 of transformers": ("vision_encoder.backbone.patch_embed.projection.weight", "a SAM 2 model: give it as"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_converted_is_named(kind: str, tmp_path: Path) -> None:
    name, said = REFUSED[kind]
    torch.save({name: torch.zeros(2), "logit_scale": torch.zeros(())}, tmp_path / "model.pt")
    with pytest.raises(UserError, match=rf"model\.pt' is {said}"):
        load_encoder("tiny-clip", tmp_path / "model.pt", device="cpu")


def test_weights_of_another_size_are_told_from_damaged_ones(tmp_path: Path) -> None:
    _clip().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"does not fit 'ViT-B-16' .*give its own architecture\.$"):
        load_encoder("ViT-B/16", tmp_path / "model.safetensors", device="cpu")


def test_nothing_is_wrong_with_what_is_taken() -> None:
    assert what_is_wrong(dict(_clip().state_dict()), "image-text") is None
    assert what_is_wrong(dict(_clip().state_dict()), "SAM 2") == (
        "is an image-text model in the naming of transformers CLIP: give it as --clip_pretrained"
    )
    assert what_is_wrong({"unknown": torch.zeros(1)}, "image-text") is None


def test_a_model_in_several_files(tmp_path: Path) -> None:
    _clip().save_pretrained(tmp_path / "whole")
    _clip().save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    tokenizer = lambda texts: _tokens()[: len(texts)]  # noqa: E731
    whole, parts = (
        load_encoder(None, tmp_path / name, device="cpu", tokenizer=tokenizer, label="x") for name in ("whole", "parts")
    )
    assert whole.name == parts.name
    next((tmp_path / "parts").glob("*.safetensors")).unlink()
    with pytest.raises(UserError, match="not in its folder: download the rest"):
        load_encoder(None, tmp_path / "parts", device="cpu", tokenizer=tokenizer)
    (tmp_path / "parts" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": 3}))
    with pytest.raises(UserError, match=r"Index .* cannot be read"):
        load_encoder(None, tmp_path / "parts", device="cpu", tokenizer=tokenizer)


def test_real_sizes_are_known_by_transformers_configs() -> None:
    from textregion.encoders.folders import _of_siglip

    base = {"hidden_size": 768, "patch_size": 16}
    text = {"vocab_size": 256000, "hidden_size": 768}
    one = _of_siglip({"model_type": "siglip", "vision_config": {**base, "image_size": 384}, "text_config": text})
    two = _of_siglip({"model_type": "siglip2", "vision_config": {**base, "num_patches": 256}, "text_config": text})
    assert one == open_clip.get_model_config("ViT-B-16-SigLIP2-384")
    assert two == open_clip.get_model_config("ViT-B-16-SigLIP2-256")
    assert resolve_architecture("ViT-B-16-SigLIP2-256")
    assert _of_siglip({"model_type": "siglip", "vision_config": {"hidden_size": 99}, "text_config": text}) is None
