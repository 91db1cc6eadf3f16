"""The three families against the models that they wrap, and the names that users write."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.parity.tiny_models import CLIP_CONFIG, tiny_clip
from textregion import Encoder, UserError, load_encoder
from textregion.encoders import ClipVitEncoder, Preprocess, supported_architectures
from textregion.encoders.blocks import run_block
from textregion.encoders.clip_vit import position_embedding
from textregion.encoders.names import DEFAULT_ARCHITECTURE, resolve_architecture
from textregion.text import TextBank

from .conftest import FAMILIES, WEIGHTS

TOKENIZER = open_clip.SimpleTokenizer(context_length=77)


def _views(encoder: Encoder, count: int = 2) -> Tensor:
    size = encoder.crop_size if encoder.fixed_crop_size else 96
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_contract(family: str, encoders: dict[str, Encoder]) -> None:
    encoder = encoders[family]
    views = _views(encoder)
    with torch.no_grad():
        values = encoder.patch_features(views).values
        alone = torch.cat([encoder.patch_features(view[None]).values for view in views])
        tokens = encoder.project(torch.randn(5, values.shape[1]))
        text = encoder.encode_text(encoder.tokenize(["a dog", "a cat", "a tree"]))
    side = views.shape[-1] // encoder.patch_size
    assert encoder.device == torch.device("cpu")
    assert (encoder.width, encoder.embed_dim, encoder.patch_size) == (128, tokens.shape[1], 16)
    assert values.shape == (2, 128, side, side)
    torch.testing.assert_close(alone, values, atol=1e-5, rtol=1e-4)
    assert tokens.shape == (5, encoder.embed_dim)
    torch.testing.assert_close(tokens.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(3))


def test_clip_values_pooled_by_the_blocks_own_attention_are_the_image_embedding() -> None:
    model: Any = tiny_clip(WEIGHTS)
    encoder: Any = load_encoder(model, tokenizer=TOKENIZER, device="cpu", crop_size=96)
    views = _views(encoder)
    with torch.no_grad():
        hidden = encoder._last_block_input(views)
        block = model.visual.transformer.resblocks[-1]
        normed = block.ln_1(hidden)
        # the attention is put in the place of pooling weights, head by head; the residual is added by hand
        width, heads = normed.shape[-1], block.attn.num_heads
        query, key, value = F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
        split = [t.unflatten(2, (heads, width // heads)).transpose(1, 2) for t in (query[:, :1], key, value)]
        pooled = F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)[:, 0]
        token = hidden[:, 0] + block.attn.out_proj(pooled)
        token = token + block.mlp(block.ln_2(token))
        ours = F.normalize(model.visual.ln_post(token) @ model.visual.proj, dim=-1)
        torch.testing.assert_close(ours, F.normalize(model.encode_image(views), dim=-1), atol=1e-5, rtol=0)
        values = encoder.patch_features(views).values.flatten(2).transpose(1, 2)
        torch.testing.assert_close(values, value[:, 1:], atol=1e-5, rtol=0)


def test_the_dense_attention_is_the_sum_of_two_softmaxes() -> None:
    from textregion.encoders.clip_vit import _self_correlation

    torch.manual_seed(1)
    model: Any = tiny_clip(WEIGHTS)
    block = model.visual.transformer.resblocks[-1]
    tokens = torch.randn(1, 5, 128)
    with torch.no_grad():
        normed = block.ln_1(tokens)
        query, key, value = F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias)[0].chunk(3, dim=-1)
        outputs = []
        for head in range(2):
            q, k, v = (t[:, head * 64 : head * 64 + 64] for t in (query, key, value))
            weights = torch.softmax(q @ q.T * 64**-0.5, -1) + torch.softmax(k @ k.T * 64**-0.5, -1)
            outputs.append(weights @ v)
        mixed = _self_correlation(block, tokens)[0].transpose(0, 1).flatten(1)
        torch.testing.assert_close(mixed, torch.cat(outputs, 1), atol=1e-5, rtol=1e-4)


def test_position_embedding_keeps_its_own_grid_and_samples_others_as_published() -> None:
    own = torch.randn(1 + 36, 8)
    assert position_embedding(own, 6) is own
    wide = position_embedding(own, 9)
    assert wide.shape == (82, 8)
    assert torch.equal(wide[0], own[0])
    # scale factor (9 + 0.1) / 6, not 9 / 6: the samples lie at (i + 0.5) * 6 / 9.1 - 0.5
    values = torch.tensor([0.0, 3.0, -1.0, 4.0, 1.0, 5.0])
    column = position_embedding(torch.cat([torch.zeros(1, 1), values.repeat(6)[:, None]]), 9)[1:, 0].reshape(9, 9)[4]
    expected = [_cubic(values.tolist(), (i + 0.5) * 6 / 9.1 - 0.5) for i in range(9)]
    torch.testing.assert_close(column, torch.tensor(expected), atol=1e-5, rtol=0)


def _cubic(values: list[float], position: float, a: float = -0.75) -> float:
    """Cubic convolution at a position, borders repeated."""
    total, first = 0.0, math.floor(position) - 1
    for index in range(first, first + 4):
        x = abs(position - index)
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        total += values[min(max(index, 0), len(values) - 1)] * (near if x <= 1 else far)
    return total


def test_scores_of_each_family(encoders: dict[str, Encoder]) -> None:
    tokens, text = torch.eye(2), torch.tensor([[0.5, 0.25]])
    assert encoders["clip"].scores(tokens, text).tolist() == [[0.5], [0.25]]
    assert encoders["pe"].scores(tokens, text).tolist() == [[0.5], [0.25]]
    scale = float(torch.tensor(2.0).exp())
    torch.testing.assert_close(
        encoders["siglip2"].scores(tokens, text), torch.tensor([[0.5 * scale - 3], [0.25 * scale - 3]])
    )


def test_other_features_and_dense_are_for_clip_alone(encoders: dict[str, Encoder]) -> None:
    views = _views(encoders["siglip2"])
    for wrong in ({"feature": "input"}, {"dense": True}):
        with pytest.raises(ValueError, match=r"CLIP ViT|dense"):
            encoders["siglip2"].patch_features(views, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("ViT-B/16", "ViT-B-16"),
        ("ViT-L/14@336px", "ViT-L-14-336"),
        ("ViT-H/14", "ViT-H-14"),
        ("ViT-B-16-SigLIP2", "ViT-B-16-SigLIP2"),
        ("ViT-SO400M-16-SigLIP2-384", "ViT-SO400M-16-SigLIP2-384"),
        ("PE-Core-B16-224", "PE-Core-B-16"),
        ("PE-Core-L14-336", "PE-Core-L-14-336"),
    ],
)
def test_names_as_users_write_them(written: str, ours: str) -> None:
    assert resolve_architecture(written) == ours


def test_unknown_and_unsupported_architectures() -> None:
    with pytest.raises(UserError, match=r"Did you mean .*ViT-B-16"):
        resolve_architecture("ViT-B/61")
    for convolutional in ("RN50", "convnext_base", "EVA02-L-14", "coca_ViT-B-32"):
        with pytest.raises(UserError, match=r"not supported\. Supported: .*PE-Core-B-16"):
            resolve_architecture(convolutional)
    assert {"ViT-B-16", "ViT-L-16-SigLIP2-256", "PE-Core-L-14-336"} <= set(supported_architectures())
    with pytest.raises(UserError, match=r"neither a file nor a tag .*openai"):
        load_encoder("ViT-B/16", "opneai", device="cpu")
    with pytest.raises(UserError, match="webli"):
        load_encoder("ViT-B-16-SigLIP2", "openai", device="cpu")


@pytest.fixture
def tiny_architecture(tmp_path: Path) -> str:
    """An architecture of our own among open_clip's, small enough to be written to a file."""
    import json

    config = {**CLIP_CONFIG, "text_cfg": {**CLIP_CONFIG["text_cfg"], "width": 32, "vocab_size": 49408}}
    (tmp_path / "tiny-vit-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-vit-test.json")
    supported_architectures.cache_clear()
    return "tiny-vit-test"


