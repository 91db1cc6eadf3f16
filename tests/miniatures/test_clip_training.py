"""The pieces that the miniature CLIP's training is made of."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor

from miniatures.clip.model import build_clip, encode_pictures, encode_words
from miniatures.clip.pictures import ABSENT, FAINT, NAMED, caption_names, vocabulary
from miniatures.clip.train import cut_quarters, picture_name_loss, tile_quarters, window_loss
from miniatures.scenes import THINGS, render_scene

MODEL_CFG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def model() -> open_clip.CLIP:
    torch.manual_seed(0)
    return build_clip(MODEL_CFG, open_clip.SimpleTokenizer()).eval()


def test_own_forward_passes_are_open_clips(model: open_clip.CLIP) -> None:
    images = torch.randn(2, 3, 32, 32)
    tokens = open_clip.SimpleTokenizer()(["a red car", "the plastic dog in a video game."])
    with torch.no_grad():
        torch.testing.assert_close(encode_words(model, tokens), model.encode_text(tokens, normalize=True))
        torch.testing.assert_close(encode_pictures(model.visual, images)[0], model.encode_image(images, normalize=True))


def test_kinds_start_far_apart(model: open_clip.CLIP) -> None:
    tokens = open_clip.SimpleTokenizer()([f"a photo of a {kind}." for kind in THINGS])
    with torch.no_grad():
        words = encode_words(model, tokens)
    cosines = (words @ words.T)[~torch.eye(len(THINGS), dtype=torch.bool)]
    assert cosines.mean() < 0.3, "the usual start has 0.95"


def test_quarters_are_cut_as_they_were_tiled() -> None:
    pictures = torch.randn(8, 3, 4, 4)
    mosaics = tile_quarters(pictures)
    assert mosaics.shape == (2, 3, 8, 8)
    assert torch.equal(mosaics[1, :, 4:, :4], pictures[6])
    assert torch.equal(cut_quarters(mosaics), pictures)


def test_caption_leaves_small_things_open() -> None:
    scene = render_scene(3, (64, 96))
    names = vocabulary()
    says = caption_names(scene, (slice(None), slice(None)), {name: i for i, name in enumerate(names)})
    for item in scene.objects:
        kind_share = sum(other.mask.mean() for other in scene.objects if other.kind == item.kind)
        expected = NAMED if kind_share >= 0.02 else FAINT if kind_share >= 0.002 else ABSENT
        assert says[names.index(item.kind)] == expected
    shown = {item.kind for item in scene.objects}
    assert all(says[names.index(kind)] == ABSENT for kind in THINGS if kind not in shown)


def _logits(owners: list[int], names: int) -> Tensor:
    """One picture whose windows each speak clearly of one name."""
    return 10 * torch.eye(names)[owners][None]


def test_windows_must_share_out_the_listed_names() -> None:
    says = torch.tensor([[NAMED, NAMED, ABSENT, FAINT]])
    shared = window_loss(_logits([0, 0, 1], 4), says)
    assert shared < window_loss(_logits([0, 0, 0], 4), says), "a listed name without a window"
    assert shared < window_loss(_logits([0, 1, 2], 4), says), "a window that speaks of an unlisted name"
    torch.testing.assert_close(shared, window_loss(_logits([0, 0, 1], 4) + torch.tensor([0, 0, 0, 50.0]), says))


def test_listed_names_are_contrasted_with_denied_ones() -> None:
    says = torch.from_numpy(np.array([[NAMED, ABSENT, FAINT], [ABSENT, NAMED, FAINT]]))
    right = torch.tensor([[5.0, -5.0, 99.0], [-5.0, 5.0, 99.0]])
    assert picture_name_loss(right, says) < 0.01 < picture_name_loss(-right, says)
