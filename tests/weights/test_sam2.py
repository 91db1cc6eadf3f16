"""SAM 2 by names, files and folders, in Meta's form and in transformers'; test_hostile_files.py has the bad ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from textregion import UserError, load_sam2
from textregion.checkpoints import hub
from textregion.weights.sam2 import _BYTES, build_sam2, find_sam2

from ..conftest import WEIGHTS

CHECKPOINT, CONFIG = WEIGHTS / "sam2_tiny.safetensors", WEIGHTS / "sam2_tiny.yaml"
STATE = load_file(CHECKPOINT)
META = {
    f"facebook/sam2{minor}-hiera-{size}": f"configs/sam2{minor}/sam2{minor}_hiera_{short}.yaml"
    for minor in ("", ".1")
    for size, short in {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}.items()
}


@pytest.mark.parametrize("name", META)
def test_metas_eight_names_and_their_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    source = find_sam2(name, None)
    assert source.config.is_file() and source.config.as_posix().endswith(META[name])
    (need,) = source.needs
    assert source.weights is None and need.repository == name
    path = tmp_path / need.filenames[0]
    path.write_bytes(b"")
    assert find_sam2(path, None).config == source.config
    assert find_sam2(f"hf-hub:{name}", None) == source


def test_the_size_of_the_smallest_is_that_of_its_values() -> None:
    model = build_sam2(find_sam2(CHECKPOINT, "sam2.1/sam2.1_hiera_t.yaml").config)
    assert abs(4 * sum(value.numel() for value in model.state_dict().values()) / _BYTES["t"] - 1) < 0.01


FORMS: dict[str, Any] = {
    "epoch_30.pt": {"model": {f"module.{name}": value for name, value in STATE.items()}, "epoch": 30},
    "compiled.pt": {"model": {f"_orig_mod.{name}": value for name, value in STATE.items()}},
    "bare.bin": STATE,
    "bf16.pth": {"state_dict": {name: value.bfloat16() for name, value in STATE.items()}},
}


@pytest.mark.parametrize("name", FORMS)
def test_files_of_trainers(name: str, tmp_path: Path) -> None:
    torch.save(FORMS[name], tmp_path / name)
    model = load_sam2(tmp_path / name, CONFIG, "cpu")
    for key, value in model.state_dict().items():
        expected = STATE[key].bfloat16().float() if name.startswith("bf16") else STATE[key]
        assert torch.equal(value, expected), key
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_configs_inside_the_package_go_by_name(tmp_path: Path) -> None:
    mine = tmp_path / "mine.pt"
    mine.write_bytes(b"")
    inside = find_sam2(mine, "configs/sam2.1/sam2.1_hiera_s.yaml").config
    assert inside.is_file() and inside == find_sam2(mine, "sam2.1/sam2.1_hiera_s.yaml").config
    with pytest.raises(UserError, match="--model_cfg"):
        find_sam2(mine, None)
    with pytest.raises(UserError, match=r"none\.yaml"):
        find_sam2(mine, "none.yaml")
    with pytest.raises(UserError, match=r"neither a file nor a hub id.*sam2\.1-hiera-tiny"):
        find_sam2("somebody/sam2_hiera_large", None)


def test_a_folder_and_a_repository_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--facebook--sam2.1-hiera-tiny"
    folder = repository / "snapshots" / "0a1b"
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "sam2.1_hiera_tiny.pt"):
        (folder / name).write_bytes(b"")
    assert find_sam2(folder, None).weights == folder / "sam2.1_hiera_tiny.pt"
    assert find_sam2(repository, None).config.name == "sam2.1_hiera_t.yaml"
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert find_sam2("facebook/sam2.1-hiera-tiny", None).weights == folder / "sam2.1_hiera_tiny.pt"
    (folder / "sam2.1_hiera_tiny.pt").unlink()  # as transformers leaves a cache
    source = find_sam2("facebook/sam2.1-hiera-tiny", None)
    assert (source.weights, source.config.name) == (folder / "model.safetensors", "sam2.1_hiera_t.yaml")
    (folder / "other.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"several files of weights \(model\.safetensors, other\.safetensors\)"):
        find_sam2(folder, None)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(UserError, match="holds no weights of SAM 2"):
        find_sam2(folder, None)


def test_a_checkpoint_of_another_model_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not fit the config sam2\.1_hiera_t\.yaml.*--model_cfg"):
        load_sam2(CHECKPOINT, "configs/sam2.1/sam2.1_hiera_t.yaml", "cpu")
    torch.save({"visual.conv1.weight": torch.zeros(1), "token_embedding.weight": torch.zeros(1)}, tmp_path / "clip.pt")
    with pytest.raises(UserError, match=r"clip\.pt' is an image-text model .*--clip_pretrained"):
        load_sam2(tmp_path / "clip.pt", CONFIG, "cpu")


def _transformers_model() -> Any:
    """A Sam2Model of sam2_tiny's sizes."""
    backbone = {
        "hidden_size": 16, "blocks_per_stage": [1, 2, 3, 2], "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 2, 4, 8], "global_attention_blocks": [4, 7], "image_size": [256, 256],
        "window_positional_embedding_background_size": [7, 7],
    }  # fmt: skip
    vision = {
        "backbone_config": {"model_type": "sam2_hiera_det_model", **backbone}, "fpn_hidden_size": 64,
        "backbone_channel_list": [128, 64, 32, 16], "backbone_feature_sizes": [[64, 64], [32, 32], [16, 16]],
    }  # fmt: skip
    config = transformers.Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 64, "image_size": 256},
        mask_decoder_config={"hidden_size": 64, "dynamic_multimask_via_stability": False},
    )
    model: Any = transformers.Sam2Model(config)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(model.shared_image_embedding.positional_embedding)
    return model.eval()