def test_a_checkpoint_file_is_loaded_and_a_wrong_one_refused(tiny_architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model(tiny_architecture)
    torch.save(model.state_dict(), tmp_path / "good.pt")
    encoder = load_encoder(tiny_architecture, str(tmp_path / "good.pt"), device="cpu")
    assert isinstance(encoder, ClipVitEncoder)
    assert encoder.crop_size == 336
    torch.testing.assert_close(encoder._visual.proj, model.visual.proj)
    assert encoder.name != load_encoder(model, tokenizer=TOKENIZER, device="cpu").name
    state = dict(itertools.islice(model.state_dict().items(), 5))
    torch.save(state, tmp_path / "other.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "good.pt").read_bytes()[:1000])
    for name in ("other.pt", "cut.pt"):
        with pytest.raises(UserError, match=name):
            load_encoder(tiny_architecture, str(tmp_path / name), device="cpu")


@pytest.mark.parametrize(
    ("image_size", "patch_size", "expected"), [(224, 14, 336), (224, 16, 336), (224, 32, 320), (448, 16, 448)]
)
def test_a_clip_tower_gets_336_pixels_in_whole_patches_or_its_own_size_above(
    image_size: int, patch_size: int, expected: int
) -> None:
    vision = CLIP_CONFIG["vision_cfg"] | {"image_size": image_size, "patch_size": patch_size, "layers": 1}
    model = open_clip.CLIP(**{**CLIP_CONFIG, "vision_cfg": vision})
    assert load_encoder(model, tokenizer=TOKENIZER, device="cpu").crop_size == expected
    own = load_encoder(model, tokenizer=TOKENIZER, device="cpu", crop_size=2 * patch_size)
    assert own.crop_size == 2 * patch_size


def test_an_encoders_name_comes_from_its_weights(tiny_architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: Any = open_clip.create_model(tiny_architecture).half().float()
    first, second = tmp_path / "first.pt", tmp_path / "second.safetensors"
    torch.save({"state_dict": {f"module.{name}": value.half() for name, value in model.state_dict().items()}}, first)
    save_file(model.state_dict(), second)
    name = load_encoder(tiny_architecture, str(first), device="cpu").name
    assert name.startswith(f"{tiny_architecture}:")
    assert load_encoder(tiny_architecture, str(second), device="cpu").name == name
    model.visual.proj.data[3, 4] += 1e-3  # fine-tuned, and written over the first
    save_file(model.state_dict(), second)
    assert load_encoder(tiny_architecture, str(second), device="cpu").name != name


def test_ready_models_are_told_apart() -> None:
    def encoder(model: nn.Module, tokenizer: Any = TOKENIZER, **settings: Any) -> Encoder:
        return load_encoder(model, tokenizer=tokenizer, device="cpu", **settings)

    changed: Any = tiny_clip(WEIGHTS)
    changed.token_embedding.weight.data[100, 3] += 1e-3
    gelu = open_clip.CLIP(**{**CLIP_CONFIG, "quick_gelu": False})
    gelu.load_state_dict(tiny_clip(WEIGHTS).state_dict())
    shouting = open_clip.SimpleTokenizer(context_length=77, clean="whitespace")
    half = Preprocess((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    others = [
        encoder(changed),
        encoder(gelu),
        encoder(tiny_clip(WEIGHTS), shouting),
        encoder(tiny_clip(WEIGHTS), preprocess=half),
    ]
    own = encoder(tiny_clip(WEIGHTS))
    assert len({own.name, *(other.name for other in others)}) == 5
    assert encoder(tiny_clip(WEIGHTS).half(), crop_size=96).name.startswith("custom:")
    assert own.name == encoder(tiny_clip(WEIGHTS)).name
    assert own.weights_origin is None


def test_the_text_cache_never_gives_one_model_the_others_embedding(tmp_path: Path) -> None:
    other: Any = tiny_clip(WEIGHTS)
    other.text_projection.data.neg_()
    first, second = (load_encoder(model, tokenizer=TOKENIZER, device="cpu") for model in (tiny_clip(WEIGHTS), other))
    kept = TextBank(first, tmp_path).encode(["dog"])
    torch.testing.assert_close(TextBank(second, tmp_path).encode(["dog"]), -kept)
    assert torch.equal(TextBank(first, tmp_path).encode(["dog"]), kept)


class RunsCode:
    """What a hostile pickle holds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch.__get__(self.path), ()  # type: ignore[return-value]


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tiny_architecture: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with open(tmp_path / "evil.pt", "wb") as file:
        pickle.dump({"state_dict": RunsCode(mark)}, file)
    with pytest.raises(UserError, match=r"evil\.pt"):
        load_encoder(tiny_architecture, str(tmp_path / "evil.pt"), device="cpu")
    assert not mark.exists()


def test_ready_models_of_other_kinds_are_refused() -> None:
    with pytest.raises(UserError, match="tokenizer"):
        load_encoder(tiny_clip(WEIGHTS), device="cpu")
    model: Any = tiny_clip(WEIGHTS)
    model.visual = nn.Conv2d(3, 8, 3)
    with pytest.raises(UserError, match="Conv2d is not supported"):
        load_encoder(model, tokenizer=TOKENIZER, device="cpu")


def _custom_text_model() -> nn.Module:
    torch.manual_seed(3)
    text = CLIP_CONFIG["text_cfg"] | {"proj_bias": True}
    return open_clip.CustomTextCLIP(**{**CLIP_CONFIG, "text_cfg": text}).eval()


@pytest.mark.parametrize("build", [lambda: tiny_clip(WEIGHTS), _custom_text_model])
def test_padding_is_left_out_of_a_causal_text_tower_and_changes_nothing(build: Callable[[], nn.Module]) -> None:
    model: Any = build()
    encoder = load_encoder(model, tokenizer=TOKENIZER, device="cpu", crop_size=96)
    texts = ["a dog", "", "word " * 100, *[f"a photo of {'very ' * (i % 9)}small thing {i}" for i in range(170)]]
    tokens = encoder.tokenize(texts)
    lengths: list[int] = []
    blocks = (model.text if hasattr(model, "text") else model).transformer.resblocks
    blocks[0].ln_1.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    ours = encoder.encode_text(tokens)
    assert lengths == [13, 17, 77]  # sorted by length, 80 together
    with torch.no_grad():
        torch.testing.assert_close(ours, F.normalize(model.encode_text(tokens), dim=-1), atol=1e-6, rtol=0)


def test_a_text_tower_that_sees_its_padding_gets_all_of_it() -> None:
    torch.manual_seed(3)
    text = CLIP_CONFIG["text_cfg"] | {"no_causal_mask": True, "pool_type": "last"}
    model: Any = open_clip.CustomTextCLIP(**{**CLIP_CONFIG, "text_cfg": text}).eval()
    encoder = load_encoder(model, tokenizer=TOKENIZER, device="cpu", crop_size=96)
    tokens = encoder.tokenize(["a dog", "a cat on a mat"])
    with torch.no_grad():
        expected = F.normalize(model.encode_text(tokens), dim=-1)
    torch.testing.assert_close(encoder.encode_text(tokens), expected, atol=1e-6, rtol=0)


def test_blocks_are_open_clips_own() -> None:
    torch.manual_seed(4)
    model: Any = tiny_clip(WEIGHTS)
    image, text = model.visual.transformer.resblocks[0], model.transformer.resblocks[0]
    for block, mask in [(image, None), (text, model.attn_mask)]:
        tokens = torch.randn(2, 77, block.ln_1.normalized_shape[0])
        with torch.no_grad():
            torch.testing.assert_close(run_block(block, tokens, mask), block(tokens, attn_mask=mask), atol=1e-5, rtol=0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            ours, theirs = run_block(block, tokens, mask).float(), block(tokens, attn_mask=mask).float()
        torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0.02)


def test_a_text_tower_that_is_not_the_plain_one_runs_as_it_is() -> None:
    torch.manual_seed(3)
    text = CLIP_CONFIG["text_cfg"] | {"embed_cls": True, "context_length": 76}
    model: Any = open_clip.CustomTextCLIP(**{**CLIP_CONFIG, "text_cfg": text}).eval()
    encoder = load_encoder(model, tokenizer=open_clip.SimpleTokenizer(context_length=76), device="cpu", crop_size=96)
    tokens = encoder.tokenize(["a dog", "a cat on a mat"])
    with torch.no_grad():
        expected = F.normalize(model.encode_text(tokens), dim=-1)
    torch.testing.assert_close(encoder.encode_text(tokens), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_features_of_a_clip_tower_are_those_of_its_last_block() -> None:
    model: Any = tiny_clip(WEIGHTS)
    encoder: Any = load_encoder(model, tokenizer=TOKENIZER, device="cpu", crop_size=96)
    views = _views(encoder)
    seen: dict[str, Tensor] = {}
    block = model.visual.transformer.resblocks[-1]
    block.register_forward_hook(lambda _, inputs, output: seen.update(input=inputs[0], output=output))
    model.encode_image(views)
    for feature, tokens in seen.items():
        ours = encoder.patch_features(views, feature=feature)
        assert ours.dense is None
        torch.testing.assert_close(ours.values.flatten(2).transpose(1, 2), tokens[:, 1:], atol=1e-4, rtol=1e-4)
        token = encoder.project(tokens[:, 1], feature=feature)
        projected = F.normalize(model.visual.ln_post(tokens[:, 1]) @ model.visual.proj, dim=-1)
        torch.testing.assert_close(token, projected, atol=1e-5, rtol=0)
    dense = encoder.patch_features(views, dense=True).dense
    assert dense.shape == (2, 64, 6, 6)
    torch.testing.assert_close(dense.norm(dim=1), torch.ones(2, 6, 6))


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("PE-Core-T16-384", "PE-Core-T-16-384"),
        ("PE-Core-S16-384", "PE-Core-S-16-384"),
        ("PE-Core-G14-448", "PE-Core-bigG-14-448"),
        *[(name, name) for name in ("ViT-B-32", "ViT-L-14-336", "ViT-SO400M-14-SigLIP-384")],
    ],
)
def test_published_names_are_open_clips(written: str, ours: str) -> None:
    assert resolve_architecture(written) == ours


@pytest.mark.parametrize(
    ("weights", "architecture"),
    [
        ("openai", "ViT-L/14@336px"),
        ("laion2b_s32b_b79k", "ViT-H/14"),
        ("siglip2", "ViT-L-16-SigLIP2-256"),
        ("meta", "PE-Core-L14-336"),
    ],
)
def test_the_architecture_that_published_weights_imply(weights: str, architecture: str) -> None:
    assert DEFAULT_ARCHITECTURE[weights] == architecture
    assert resolve_architecture(architecture) in supported_architectures()
