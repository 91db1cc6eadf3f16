"""Region tokens: columns of one length, saved and loaded whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from textregion import RegionMasks, RegionTokens, UserError
from textregion.regions import DensePatches
from textregion.views import plan_views


def _regions() -> RegionTokens:
    soft = torch.zeros(3, 8, 8)
    soft[0, :4, :4], soft[1, 2:6, 5:], soft[2] = 1.0, 2.5, 0.5
    masks = RegionMasks(
        soft.half(), torch.tensor([0, 0, 1]), torch.tensor([0.9, 0.7]), torch.tensor([0.8, 0.6]), (16, 16)
    )
    tokens = F.normalize(torch.arange(8.0).reshape(2, 4) + 1, dim=1)
    dense = DensePatches(F.normalize(torch.rand(5, 4, 2, 2), dim=1), plan_views((16, 16), 8, 2))
    return RegionTokens(tokens, masks, (24, 32), (16, 16), "tiny", dense, torch.rand(4, 4))


def test_saved_and_loaded_regions_are_the_same(tmp_path: Path) -> None:
    regions = _regions()
    regions.save(tmp_path / "photo.safetensors")
    again = RegionTokens.load(tmp_path / "photo.safetensors")
    assert torch.equal(again.tokens, regions.tokens)
    assert torch.equal(again.masks(), regions.masks())
    assert torch.equal(again.scores, regions.scores)
    assert (again.size_hw, again.resized_hw, again.encoder) == ((24, 32), (16, 16), "tiny")
    assert again.dense is not None
    assert regions.dense is not None
    assert again.dense.plan == regions.dense.plan
    assert torch.equal(again.dense.embeddings, regions.dense.embeddings)
    assert torch.equal(again.locality, regions.locality)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["photo.safetensors"]


def test_masks_are_made_at_any_size_and_boxes_follow_them() -> None:
    regions = _regions()
    assert regions.masks().shape == (2, 24, 32)
    assert regions.masks((5, 7)).shape == (2, 5, 7)
    boxes = regions.boxes_xywh()
    for mask, (x, y, width, height) in zip(regions.masks() > 0, boxes.int().tolist()):
        rows, cols = mask.nonzero(as_tuple=True)
        assert (int(cols.min()), int(rows.min())) == (x, y)
        assert (int(cols.max()) - x + 1, int(rows.max()) - y + 1) == (width, height)
    assert boxes[1].tolist() == [0, 0, 32, 24]


def test_picking_regions_picks_all_columns() -> None:
    picked = _regions()[torch.tensor([False, True])]
    assert len(picked) == len(picked.scores) == len(picked.masks()) == 1
    assert picked.scores.tolist() == pytest.approx([0.7])
    assert torch.equal(picked.masks(), _regions().masks()[1:])


def test_tokens_without_masks_are_refused() -> None:
    regions = _regions()
    with pytest.raises(ValueError, match="2 region masks"):
        RegionTokens(regions.tokens[:1], regions.region_masks, (4, 4), (4, 4))


def test_bad_files_are_one_sentence(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "photo.safetensors"
    with pytest.raises(UserError, match="does not exist"):
        RegionTokens.load(path)
    _regions().save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="is damaged"):
        RegionTokens.load(path)
    save_file({"tokens": torch.zeros(1, 2)}, path)
    with pytest.raises(UserError, match="no region tokens"):
        RegionTokens.load(path)
