"""Region tokens: columns of one length, saved and loaded whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

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
    regions = _regions()
    picked = regions[torch.tensor([False, True])]
    assert len(picked) == len(picked.scores) == len(picked.masks()) == 1
    assert picked.scores.tolist() == pytest.approx([0.7])
    assert torch.equal(picked.tokens, regions.tokens[1:])
    assert torch.equal(picked.masks(), regions.masks()[1:])
    # what belongs to the picture and not to a region stays whole
    assert (picked.size_hw, picked.resized_hw, picked.encoder) == ((24, 32), (16, 16), "tiny")
    assert picked.dense is regions.dense
    assert picked.locality is regions.locality


def test_moved_to_a_device_nothing_is_lost() -> None:
    regions = _regions()
    moved = regions.to("cpu")
    assert regions.dense is not None
    assert moved.dense is not None
    for one, other in [
        (moved.tokens, regions.tokens),
        (moved.masks(), regions.masks()),
        (moved.region_masks.scores, regions.region_masks.scores),
        (moved.region_masks.stability, regions.region_masks.stability),
        (moved.dense.embeddings, regions.dense.embeddings),
        (moved.locality, regions.locality),
    ]:
        assert torch.equal(one, other)  # type: ignore[arg-type]
    assert moved.dense.plan == regions.dense.plan
    assert (moved.size_hw, moved.resized_hw, moved.encoder) == ((24, 32), (16, 16), "tiny")


def test_an_index_picks_regions_as_it_does_of_a_list() -> None:
    regions = _regions()
    assert [len(regions[0]), len(regions[-1]), len(regions[:]), len(regions[5:]), len(regions[[1, 0, 1]])] == [
        1,
        1,
        2,
        0,
        3,
    ]
    assert torch.equal(regions[-1].tokens, regions.tokens[1:])
    assert torch.equal(regions[::-1].masks(), regions.masks()[[1, 0]])
    assert torch.equal(regions.masks(regions=[1]), regions.masks()[1:])
    assert [float(region.scores) for region in regions] == pytest.approx([0.9, 0.7])  # type: ignore[attr-defined]
    assert torch.equal(regions.foreground(-1), regions.foreground(1))
    for index in (2, -3, [0, 2], torch.tensor([True])):
        with pytest.raises(IndexError):
            regions[index]
    with pytest.raises(TypeError, match="Regions are picked by"):
        regions["dog"]  # type: ignore[index]
    with pytest.raises(IndexError, match="no region 2"):
        regions.foreground(2)


def test_the_given_masks_are_remembered_through_picking_and_files(tmp_path: Path) -> None:
    regions = _regions()
    assert regions.source is None
    masks = replace(regions.region_masks, source=torch.tensor([7, 3]))
    given = replace(regions, region_masks=masks)
    assert given[::-1].source.tolist() == [3, 7]  # type: ignore[union-attr]
    assert given.to("cpu").source.tolist() == [7, 3]  # type: ignore[union-attr]
    given[1].save(tmp_path / "one.safetensors")
    assert RegionTokens.load(tmp_path / "one.safetensors").source.tolist() == [3]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"source \(2,\)"):
        replace(masks, source=torch.tensor([1]))


def test_moving_moves_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RegionMasks, "__post_init__", lambda self: None)  # it looks at values, which are not there
    moved = _regions().to("meta")
    masks, dense = moved.region_masks, moved.dense
    assert dense is not None
    columns = [moved.tokens, moved.locality, dense.embeddings, masks.logits, masks.region_of, masks.scores]
    assert {column.device.type for column in [*columns, masks.stability]} == {"meta"}  # type: ignore[union-attr]


def test_tokens_without_masks_are_refused() -> None:
    regions = _regions()
    with pytest.raises(ValueError, match="2 region masks"):
        RegionTokens(regions.tokens[:1], regions.region_masks, (4, 4), (4, 4))


def test_bad_files_are_one_sentence(tmp_path: Path) -> None:
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


_NAN = float("nan")


def _plan(**changes: object) -> dict[str, object]:
    return {"plan": {**vars(plan_views((16, 16), 8, 2)), **changes}}


HOSTILE: dict[str, tuple[dict[str, torch.Tensor], dict[str, object]]] = {
    "tokens of NaN": ({"tokens": torch.full((2, 4), _NAN)}, {}),
    "tokens of another length": ({"tokens": torch.ones(2, 4)}, {}),
    "tokens of whole numbers": ({"tokens": torch.eye(4, dtype=torch.int32)[:2]}, {}),
    "tokens of one region": ({"tokens": torch.eye(4)[:1]}, {}),
    "tokens in a row": ({"tokens": torch.ones(2)}, {}),
    "masks of NaN": ({"logits": torch.full((3, 8, 8), _NAN).half()}, {}),
    "masks beyond 3": ({"logits": torch.full((3, 8, 8), 9.0).half()}, {}),
    "masks below 0": ({"logits": torch.full((3, 8, 8), -1.0).half()}, {}),
    "masks of 32 bits": ({"logits": torch.ones(3, 8, 8)}, {}),
    "masks without a pixel": ({"logits": torch.zeros(3, 0, 8).half()}, {}),
    "masks in a row": ({"logits": torch.ones(3).half()}, {}),
    "a gap between regions": ({"region_of": torch.tensor([0, 2, 2])}, {}),
    "regions by fractions": ({"region_of": torch.tensor([0.0, 0.0, 1.0])}, {}),
    "a source by fractions": ({"source": torch.tensor([0.0, 1.0])}, {}),
    "the source of one region": ({"source": torch.tensor([0])}, {}),
    "scores of NaN": ({"scores": torch.full((2,), _NAN)}, {}),
    "scores in a table": ({"scores": torch.ones(2, 3)}, {}),
    "a score alone": ({"scores": torch.tensor(1.0)}, {}),
    "a locality in a row": ({"locality": torch.ones(3)}, {}),
    "dense of another view": ({"dense": torch.full((4, 4, 2, 2), 0.5)}, {}),
    "dense of another size": ({"dense": torch.full((5, 16, 2, 2), 0.25)}, {}),
    "dense in a row": ({"dense": torch.ones(4)}, {}),
    "dense of NaN": ({"dense": torch.full((5, 4, 2, 2), _NAN)}, {}),
    "a negative side": ({}, {"size_hw": [-4, 5]}),
    "an endless side": ({}, {"resized_hw": [float("inf"), 5]}),
    "a side and a half": ({}, {"output_hw": [1.5, 5]}),
    "more pixels than memory": ({}, {"size_hw": [10**9, 10**9]}),
    "one side": ({}, {"size_hw": [4]}),
    "no plan": ({}, {"plan": None}),
    "rows that are not there": ({}, _plan(rows=100)),
    "a negative row": ({}, _plan(rows=-1, cols=-4)),
    "patches that are not there": ({}, _plan(view_patches=10**9)),
    "boxes that are none": ({}, _plan(tile_boxes=3)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_columns_that_no_run_makes_are_one_sentence(kind: str, tmp_path: Path) -> None:
    tensors, facts = HOSTILE[kind]
    with pytest.raises(UserError, match=r"photo\.safetensors' is damaged") as caught:
        RegionTokens.load(_rewritten(tmp_path / "photo.safetensors", tensors, json.dumps(facts)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("facts", ["{", "[1]", "[" * 100_000, '{"size_hw": 3}'])
def test_facts_that_are_none_are_one_sentence(facts: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is damaged"):
        RegionTokens.load(_rewritten(tmp_path / "photo.safetensors", {}, facts, keep=facts.startswith('{"')))


def _rewritten(path: Path, tensors: dict[str, torch.Tensor], facts: str, keep: bool = True) -> Path:
    """Sound regions in a file, with some columns and some facts changed, or other facts altogether."""
    _regions().save(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    if keep:
        facts = json.dumps({**json.loads(metadata["facts"]), **json.loads(facts)})
    save_file({**columns, **tensors}, path, metadata={**metadata, "facts": facts})
    return path
