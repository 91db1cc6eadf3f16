"""Records survive whatever interrupts a run; results are the same bytes each time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from eval.shared.records import RecordFile, read_records
from textregion import MaskGenerator, SegmenterOptions, TextRegionSegmenter, UserError
from textregion.runtime import Precision
from utils.results import plain, settings_of, write_results, write_text

SETTINGS = {"models": {"encoder": "tiny"}, "options": {"scale": (384, 256)}}


def test_records_are_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "records.jsonl"
    with RecordFile(path, SETTINGS) as records:
        records.append("one", {"box": (1, 2.5), "name": "bär\n\U0001f43b\ud800", "iou": float("nan")})
        assert records.done["one"]["box"] == [1, 2.5]
    with RecordFile(path, SETTINGS) as records:
        assert records.done == {"one": {"box": [1, 2.5], "name": "bär\n\U0001f43b\ud800", "iou": None}}
        records.append("two", {})
        with pytest.raises(ValueError, match="'two'"):
            records.append("two", {})
    assert list(read_records(path, SETTINGS)) == ["one", "two"]
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("torn", [b'{"key": "two", "io', b'{"key": "two"}', b"\x00\x00\x00\n", b"[1]\n"])
def test_a_torn_end_is_dropped(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "records.jsonl"
    with RecordFile(path, SETTINGS) as records:
        records.append("one", {})
    sound = path.read_bytes()
    path.write_bytes(sound + torn)
    assert list(read_records(path, SETTINGS)) == ["one"]
    assert path.read_bytes() == sound + torn  # a reader changes nothing
    with RecordFile(path, SETTINGS) as records:
        assert list(records.done) == ["one"]
        records.append("two", {})
    assert list(read_records(path, SETTINGS)) == ["one", "two"]


def test_every_cut_can_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with RecordFile(path, SETTINGS) as records:
        for number in range(3):
            records.append(str(number), {"n": number})
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with RecordFile(path, SETTINGS) as records:
            for number in range(3):
                if str(number) not in records.done:
                    records.append(str(number), {"n": number})
        assert path.read_bytes() == whole


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    RecordFile(path, SETTINGS).close()
    other = {**SETTINGS, "options": {"scale": (512, 256)}}
    with pytest.raises(UserError, match=r"options.scale = \[384, 256\].*\[512, 256\].*another folder"):
        RecordFile(path, other)
    RecordFile(path, SETTINGS).close()  # the refusal has given the lock back
    path.write_text("picture,iou\n")
    with RecordFile(path, SETTINGS) as records:  # no record at all: started anew
        assert records.done == {}
    path.write_text('{"key": "one"}\n')
    with pytest.raises(UserError, match="holds no records"):
        RecordFile(path, SETTINGS)


def test_a_second_run_is_told_who_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with RecordFile(path, SETTINGS), pytest.raises(UserError, match=f"process {os.getpid()} on "):
        RecordFile(path, SETTINGS)
    RecordFile(path, SETTINGS).close()


def test_a_full_disk_loses_no_finished_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "records.jsonl"
    records = RecordFile(path, SETTINGS)
    records.append("one", {})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"records\.jsonl.*No space left"):
        records.append("two", {"long": "x" * 100_000})
    monkeypatch.undo()
    assert list(records.done) == ["one"]
    assert list(read_records(path, SETTINGS)) == ["one"]
    records.append("two", {})
    records.close()
    assert list(read_records(path, SETTINGS)) == ["one", "two"]


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        RecordFile(tmp_path / "taken" / "records.jsonl", SETTINGS)
    with pytest.raises(UserError, match="cannot be written"):
        write_text(tmp_path / "taken" / "results.json", "{}")


def test_results_hold_settings_and_versions_and_are_the_same_bytes(
    tmp_path: Path, segmenters: dict[str, TextRegionSegmenter]
) -> None:
    generator = MaskGenerator(segmenters["pe"].mask_generator.model, precision=Precision("bf16"))
    segmenter = TextRegionSegmenter(segmenters["pe"].encoder, generator, SegmenterOptions.for_task("referring"))
    settings = settings_of(segmenter, root=Path("some") / "where")
    for name, seconds in (("a.json", 1.0), ("b.json", 2.0)):
        write_results(tmp_path / name, {"accuracy": 0.5, "timing": {"seconds": seconds}, "n": 2}, settings)
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert list(first)[-1] == "timing"
    assert first.pop("timing") != second.pop("timing")
    assert first == second
    assert first["settings"]["models"] == segmenter.model_names
    assert (first["settings"]["dtype"], first["settings"]["sam2_dtype"]) == ("fp32", "bf16")
    assert (first["settings"]["options"]["antialias"], first["settings"]["templates"]) == (True, "imagenet")
    assert first["settings"]["options"]["scale"] == [2016, 2016] and first["settings"]["root"] == "some/where"
    assert {"python", "torch", "sam2", "open_clip_torch"} <= set(first["versions"])
    text = (tmp_path / "a.json").read_text().split('"timing"')[0]
    assert text == (tmp_path / "b.json").read_text().split('"timing"')[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]  # no temporary file stays


def test_plain_values_are_json() -> None:
    assert plain({1: (float("inf"), [Path("a")])}) == {"1": [None, ["a"]]}
