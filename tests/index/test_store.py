"""The folder of an index: what a part holds, what is refused, what is derived, and what compaction leaves."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from tests.index.conftest import SIZE_HW, StubSegmenter, regions_of
from textregion import RegionIndex, RegionMasks, RegionTokens, UserError
from textregion.index import growing
from textregion.index.part import encode_part, read_part
from textregion.index.rows import FileFacts, PictureRows
from textregion.index.store import Store


def parts_of(index: RegionIndex) -> list[Path]:
    return sorted((index.folder / "parts").iterdir())


def rows_of(name: str) -> PictureRows:
    return PictureRows.of(f"/photos/{name}", FileFacts(7, 9), name * 4, regions_of(name.encode(), "stub"))


def test_a_part_gives_back_what_was_written(tmp_path: Path) -> None:
    pictures = [rows_of("a"), rows_of("b")]
    name, content = encode_part(pictures, {"encoder": "stub"})
    assert encode_part([rows_of("a"), rows_of("b")], {"encoder": "stub"}) == (name, content)
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(content)
    part = read_part(path)
    assert [facts.path for facts in part.pictures] == ["/photos/a", "/photos/b"]
    for number, rows in enumerate(pictures):
        again, source = part.rows(number), regions_of(rows.facts.path[-1].encode(), "stub")
        assert again.facts == rows.facts and again.masks_rle == rows.masks_rle
        assert again.tokens.dtype == torch.float16 and (again.tokens.float() - source.tokens).abs().max() < 1e-3
        assert again.boxes_xywh.tolist() == source.boxes_xywh().int().tolist()


def test_a_hit_has_the_mask_box_and_scores_of_the_encoded_region(
    index: RegionIndex, photos: Path, segmenter: StubSegmenter
) -> None:
    index.add(photos)
    source = regions_of(b"a.png", "stub")
    hits = index.regions(photos / "a.png")
    assert len(hits) == len(source)
    for region, hit in enumerate(hits):
        assert torch.from_numpy(hit.mask()).equal(source.foreground(region))
        assert list(hit.box_xywh) == source.boxes_xywh()[region].int().tolist()
        assert hit.size_hw == SIZE_HW and hit.sam_score == 1


@pytest.mark.parametrize("size_hw", [(33, 47), (16, 16), (5, 90), (3, 2), (1, 1)])
def test_boxes_at_any_size_are_those_of_the_full_masks(size_hw: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    members = (torch.rand(12, 16, 16, generator=random) > 0.97) * torch.rand(12, 16, 16, generator=random) * 3
    ones = torch.ones(9)
    region_of = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8])
    masks = RegionMasks(members.half(), region_of, ones, ones, size_hw)
    regions = RegionTokens(torch.eye(9), masks, size_hw, size_hw)
    rows = PictureRows.of("/a", FileFacts(1, 1), "", regions)
    assert rows.boxes_xywh.tolist() == regions.boxes_xywh().int().tolist()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (StubSegmenter("another"), "the encoder is 'stub' in the index and 'another' now"),
        (StubSegmenter(sam2="tiny"), "SAM 2's weights are sam in the index and tiny now"),
        (StubSegmenter(scale=(64, 32)), "--scale is 2016 672 in the index and 64 32 now"),
        (StubSegmenter(fuse_mask=False), "--fuse_mask is True in the index and False now"),
    ],
)
def test_another_segmenter_is_refused(index: RegionIndex, other: StubSegmenter, told: str) -> None:
    with pytest.raises(UserError) as error:
        RegionIndex.open(index.folder, other)
    assert told in str(error.value) and str(error.value).count(" in the index and ") == 1
    lazy = RegionIndex.open(index.folder, lambda: other)
    with pytest.raises(UserError, match="was made otherwise"):
        _ = lazy.segmenter


def test_an_index_older_than_an_option_has_its_default(index: RegionIndex) -> None:
    path = index.folder / "index.json"
    content = json.loads(path.read_text())
    del content["options"]["fuse_mask"]
    path.write_text(json.dumps(content))
    RegionIndex.open(index.folder, StubSegmenter())
    with pytest.raises(UserError, match="--fuse_mask is True in the index and False now"):
        RegionIndex.open(index.folder, StubSegmenter(fuse_mask=False))


def test_options_of_painting_make_no_difference(index: RegionIndex) -> None:
    RegionIndex.open(index.folder, StubSegmenter(prob_thd=0.5, view_batch=3))


def test_a_copied_part_counts_at_the_next_open(
    index: RegionIndex, photos: Path, tmp_path: Path, segmenter: StubSegmenter
) -> None:
    index.add(photos)
    other = RegionIndex.create(tmp_path / "other", segmenter)
    shutil.copy(parts_of(index)[0], other.folder / "parts")
    assert len(other) == 0
    other.refresh()
    assert other.pictures == index.pictures
    foreign = RegionIndex.create(tmp_path / "foreign", StubSegmenter("another"))
    shutil.copy(parts_of(index)[0], foreign.folder / "parts")
    with pytest.raises(
        UserError, match="is of another index: the encoder is 'another' in the index and 'stub' in the part"
    ):
        RegionIndex.open(foreign.folder)
    assert len(RegionIndex.open(foreign.folder, repair=True)) == 0


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "renamed", "text"])
def test_a_damaged_part_is_named_and_left_out_with_repair(
    index: RegionIndex, photos: Path, segmenter: StubSegmenter, how: str
) -> None:
    index.add(photos / "sea")
    (whole,) = parts_of(index)
    index.add(photos / "a.png")
    content = bytearray(whole.read_bytes())
    if how == "renamed":
        whole = whole.rename(whole.with_name("0" * 32 + ".safetensors"))
    elif how == "flipped":
        content[-5] ^= 1
    changed = {"cut": content[:-9], "empty": b"", "text": b"nonsense"}.get(how, content)
    whole.write_bytes(changed)
    os.utime(whole, ns=(1, 1))
    with pytest.raises(UserError, match=whole.name) as error:
        RegionIndex.open(index.folder)
    assert "damaged" in str(error.value) and "--repair" in str(error.value)
    repaired = RegionIndex.open(index.folder, segmenter, repair=True)
    assert repaired.pictures == [str(photos / "a.png")]
    assert repaired.status().damaged
    assert len(repaired.add(photos / "sea").added) == 3


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": "textregion-index-1"}', b'{"format": "other"}'])
def test_a_damaged_index_file(index: RegionIndex, content: bytes) -> None:
    (index.folder / "index.json").write_bytes(content)
    with pytest.raises(UserError, match=r"index\.json"):
        RegionIndex.open(index.folder)


def test_no_index(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no index in"):
        RegionIndex.open(tmp_path / "nowhere")


def test_an_index_is_made_in_an_empty_folder_only(tmp_path: Path, index: RegionIndex, segmenter: StubSegmenter) -> None:
    with pytest.raises(UserError, match="holds an index already"):
        RegionIndex.create(index.folder, segmenter)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").touch()
    with pytest.raises(UserError, match="holds other files"):
        RegionIndex.create(tmp_path / "full", segmenter)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file"):
        RegionIndex.create(tmp_path / "file", segmenter)


@pytest.mark.parametrize("how", ["deleted", "damaged", "another part's"])
def test_the_cache_is_made_again(index: RegionIndex, photos: Path, how: str) -> None:
    index.add(photos / "sea")
    index.add(photos)
    before = [(hit.picture, hit.score) for hit in index.search("red truck")]
    vectors = sorted((index.folder / "cache/vectors").iterdir())
    if how == "deleted":
        shutil.rmtree(index.folder / "cache")
    elif how == "damaged":
        vectors[0].write_bytes(b"nonsense")
    else:
        vectors[0].write_bytes(vectors[1].read_bytes())
    again = RegionIndex.open(index.folder, index.segmenter)
    assert [(hit.picture, hit.score) for hit in again.search("red truck")] == before
    assert sorted((index.folder / "cache/vectors").iterdir()) == vectors
    again.check()


def test_a_cache_that_cannot_be_written_is_done_without(
    index: RegionIndex, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index.add(photos)
    shutil.rmtree(index.folder / "cache")
    (index.folder / "cache").touch()
    assert len(RegionIndex.open(index.folder, index.segmenter).search("red truck")) == 6
    assert "is used without" in caplog.text


def test_compaction_keeps_what_is_alive_and_nothing_else(
    index: RegionIndex, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "BATCH", 1)
    index.add(photos)
    (photos / "a.png").unlink()
    (photos / "b.png").write_bytes(b"changed")
    index.add(photos)
    tokens = {path: index.regions(path)[0].token for path in index.pictures}
    assert (len(parts_of(index)), len(os.listdir(index.folder / "gone"))) == (7, 2)
    reader = RegionIndex.open(index.folder, index.segmenter)
    done = index.compact()
    assert (done.parts_before, done.parts, done.tombstones) == (7, 1, 2)
    assert len(parts_of(index)) == 1 and not os.listdir(index.folder / "gone")
    for opened in (index, RegionIndex.open(index.folder)):
        assert {path: hits[0].token.tolist() for path in opened.pictures if (hits := opened.regions(path))} == {
            path: token.tolist() for path, token in tokens.items()
        }
    assert len(reader.search("dog")) == 5  # what it opened is still there for it
    again = index.compact()
    assert (again.parts_before, again.parts, again.tombstones) == (1, 1, 0)


def test_full_parts_are_left_alone(index: RegionIndex, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("growing", "compacting"):
        monkeypatch.setattr(f"textregion.index.{module}.MOST_PICTURES", 2)
    monkeypatch.setattr(growing, "BATCH", 2)
    index.add(photos)
    before = parts_of(index)
    assert len(before) == 3
    index.compact()
    assert parts_of(index) == before
    (photos / "a.png").unlink()
    index.add(photos)
    index.compact()
    assert len(parts_of(index)) == 3 and len(set(parts_of(index)) & set(before)) == 2


def test_tidying_joins_many_small_parts(index: RegionIndex, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "BATCH", 1)
    index.add(photos)
    index.tidy()
    assert len(parts_of(index)) == 6
    (photos / "g.png").write_bytes(b"g")
    (photos / "h.png").write_bytes(b"h")
    index.add(photos)
    index.tidy()
    assert len(parts_of(index)) == 1 and len(index) == 8


def test_nobody_compacts_while_another_writes(index: RegionIndex, photos: Path) -> None:
    index.add(photos)
    with open(index.folder / "writers", "ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_SH)
        with pytest.raises(UserError, match="is being written to by another process"):
            index.compact()
        assert index.add(photos).unchanged == 6  # two may write


def test_the_same_picture_from_two_writers_counts_once(
    index: RegionIndex, photos: Path, segmenter: StubSegmenter
) -> None:
    """Both encode it, in batches that are cut differently."""
    other = Store(index.folder)
    other.add([PictureRows.of(str(photos / "a.png"), FileFacts.of(str(photos / "a.png")), "x", _regions(b"a.png"))])
    index.add([photos / "a.png", photos / "b.png"])
    other.add(
        [
            PictureRows.of(str(photos / name), FileFacts.of(str(photos / name)), "x", _regions(name.encode()))
            for name in ("b.png", "f.JPG")
        ]
    )
    index.refresh()
    assert len(index) == 3 and len(index.search("dog", per_region=True, k=99)) <= index.region_count
    assert index.region_count == sum(len(_regions(name)) for name in (b"a.png", b"b.png", b"f.JPG"))
    (photos / "b.png").unlink()
    index.add(photos)
    assert str(photos / "b.png") not in RegionIndex.open(index.folder).pictures  # both rows of it are gone


def _regions(content: bytes) -> RegionTokens:
    return regions_of(content, "stub")


def test_litter_of_killed_writers_is_taken_away(index: RegionIndex, photos: Path) -> None:
    index.add(photos)
    old, new = index.folder / "parts/.a.1.tmp", index.folder / "parts/.b.2.tmp"
    old.touch()
    new.touch()
    os.utime(old, (1, 1))
    index.compact()
    assert not old.exists() and new.exists() and len(RegionIndex.open(index.folder)) == 6


def test_forgetting(index: RegionIndex, photos: Path) -> None:
    index.add(photos)
    shutil.rmtree(photos / "sea")
    assert len(index.forget(photos / "sea")) == 3
    assert len(RegionIndex.open(index.folder)) == 3
    with pytest.raises(UserError, match="holds no pictures of"):
        index.forget([photos / "sea"])


def test_status_counts(index: RegionIndex, photos: Path) -> None:
    (photos / "b.png").write_bytes(b"bad")
    index.add(photos)
    (photos / "a.png").unlink()
    index.add(photos)
    status = index.status()
    assert (status.pictures, status.parts, status.gone, status.failed) == (4, 1, 1, 1)
    assert status.regions == index.region_count > 0
    assert status.part_bytes == sum(path.stat().st_size for path in parts_of(index))
    assert json.loads((index.folder / "index.json").read_text())["encoder"] in status.lines()[2]
    assert any("--compact" in line for line in status.lines())


def test_checking(index: RegionIndex, photos: Path) -> None:
    index.add(photos)
    check = index.check()
    assert (check.parts, check.text_recall, check.image_recall) == (1, 1.0, 1.0)
    assert RegionIndex.open(index.folder).check().text_recall is None
    (part,) = parts_of(index)
    content, facts = bytearray(part.read_bytes()), part.stat()
    content[-5] ^= 1
    part.write_bytes(content)
    os.utime(part, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # not seen at opening
    with pytest.raises(UserError, match="is damaged"):
        RegionIndex.open(index.folder).check()
