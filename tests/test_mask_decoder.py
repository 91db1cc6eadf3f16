"""Our order of arithmetic in SAM 2's mask decoder against the sam2 package's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from torch import Tensor, nn

from textregion import mask_decoder
from textregion.mask_decoder import LOGIT_LIMIT, decode_points

HALF = 2.0**-11
"""Rounding to float16, relative."""


def _package(model: Any, embedding: Tensor, high_res: list[Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    labels = torch.ones(len(points), 1, dtype=torch.int)
    sparse, dense = model.sam_prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
    logits, iou, _, _ = model.sam_mask_decoder(
        image_embeddings=embedding,
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        repeat_image=True,
        high_res_features=high_res,
    )
    return logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT), iou


def _random_model(high_res: bool = True, object_scores: bool = True, size_hw: tuple[int, int] = (16, 16)) -> Any:
    """Decoder and prompt encoder of the real channels on a small picture; every parameter random."""
    torch.manual_seed(0)
    decoder = MaskDecoder(
        transformer_dim=256,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
        use_high_res_features=high_res,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=object_scores,
        pred_obj_scores_mlp=object_scores,
    ).eval()
    side = tuple(16 * s for s in size_hw)
    prompts = PromptEncoder(256, size_hw, side, mask_in_chans=16)
    for name, parameter in [*decoder.named_parameters(), *prompts.named_parameters()]:
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.3)
        elif "proj" in name:
            nn.init.normal_(parameter, std=0.12)  # attention that is far from uniform
    return SimpleNamespace(sam_mask_decoder=decoder, sam_prompt_encoder=prompts)


def _random_picture(size_hw: tuple[int, int] = (16, 16)) -> tuple[Tensor, list[Tensor], Tensor]:
    torch.manual_seed(1)
    height, width = size_hw
    high_res = [torch.randn(1, 32, 4 * height, 4 * width), torch.randn(1, 64, 2 * height, 2 * width)]
    points = torch.rand(5, 2) * torch.tensor([16.0 * width, 16.0 * height])
    return torch.randn(1, 256, height, width), high_res, points


@torch.no_grad()
def _assert_equal(model: Any, embedding: Tensor, high_res: list[Tensor], points: Tensor, chunk: int = 0) -> None:
    logits, iou = decode_points(model, embedding, high_res, points, chunk)
    expected, expected_iou = _package(model, embedding, high_res, points)
    assert logits.dtype == torch.float16 and iou.dtype == torch.float32
    assert expected.std() > 0.1
    torch.testing.assert_close(logits.float(), expected, atol=2e-4, rtol=HALF)
    torch.testing.assert_close(iou, expected_iou, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [0, 1, 3])
def test_random_decoder_of_the_real_size_equals_the_package(chunk: int) -> None:
    _assert_equal(_random_model(), *_random_picture(), chunk)


@pytest.mark.parametrize(("high_res", "object_scores"), [(False, False), (False, True), (True, False)])
def test_kinds_of_decoders_equal_the_package(high_res: bool, object_scores: bool) -> None:
    embedding, levels, points = _random_picture()
    _assert_equal(_random_model(high_res, object_scores), embedding, levels if high_res else [], points)


def test_a_picture_that_is_not_square_equals_the_package() -> None:
    _assert_equal(_random_model(size_hw=(10, 14)), *_random_picture((10, 14)))


@pytest.mark.parametrize("high_res", [True, False])
def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch, high_res: bool) -> None:
    monkeypatch.setattr(mask_decoder, "CPU_BAND_BYTES", 100 * 2048)
    embedding, levels, points = _random_picture()
    _assert_equal(_random_model(high_res), embedding, levels if high_res else [], points, 2)


@torch.no_grad()
def test_a_trained_decoder_equals_the_package(sam2_model: Any) -> None:
    torch.manual_seed(2)
    features = sam2_model.forward_image(torch.randn(1, 3, 256, 256))["backbone_fpn"]
    points = torch.rand(7, 2) * 256
    _assert_equal(sam2_model, features[-1], features[:-1], points)


@torch.no_grad()
def test_autocast_stays_near_float32() -> None:
    model, (embedding, levels, points) = _random_model(), _random_picture()
    expected, expected_iou = decode_points(model, embedding, levels, points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, iou = decode_points(model, embedding, levels, points)
    error = (logits.float() - expected.float()).abs()
    assert float(error.mean()) < 0.02 * float(expected.float().std())
    assert float((iou - expected_iou).abs().max()) < 0.02


def test_as_many_points_are_decoded_at_a_time_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    call = mask_decoder._PictureDecoder.__call__

    def watched(self: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(tokens))
        return call(self, tokens)

    monkeypatch.setattr(mask_decoder._PictureDecoder, "__call__", watched)
    model, (embedding, levels, points) = _random_model(), _random_picture()
    # three copies of 16 x 16 tokens of 256 channels a point
    for budget, autocast, expected in ((2, False, [2, 2, 1]), (2, True, [4, 1]), (0, False, [1] * 5)):
        monkeypatch.setattr(mask_decoder, "CPU_CHUNK_BYTES", budget * 3 * 256 * 256 * 4)
        sizes.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            decode_points(model, embedding, levels, points)
        assert sizes == expected
