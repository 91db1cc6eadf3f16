"""The loop over pictures that the referring and reasoning evaluations share, and what they make of its outcome."""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from eval.reason_seg import task as reason_seg
from eval.reason_seg.files import Query, Questions
from eval.referring import task as referring
from eval.referring.files import Examples, Expression
from eval.shared import runner
from eval.shared.keys import digest_of
from eval.shared.odd import Odd
from eval.shared.processes import Processes
from eval.shared.records import Record
from eval.shared.region_cache import RegionCache
from eval.shared.runner import (
    Outcome,
    Picture,
    add_run_options,
    check_run_options,
    evaluate,
    print_outcome,
    run_pictures,
)
from eval.shared.work_dir import WorkDir
from textregion import (
    Encoder,
    MaskGenerator,
    RegionMasks,
    RegionTokens,
    SegmenterOptions,
    TextRegionSegmenter,
    UserError,
)
from textregion.image import RGB
from textregion.runtime import Precision


class GivenRegions:
    """In the place of a cache: one region, whatever the picture."""

    def __init__(self) -> None:
        self.asked: list[Path] = []

    def encode(self, image: RGB, path: Path) -> RegionTokens:
        self.asked.append(path)
        return RegionTokens(torch.ones(1, 1), RegionMasks.from_masks(torch.ones(1, 2, 2)), (2, 2), (2, 2))


def judge(image: RGB, regions: RegionTokens, todo: Mapping[str, Any]) -> Iterator[tuple[str, Record]]:
    """The brightness of the picture for every example."""
    return ((key, {"value": int(image[0, 0, 0]), "example": example}) for key, example in todo.items())


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    """Seven pictures of two examples each."""
    found = []
    for number in range(7):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((2, 2, 3), number, np.uint8)).save(path)
        found.append(Picture(path, {f"{number}a": "a", f"{number}b": "b"}))
    return found