def _masks(model: Any, image: Tensor, point: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Masks and predicted IoU of one click, by Meta's package."""
    features = model.forward_image(image)["backbone_fpn"]
    embedding = features[2] + model.no_mem_embed.reshape(1, -1, 1, 1)
    points = torch.tensor([[point]]), torch.tensor([[1]])
    sparse, dense = model.sam_prompt_encoder(points=points, boxes=None, masks=None)
    masks, iou, _, _ = model.sam_mask_decoder(
        image_embeddings=embedding, image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True, repeat_image=False,
        high_res_features=features[:2],
    )  # fmt: skip
    return masks, iou


def test_transformers_naming_gives_the_same_masks(tmp_path: Path) -> None:
    theirs = _transformers_model()
    save_file({name: value.clone() for name, value in theirs.state_dict().items()}, tmp_path / "model.safetensors")
    ours = load_sam2(tmp_path / "model.safetensors", CONFIG, "cpu")
    image = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        masks, iou = _masks(ours, image, (100.0, 80.0))
        expected = theirs(
            pixel_values=image,
            input_points=torch.tensor([[[[100.0, 80.0]]]]),
            input_labels=torch.tensor([[[1]]]),
            multimask_output=True,
        )
    torch.testing.assert_close(masks, expected.pred_masks[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(iou, expected.iou_scores[0], atol=1e-5, rtol=1e-4)
    assert masks.std() > 1e-3


def test_what_only_videos_need_is_the_same_at_every_load(tmp_path: Path) -> None:
    state = {name: value.clone() for name, value in _transformers_model().state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    first, second = (load_sam2(tmp_path / "model.safetensors", CONFIG, "cpu") for _ in range(2))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    assert isinstance(first, nn.Module)
    state.pop("no_memory_embedding")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"does not fit the config sam2_tiny\.yaml .*no_memory_embedding"):
        load_sam2(tmp_path / "model.safetensors", CONFIG, "cpu")
