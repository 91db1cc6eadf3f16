"""An index follows its folders: new, unchanged, moved, changed, deleted, unmounted, excluded and bad pictures."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.index.conftest import StubSegmenter
from textregion import RegionIndex, UserError


def names(index: RegionIndex, folder: Path) -> set[str]:
    return {os.path.relpath(path, folder) for path in index.pictures}


ALL = {"a.png", "b.png", "sea/c.png", "sea/d.jpg", "sea/far/e.png", "f.JPG"}


def test_a_folder_is_encoded_once(index: RegionIndex, photos: Path, segmenter: StubSegmenter) -> None:
    (photos / "notes.txt").write_text("no picture")
    (photos / ".hidden.png").write_text("not shown")
    growth = index.add(photos)
    assert names(index, photos) == ALL and len(index) == 6
    assert sorted(growth.added) == sorted(segmenter.encoded) == index.pictures
    again = index.add(photos)
    assert again.unchanged == 6 and not again.added and len(segmenter.encoded) == 6
    assert len(list((index.folder / "parts").iterdir())) == 1
    assert RegionIndex.open(index.folder).pictures == index.pictures


def test_bytes_are_not_read_where_the_facts_are_the_same(
    index: RegionIndex, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add(photos)
    monkeypatch.setattr("textregion.index.growing.sha256", lambda path: pytest.fail(f"{path} was read"))
    assert index.add([photos]).unchanged == 6


def test_moved_copied_and_touched_files_are_not_encoded(
    index: RegionIndex, photos: Path, segmenter: StubSegmenter
) -> None:
    index.add(photos)
    shutil.move(photos / "a.png", photos / "sea/moved.png")
    shutil.copy(photos / "b.png", photos / "copy.png")
    os.utime(photos / "f.JPG", ns=(1, 1))
    growth = index.add(photos)
    assert len(segmenter.encoded) == 6
    assert {os.path.relpath(path, photos) for path in growth.moved} == {"sea/moved.png", "copy.png", "f.JPG"}
    assert names(index, photos) == ALL - {"a.png"} | {"sea/moved.png", "copy.png"}
    assert [os.path.basename(path) for path in growth.deleted] == ["a.png"] and not growth.changed
    assert index.add(photos).unchanged == 7


def test_two_new_files_of_the_same_bytes_are_encoded_once(
    index: RegionIndex, photos: Path, segmenter: StubSegmenter
) -> None:
    shutil.copy(photos / "b.png", photos / "copy.png")
    index.add(photos)
    assert len(segmenter.encoded) == 6 and len(index) == 7


def test_a_changed_file_is_encoded_anew(index: RegionIndex, photos: Path, segmenter: StubSegmenter) -> None:
    index.add(photos)
    before = index.regions(photos / "a.png")[0].token
    (photos / "a.png").write_bytes(b"another picture")
    growth = index.add(photos)
    assert growth.changed == [str(photos / "a.png")] and growth.unchanged == 5
    assert segmenter.encoded[6:] == [str(photos / "a.png")]
    assert not before.equal(index.regions(photos / "a.png")[0].token)
    assert names(RegionIndex.open(index.folder), photos) == ALL


def test_a_changed_file_may_hold_what_another_does(index: RegionIndex, photos: Path, segmenter: StubSegmenter) -> None:
    index.add(photos)
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())
    growth = index.add(photos)
    assert growth.changed == [str(photos / "a.png")] and len(segmenter.encoded) == 6
    assert index.regions(photos / "a.png")[0].token.equal(index.regions(photos / "b.png")[0].token)


def test_a_deleted_file_leaves_and_comes_back_without_encoding(
    index: RegionIndex, photos: Path, segmenter: StubSegmenter
) -> None:
    index.add(photos)
    facts = os.stat(photos / "b.png")
    (photos / "b.png").unlink()
    assert index.add(photos).deleted == [str(photos / "b.png")]
    assert names(RegionIndex.open(index.folder), photos) == ALL - {"b.png"}
    (photos / "b.png").write_bytes(b"b.png")
    os.utime(photos / "b.png", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert index.add(photos).moved == [str(photos / "b.png")]
    assert names(RegionIndex.open(index.folder), photos) == ALL and len(segmenter.encoded) == 6


def test_a_part_that_is_written_again_is_alive_again(index: RegionIndex, photos: Path) -> None:
    """The same single picture, deleted, compacted away and put back, has a part of the same name."""
    index.add(photos / "a.png")
    part = next((index.folder / "parts").iterdir()).name
    facts, content = os.stat(photos / "a.png"), (photos / "a.png").read_bytes()
    (photos / "a.png").unlink()
    index.add(photos / "a.png")
    tombstones = list((index.folder / "gone").iterdir())
    assert len(index) == 0 and len(tombstones) == 1
    index.compact()
    assert not list((index.folder / "parts").iterdir())
    tombstones[0].touch()  # as if compaction had been killed before it took it away
    (photos / "a.png").write_bytes(content)
    os.utime(photos / "a.png", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    index.add(photos / "a.png")
    assert [path.name for path in (index.folder / "parts").iterdir()] == [part]
    assert len(RegionIndex.open(index.folder)) == 1


def test_what_is_not_named_is_left_alone(index: RegionIndex, photos: Path) -> None:
    index.add(photos)
    (photos / "a.png").unlink()
    (photos / "sea/c.png").unlink()
    growth = index.add(photos / "sea")
    assert growth.deleted == [str(photos / "sea/c.png")] and growth.unchanged == 2
    assert str(photos / "a.png") in index.pictures


@pytest.mark.parametrize("how", ["not there", "empty"])
def test_a_folder_that_is_not_mounted_keeps_its_pictures(index: RegionIndex, photos: Path, how: str) -> None:
    index.add(photos)
    photos.rename(photos.with_name("elsewhere"))
    if how == "empty":
        photos.mkdir()
    growth = index.add(photos)
    assert growth.unmounted == {str(photos): 6} and not growth.deleted
    assert names(index, photos) == ALL
    shutil.rmtree(photos, ignore_errors=True)
    photos.with_name("elsewhere").rename(photos)
    assert index.add(photos).unchanged == 6


def test_an_inner_folder_that_is_empty_is_not_mounted_and_one_that_is_gone_is_deleted(
    index: RegionIndex, photos: Path
) -> None:
    index.add(photos)
    (photos / "sea/far/e.png").unlink()
    growth = index.add(photos)
    assert growth.unmounted == {str(photos / "sea/far"): 1} and not growth.deleted
    (photos / "sea/far").rmdir()
    assert index.add(photos).deleted == [str(photos / "sea/far/e.png")]


@pytest.mark.parametrize("glob", ["sea", "sea/", "*/sea", "s?a"])
def test_an_excluded_folder_keeps_its_pictures(index: RegionIndex, photos: Path, glob: str) -> None:
    index.add(photos, exclude=["*.JPG"])
    assert names(index, photos) == ALL - {"f.JPG"}
    (photos / "sea/new.png").write_bytes(b"new")
    growth = index.add(photos, exclude=[glob])
    assert len(growth.excluded) == 3 and not growth.deleted and growth.unchanged == 2
    assert names(index, photos) == ALL


def test_a_bad_picture_is_noted_once_and_tried_again_when_it_changes(
    index: RegionIndex, photos: Path, segmenter: StubSegmenter
) -> None:
    (photos / "b.png").write_bytes(b"bad")
    growth = index.add(photos)
    assert list(growth.failed) == [str(photos / "b.png")] and len(growth.added) == 5
    again = index.add(photos)
    assert not again.failed and again.failed_before == 1
    lines = (index.folder / "failed.jsonl").read_text().splitlines()
    assert [json.loads(line)["picture"] for line in lines] == [str(photos / "b.png")]
    assert "damaged" in json.loads(lines[0])["error"]
    (photos / "b.png").write_bytes(b"mended")
    assert index.add(photos).added == [str(photos / "b.png")]
    index.compact()
    assert (index.folder / "failed.jsonl").read_text() == ""


def test_a_picture_that_went_bad_leaves(index: RegionIndex, photos: Path) -> None:
    index.add(photos)
    (photos / "b.png").write_bytes(b"bad by now")
    assert list(index.add(photos).failed) == [str(photos / "b.png")]
    assert names(RegionIndex.open(index.folder), photos) == ALL - {"b.png"}


def test_a_torn_line_about_a_bad_picture_does_no_harm(index: RegionIndex, photos: Path) -> None:
    (photos / "b.png").write_bytes(b"bad")
    (index.folder / "failed.jsonl").write_bytes(b'{"picture": "to')
    index.add(photos)
    assert index.add(photos).failed_before == 1


def test_a_picture_without_regions_is_one_region(index: RegionIndex, photos: Path) -> None:
    (photos / "b.png").write_bytes(b"empty")
    index.add(photos)
    (whole,) = index.regions(photos / "b.png")
    assert whole.box_xywh == (0, 0, 60, 40) and whole.mask().all()


def test_any_file_name(index: RegionIndex, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = ["line\nbreak.png", "Ünïcödé 図.png", "[1]*?.png", os.fsdecode(b"bytes\xff.png")]
    for name in odd:
        (folder / name).write_bytes(os.fsencode(name))
    index.add(folder)
    assert names(RegionIndex.open(index.folder), folder) == set(odd)
    assert index.add(folder).unchanged == 4


def test_links_to_folders_are_followed_once(index: RegionIndex, photos: Path) -> None:
    (photos / "sea/up").symlink_to(photos)
    index.add(photos)
    assert len(index) == 6


def test_files_and_globs(index: RegionIndex, photos: Path) -> None:
    index.add([photos / "a.png", photos / "sea/*.png"])
    assert names(index, photos) == {"a.png", "sea/c.png"}


def test_an_index_inside_its_folder_is_passed_over(photos: Path, segmenter: StubSegmenter) -> None:
    index = RegionIndex.create(photos / "index", segmenter)
    (index.folder / "hits.jpg").write_bytes(b"drawn")
    index.add(photos)
    assert len(index) == 6


@pytest.mark.parametrize("name", ["nowhere", "nothing/*.png", "void"])
def test_what_holds_no_picture(index: RegionIndex, tmp_path: Path, name: str) -> None:
    (tmp_path / "void").mkdir()
    with pytest.raises(UserError, match=name.split("/")[0]):
        index.add(tmp_path / name)


def test_what_is_finished_is_kept_when_somebody_interrupts(
    index: RegionIndex, photos: Path, segmenter: StubSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = StubSegmenter.encode

    def stop_at_the_fourth(self: StubSegmenter, picture: str) -> object:
        if len(self.encoded) == 3:
            raise KeyboardInterrupt
        return encode(self, picture)

    monkeypatch.setattr(StubSegmenter, "encode", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        index.add(photos)
    assert len(RegionIndex.open(index.folder)) == 3


def test_a_full_disk_names_the_file(index: RegionIndex, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add(photos)
    (photos / "a.png").write_bytes(b"changed")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"File '.*parts.*' cannot be written \(No space left on device\)"):
        index.add(photos)
    monkeypatch.undo()
    assert names(RegionIndex.open(index.folder), photos) == ALL
    assert not list(index.folder.rglob("*.tmp"))
    assert index.add(photos).changed == [str(photos / "a.png")]