def run(pictures: list[Picture], folder: Path, rank: int = 0, count: int = 1) -> tuple[Outcome | None, list[Path]]:
    """Outcome, and the pictures that were encoded."""
    cache: Any = GivenRegions()
    processes = Processes(rank, count)
    with WorkDir(folder, {"of": 1}, processes) as work:
        return run_pictures(pictures, judge, cache, work, processes), cache.asked


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_process_takes_its_own_pictures(
    count: int, pictures: list[Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Processes, "barrier", lambda self: None)
    paths = [picture.path for picture in pictures]
    folder = tmp_path / "log"
    for rank in range(count - 1, 0, -1):
        outcome, asked = run(pictures, folder, rank, count)
        assert outcome is None
        assert asked == paths[rank::count]
    outcome, asked = run(pictures, folder, 0, count)  # the last to end, so that all records are there
    assert asked == paths[::count]
    assert outcome is not None
    assert outcome.unreadable == {}
    values = {key: record["value"] for key, record in outcome.records.items()}
    assert values == {f"{number}{letter}": number for number in range(7) for letter in "ab"}


def test_what_has_a_record_is_not_judged_again(pictures: list[Picture], tmp_path: Path) -> None:
    with WorkDir(tmp_path / "log", {"of": 1}, Processes()) as work:
        for key in ("0a", "0b", "1a"):
            work.append(key, {"value": -1, "example": "kept"})
    outcome, asked = run(pictures, tmp_path / "log")
    assert asked == [picture.path for picture in pictures[1:]]  # one example of the second picture is left
    assert outcome is not None
    assert [outcome.records[key]["value"] for key in ("0a", "0b", "1a", "1b", "2a")] == [-1, -1, -1, 1, 2]


def test_pictures_that_cannot_be_read_have_a_reason_and_no_record(
    pictures: list[Picture], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures[2].path.unlink()
    pictures[4].path.write_bytes(b"")
    outcome, asked = run(pictures, tmp_path / "log")
    assert asked == [pictures[number].path for number in (0, 1, 3, 5, 6)]
    assert outcome is not None
    assert list(outcome.unreadable) == [str(pictures[2].path), str(pictures[4].path)]
    assert "does not exist" in outcome.unreadable[str(pictures[2].path)]
    assert "empty" in outcome.unreadable[str(pictures[4].path)]
    assert not {"2a", "2b", "4a", "4b"} & set(outcome.records)
    assert len(outcome.records) == 10
    assert caplog.text.count("Its examples count as wrong.") == 2


def expression(split: str, reference: int, detections: tuple[Any, ...] = ()) -> Expression:
    return Expression(split, reference, "a.jpg", "kite", ((0.0, 0.0, 10.0, 10.0),), detections)


def test_odd_expressions_and_those_of_unreadable_pictures_count_as_wrong() -> None:
    boxes = ((0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 5.0, 5.0))
    pictures = [
        Picture(Path("a.jpg"), {"right": expression("v", 0, boxes), "wrong": expression("v", 0)}),
        Picture(Path("b.jpg"), {"lost": expression("v", 1, boxes), "other": expression("t", 1)}),
        Picture(Path("c.jpg"), {"nowhere": expression("t", 2)}),
    ]
    records = {
        "right": {"correct": True, "crop_correct": False, "problem": None},
        "wrong": {"correct": False, "crop_correct": True, "problem": "no region was found"},
        "nowhere": {"correct": True, "crop_correct": True, "problem": None},
    }
    outcome = Outcome(records, {"b.jpg": "it is empty"})
    odd = [Odd("line 5 of v.jsonl", "'anns' is missing", "v", questions=2, line=5)]
    odd += [Odd("sentence 2 of line 1 of t.jsonl", "the expression is ' '", "t", line=1)]
    examples = Examples(pictures, odd, [Odd("image 7 in d.json", "it holds 3")])
    results = referring.report(examples, outcome, ["v", "t"], baselines=True)
    assert results["splits"] == {
        "v": {
            "accuracy": 1 / 5,
            "correct": 1,
            "expressions": 5,
            "references": 3,
            "not_found": 2,
            "odd": 2,
            "whole_crop_accuracy": 1 / 5,
            "chance_accuracy": pytest.approx(1 / 5),
        },
        "t": {
            "accuracy": 1 / 3,
            "correct": 1,
            "expressions": 3,
            "references": 2,
            "not_found": 1,
            "odd": 1,
            "whole_crop_accuracy": 1 / 3,
            "chance_accuracy": 0.0,
        },
    }
    assert (results["pictures"], results["encodings_saved"]) == (3, 1)  # references v0, v1, t1, t2 on three pictures
    assert results["unreadable"] == {"b.jpg": "it is empty"}
    assert results["odd"] == {
        "line 5 of v.jsonl": "'anns' is missing",
        "sentence 2 of line 1 of t.jsonl": "the expression is ' '",
    }
    assert results["odd_detections"] == {"image 7 in d.json": "it holds 3"}
    assert "whole_crop_accuracy" not in referring.report(examples, outcome, ["v"])["splits"]["v"]


def test_what_cannot_be_judged_is_0_in_giou_and_nothing_in_ciou() -> None:
    def picture(name: str, is_sentence: bool) -> Picture:
        return Picture(Path(name), {name: Query(name, "kite?", is_sentence, ("background", "kite"), ())})

    pictures = [picture("a", False), picture("b", False), picture("c", True), picture("d", True)]
    records = {
        "a": {"intersection": 30, "union": 60, "iou": 0.5, "problem": None},
        "c": {"intersection": 0, "union": 40, "iou": 0.0, "problem": "no region was found"},
        "d": {"intersection": 10, "union": 10, "iou": 1.0, "problem": None},
    }
    odd = [Odd("e.json", "it has no 'shapes'", "long"), Odd("f.json", "it is not JSON")]
    results = reason_seg.report(Questions(pictures, odd), Outcome(records, {"b": "it is empty"}))
    rows = results["subsets"]
    names = ("giou", "ciou", "pictures", "not_found", "odd")
    assert {subset: tuple(row[name] for name in names) for subset, row in rows.items()} == {
        "short": (pytest.approx(0.25, abs=1e-5), pytest.approx(0.5), 2, 1, 0),
        "long": (pytest.approx(1 / 3, abs=1e-5), pytest.approx(0.2), 3, 1, 1),
        "overall": (pytest.approx(1.5 / 6, abs=1e-5), pytest.approx(40 / 110), 6, 2, 2),
    }
    assert (results["pictures"], results["unreadable"]) == (4, {"b": "it is empty"})
    assert results["odd"] == {"e.json": "it has no 'shapes'", "f.json": "it is not JSON"}


def test_a_picture_that_can_be_read_again_says_how_to_go_on(
    pictures: list[Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = pictures[3].path.read_bytes()
    pictures[3].path.write_bytes(b"")
    collect = WorkDir.collect

    def mended(work: WorkDir) -> Any:
        pictures[3].path.write_bytes(content)
        return collect(work)

    monkeypatch.setattr(WorkDir, "collect", mended)
    outcome, _ = run(pictures, tmp_path / "log")
    assert outcome is not None
    assert outcome.unreadable == {str(pictures[3].path): "it can be read now: start the same command again"}


def test_a_key_depends_on_every_fact() -> None:
    known = digest_of("kite", [1.0, 2.0], True)
    assert len(known) == 12
    assert known == digest_of("kite", (1.0, 2.0), True)
    others = [digest_of("kites", [1.0, 2.0], True), digest_of("kite", [1.0, 2.5], True), digest_of("kite", [1.0, 2.0])]
    assert len({known, *others}) == 4


@pytest.fixture
def evaluated(
    pictures: list[Picture],
    tmp_path: Path,
    clip_encoder: Encoder,
    sam2_model: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., dict[str, Any]]:
    """A run with a segmenter that is never asked, and what its results.json holds."""
    monkeypatch.setattr(Processes, "device", lambda self, name: f"{name}:{self.rank}")
    monkeypatch.setattr("eval.shared.runner.choose_models", lambda args, rendered: None)  # such a GPU is not there
    monkeypatch.setattr(RegionCache, "encode", lambda self, image, path: GivenRegions().encode(image, path))

    def run(
        name: str = "a", dtype: Any = "fp32", settings: Any = None, limit: int = 7, **changes: Any
    ) -> dict[str, Any]:
        encoder = copy.copy(clip_encoder)
        encoder.name = name
        loaded: list[tuple[Any, ...]] = []

        def load(args: argparse.Namespace, task: Any) -> TextRegionSegmenter:
            loaded.append((task, args.device))
            precision, options = Precision(args.dtype), SegmenterOptions.for_task(task, **changes)
            generator = MaskGenerator(sam2_model, options, precision)
            return TextRegionSegmenter(encoder, generator, precision=precision)

        monkeypatch.setattr(runner, "load_segmenter", load)
        parser = argparse.ArgumentParser()
        add_run_options(parser, str(tmp_path / "log"))
        done = evaluate(
            parser.parse_args(["--dtype", dtype, "--device", "cuda"]),
            "referring",
            pictures[:limit],
            lambda segmenter: judge,
            lambda outcome: {"examples": len(outcome.records)},
            settings={"detector_boxes": True} if settings is None else settings,
            asked={"limit": limit},
        )
        assert done is not None
        assert loaded == [("referring", "cuda:0")]
        results: dict[str, Any] = json.loads((tmp_path / "log" / "results.json").read_text())
        return results

    return run


def test_results_say_what_was_asked_and_how_long_it_took(evaluated: Callable[..., dict[str, Any]]) -> None:
    results = evaluated()
    assert (results["task"], results["examples"]) == ("referring", 14)
    settings = results["settings"]
    assert (settings["models"]["encoder"], settings["dtype"]) == ("a", "fp32")
    assert (settings["detector_boxes"], settings["limit"]) == (True, 7)
    assert settings["options"]["scale"] == [2016, 2016]
    assert set(results["timing"]) == {"seconds", "pictures_encoded", "pictures_from_cache"}
    assert 0 < results["timing"]["seconds"] < 60


def test_records_belong_to_models_precision_options_and_settings_but_not_to_what_was_asked(
    evaluated: Callable[..., dict[str, Any]],
) -> None:
    evaluated()
    for change, said in (
        ({"name": "b"}, "models.encoder = 'a'.*'b'"),
        ({"dtype": "bf16"}, "dtype = 'fp32'.*'bf16'"),
        ({"min_size": 7}, "options.min_size = 100.*7"),
        ({"settings": {"detector_boxes": False}}, "detector_boxes = True.*False"),
        ({"settings": {}}, "detector_boxes = True.*None"),
    ):
        with pytest.raises(UserError, match=said):
            evaluated(**change)
    assert evaluated(limit=2)["examples"] == 14


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--limit", "0"], "--limit must be at least 1, but got 0"),
        (["--limit", "-1"], "--limit"),
        (["--cache-gb", "0"], "--cache-gb must be more than 0, but got 0"),
        (["--launcher", "pytorch"], "torchrun"),
        (["--min_size", "-1"], "min_size"),
        (["--limit", "1", "--cache-gb", "0.001"], None),
        ([], None),
    ],
)
def test_run_options_are_checked(given: list[str], said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    parser = argparse.ArgumentParser()
    add_run_options(parser, "logs/here")
    args = parser.parse_args(given)
    if said is None:
        check_run_options(args, "referring")
        assert (args.log_dir, args.cache, args.show_dir, args.launcher) == (Path("logs/here"), None, None, "none")
        assert args.cache_gb == (0.001 if given else 20.0)
        assert args.limit == (1 if given else None)
    else:
        with pytest.raises(UserError, match=said):
            check_run_options(args, "referring")


def test_unreadable_pictures_are_printed_and_make_status_1_and_odd_data_do_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = argparse.Namespace(log_dir=Path("logs"), record_log=True)
    assert print_outcome(Outcome({}, {}), args, []) == 0
    assert capsys.readouterr().out == "Results: logs/results.json\n"
    odd = [Odd(f"line {number} of v.jsonl", "'anns' is missing") for number in range(1, 8)]
    assert print_outcome(Outcome({}, {}), args, odd) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        *(f"Odd: line {number} of v.jsonl: 'anns' is missing" for number in range(1, 6)),
        "Odd: 2 more, which results.json names",
    ]
    assert print_outcome(Outcome({}, {"a.jpg": "It is empty.", "b.jpg": "It is gone."}), args, []) == 1
    assert capsys.readouterr().out.splitlines()[1:] == ["Unreadable: It is empty.", "Unreadable: It is gone."]


def test_the_tables_of_both_tasks() -> None:
    row = {"accuracy": 0.25, "correct": 1, "expressions": 4, "not_found": 2, "odd": 3, "chance_accuracy": float("nan")}
    lines = referring.table({"splits": {"refcoco_val": row}}).splitlines()
    assert lines[0].split() == ["split", "accuracy", "correct", "of", "nothing", "found", "odd", "chance"]
    assert lines[1].split() == ["refcoco_val", "25.00", "1", "4", "2", "3", "-"]
    assert {len(line) for line in lines} == {74}
    rows = {"short": {"giou": 0.5, "ciou": 0.25, "pictures": 3, "not_found": 1, "odd": 2}}
    lines = reason_seg.table({"subsets": rows}).splitlines()
    assert lines[0].split() == ["subset", "gIoU", "cIoU", "n", "nothing", "found", "odd"]
    assert lines[1].split() == ["short", "0.5000", "0.2500", "3", "1", "2"]
