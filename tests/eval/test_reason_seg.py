"""ReasonSeg: its files' variants, ground truth against a second rasteriser, whole runs, one of them killed."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from eval.reason_seg.files import (
    Query,
    Shape,
    ground_truth,
    read_annotation,
    read_queries,
    split_folder,
    split_name,
)
from eval.reason_seg.task import ReasonSegJudge, report, table
from eval.shared.runner import Outcome
from miniatures.scenes.__main__ import main as render
from tests.conftest import WordFeatures
from textregion import RegionMasks, RegionTokens, TextRegionSegmenter, UserError

CHECKOUT = Path(__file__).parents[2]
SQUARE = [[2.0, 2.0], [9.9, 2.0], [9.9, 9.9], [2.0, 9.9]]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five rendered pictures in ReasonSeg's layout."""
    folder = tmp_path_factory.mktemp("reason")
    render(["--format", "reason_seg", "--count", "5", "--size", "96", "128", str(folder)])
    return folder


def shape(label: str, points: list[list[float]]) -> dict[str, Any]:
    return {"label": label, "labels": [label], "shape_type": "polygon", "points": points, "flags": {}}


def annotation(*shapes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"text": ["the Red thing"], "is_sentence": False, "shapes": list(shapes), **changes}


def write_picture(folder: Path, content: dict[str, Any], name: str = "a", encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 16)).save(folder / f"{name}.jpg")
    path = folder / f"{name}.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    return path


def test_the_largest_polygon_is_drawn_first(tmp_path: Path) -> None:
    large = [[0, 0], [20, 0], [20, 14], [0, 14]]
    small = [[12, 3], [18, 3], [18, 9], [12, 9]]
    flag = shape("Flag", [[0, 0], [23, 0], [23, 15]])
    path = write_picture(
        tmp_path, annotation(shape("target", SQUARE), shape("Ignored", small), flag, shape("x", large))
    )
    truth = ground_truth(read_annotation(path).shapes, (16, 24))
    expected = np.zeros((16, 24), np.uint8)
    expected[0:15, 0:21] = 1  # outlines belong to the polygon
    expected[3:10, 12:19] = 255
    np.testing.assert_array_equal(truth, expected)  # 9.9 is truncated to 9, inside of the large one
    picture = Image.new("L", (24, 16))
    for points, value in ((large, 1), (SQUARE, 1), (small, 255)):
        ImageDraw.Draw(picture).polygon([(int(x), int(y)) for x, y in points], fill=value, outline=value)
    np.testing.assert_array_equal(truth, np.asarray(picture))


def test_of_equal_areas_the_earlier_polygon_lies_on_top() -> None:
    def square(left: int, ignored: bool) -> Shape:
        return Shape(((left, 2), (left + 5, 2), (left + 5, 7), (left, 7)), ignored)

    shapes = [square(0, False), square(3, True), square(6, False)]
    truth = ground_truth(shapes, (10, 12))
    np.testing.assert_array_equal(truth[4], [1] * 6 + [255] * 3 + [1] * 3)
    np.testing.assert_array_equal(ground_truth(shapes[::-1], (10, 12))[4], [1] * 3 + [255] * 3 + [1] * 6)


def test_polygons_outside_and_polygons_of_two_points(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    far = [[-1e30, 4], [1e30, 4], [1e30, 1e30], [-1e30, 1e30]]
    path = write_picture(tmp_path, annotation(shape("target", far), shape("target", [[0, 0], [5, 0]])))
    read = read_annotation(path)
    assert len(read.shapes) == 1 and "fewer than 3 points" in caplog.text
    truth = ground_truth(read.shapes, (16, 24))
    assert (truth[5:] == 1).all() and (truth[:4] == 0).all()
    assert not ground_truth((), (16, 24)).any()
    assert not ground_truth((Shape(((30, 30), (40, 30), (40, 40)), False),), (16, 24)).any()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"text": ["x"], "is_sentence": True}, "has no 'shapes'"),
        (annotation(text=[]), "form"),
        (annotation(text=["  "]), "form"),
        (annotation(shape("target", [[0, 0], [1, "x"], [2, 2]])), "could not convert"),
        (annotation(shape("target", [[0, 0], [1, float("nan")], [2, 2]])), "a point is at nan"),
        (annotation({"points": SQUARE}), "has no 'label'"),
        ([1], "form"),
    ],
)
def test_a_bad_annotation_is_named(tmp_path: Path, content: Any, reason: str) -> None:
    path = write_picture(tmp_path, content)
    with pytest.raises(UserError, match=rf"a\.json.*{reason}"):
        read_annotation(path)


def test_a_file_that_is_no_json_or_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"text": [')
    with pytest.raises(UserError, match=r"a\.json.*not JSON"):
        read_annotation(tmp_path / "a.json")
    with pytest.raises(UserError, match=r"b\.json.*cannot be read"):
        read_annotation(tmp_path / "b.json")


def query_of(folder: Path, interpreted: Path | None, **options: Any) -> Query:
    (query,) = read_queries(folder, interpreted, **options)[0].examples.values()
    assert isinstance(query, Query)
    return query


def test_what_is_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, answers = tmp_path / "test", tmp_path / "answers"
    write_picture(folder, annotation(text=["The café’s door?"]), encoding="cp1252")
    answers.mkdir()
    assert query_of(folder, None).words == ("background, any other thing", "the café’s door?")
    with pytest.raises(UserError, match=r"a\.json.*--no-use_interpreted_query"):
        read_queries(folder, answers)
    said = {"answers": ["Red Door"], "text": ["the café’s Door?"], "is_sentence": False}
    (answers / "a.json").write_bytes(json.dumps(said, ensure_ascii=False).encode("cp1252"))
    target = "red door, the café’s door?"
    assert query_of(folder, answers).words == (f"background, anything but {target}", target)
    assert query_of(folder, answers, placeholder="not").words[0] == f"not {target}"
    (answers / "a.json").write_text(json.dumps({**said, "is_sentence": True}))  # the interpreted file decides
    query = query_of(folder, answers, subset="long")
    assert query.words == ("background, anything but red door", "red door") and query.subset == "long"
    with pytest.raises(UserError, match="short question"):
        read_queries(folder, answers, subset="short")
    for blank in ({**said, "answers": [""], "is_sentence": True}, {"answers": []}):
        (answers / "a.json").write_text(json.dumps(blank))
        assert query_of(folder, answers).words[1] == "the café’s door?"
    assert "the question itself is asked" in caplog.text
    (answers / "a.json").write_text("{}")
    with pytest.raises(UserError, match="no list of answers"):
        read_queries(folder, answers)


def test_folders_and_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--dataset_dir"):
        split_folder(tmp_path, "test")
    (tmp_path / "reason_seg" / "ReasonSeg" / "val").mkdir(parents=True)
    assert split_folder(tmp_path, "val").parent.name == "ReasonSeg"
    (tmp_path / "reason_seg" / "val").mkdir()
    assert split_folder(tmp_path, "val").parent.name == "reason_seg"
    with pytest.raises(UserError, match=r"holds no \*\.jpg"):
        read_queries(tmp_path / "reason_seg" / "val", None)
    assert split_name("ReasonSeg|test") == split_name("test") == "test"
    with pytest.raises(UserError, match=r"'ReasonSeg\|all'"):
        split_name("ReasonSeg|all")


def test_order_and_limit_do_not_depend_on_the_disk(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = rendered / "reason_seg" / "test"
    names = [picture.path.name for picture in read_queries(folder, None)]
    backwards = sorted(folder.iterdir(), reverse=True)
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(backwards))
    assert [picture.path.name for picture in read_queries(folder, None)] == names == sorted(names)
    assert [picture.path.name for picture in read_queries(folder, None, limit=2)] == names[:2]


def test_from_a_question_to_counts(tmp_path: Path) -> None:
    of = TextRegionSegmenter.from_pretrained(task="reasoning", device="cpu")
    text: Any = WordFeatures(of.encoder.embed_dim)
    segmenter = TextRegionSegmenter(of.encoder, of.mask_generator, of.options, text=text)
    words = ("background, anything but kite", "kite")
    masks = torch.zeros(3, 16, 24)
    masks[0, :8, :12], masks[1, 10:, 2:8], masks[2, 2:6, 14:20] = 3, 3, 3  # two targets, one other thing
    tokens = segmenter.text.encode(words)[[1, 1, 0]]
    regions = RegionTokens(tokens, RegionMasks.from_masks(masks), (16, 24), (16, 24), of.encoder.name)
    shapes = (
        Shape(((0, 0), (11, 0), (11, 7), (0, 7)), False),
        Shape(((2, 10), (4, 10), (4, 15), (2, 15)), False),
        Shape(((5, 10), (7, 10), (7, 12), (5, 12)), True),
    )
    query = Query("a", "the kites", False, words, shapes)
    image = np.zeros((16, 24, 3), np.uint8)
    ((_, record),) = ReasonSegJudge(segmenter, tmp_path)(image, regions, {"k": query})
    shared, union = 12 * 8 + 3 * 6, 12 * 8 + 6 * 6 - 9  # nine pixels of the answer are ignored
    assert (record["intersection"], record["union"]) == (shared, union)
    assert record["iou"] == pytest.approx(shared / union, abs=1e-6)
    assert (tmp_path / "a.png").is_file()
    ((_, nothing),) = ReasonSegJudge(segmenter)(image, regions[torch.zeros(3, dtype=torch.bool)], {"k": query})
    assert (nothing["intersection"], nothing["union"]) == (0, 12 * 8 + 3 * 6)
    assert nothing["problem"] == "no region was found"


def test_report_of_nothing() -> None:
    lines = table(report([], Outcome({}, {}))).splitlines()
    assert [line.split() for line in lines[1:]] == [[name, "-", "-", "0", "0"] for name in ("short", "long", "overall")]


def results_of(log_dir: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((log_dir / "results.json").read_text())
    assert results.pop("timing")["seconds"] > 0
    return results


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    script = importlib.import_module("eval_reason_seg")
    monkeypatch.setattr(sys, "argv", ["eval_reason_seg.py", *map(str, arguments)])
    status: int = script.main()
    return status


def test_killed_and_started_again(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole script on the bundled miniatures: killed after its first records, resumed, beside a run of its own."""
    arguments = [
        "--dataset_dir",
        rendered,
        "--val_dataset",
        "ReasonSeg|test",
        "--device",
        "cpu",
        "--points-per-side",
        8,
    ]
    log_dir = tmp_path / "killed"
    command = [sys.executable, "eval_reason_seg.py", *arguments, "--log_dir", log_dir]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    records = log_dir / "records.rank0.jsonl"
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        end = time.monotonic() + 240
        while time.monotonic() < end and process.poll() is None:
            if records.is_file() and records.read_bytes().count(b"\n") >= 3:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.stderr is not None
        errors = process.stderr.read().decode()
    kept = records.read_bytes() if records.is_file() else b""
    assert kept.count(b"\n") >= 3, errors
    assert not (log_dir / "results.json").exists()

    assert run_here(monkeypatch, *arguments, "--log_dir", log_dir) == 0
    assert records.read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])  # nothing is done twice
    assert run_here(monkeypatch, *arguments, "--log_dir", tmp_path / "alone") == 0
    assert results_of(log_dir) == results_of(tmp_path / "alone")
    assert records.read_bytes() == (tmp_path / "alone" / "records.rank0.jsonl").read_bytes()

    done = [json.loads(line) for line in records.read_text().splitlines()[1:]]
    assert len({record["key"] for record in done}) == len(done) == 5
    results = results_of(log_dir)
    for subset, sentence in (("short", [False]), ("long", [True]), ("overall", [False, True])):
        chosen = [record for record in done if record["is_sentence"] in sentence]
        row = results["subsets"][subset]
        assert row["pictures"] == len(chosen)
        if chosen:
            shared, union = np.array([(record["intersection"], record["union"]) for record in chosen]).T
            ious = np.where(union == 0, 1, shared / (union + 1e-5))
            assert row["giou"] == pytest.approx(ious.sum() / (len(ious) + 1e-5), abs=1e-9)
            assert row["ciou"] == pytest.approx(shared.sum() / (union.sum() + 1e-10), abs=1e-9)


def test_a_subset_or_none_of_them(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = importlib.import_module("eval_reason_seg")

    def parsed(*given: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["eval_reason_seg.py", "--dataset_dir", "a", *given])
        return script._parse().eval_query_type

    kind = "--eval_query_type"
    assert [parsed(), parsed(kind, "None"), parsed(f"{kind}=long"), parsed(kind, "overall")] == [
        None, None, "long", "overall"
    ]  # fmt: skip
    with pytest.raises(SystemExit):
        parsed(kind, "none of them")
    assert "invalid choice: 'none of them'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--limit", "0"], "--limit"),
        (["--cache-gb", "0"], "--cache-gb"),
        (["--launcher", "pytorch"], "torchrun"),
        (["--val_dataset", "coco"], "ReasonSeg"),
        (["--interpreted_query_dir", "none"], "no-use_interpreted_query"),
        (["--clip_architecture", "ViT-Q/99"], "ViT-Q/99"),
    ],
)
def test_mistakes_are_found_before_the_models_are_loaded(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.delattr("eval.shared.runner.load_segmenter")
    with pytest.raises(UserError, match=reason):
        run_here(monkeypatch, "--dataset_dir", rendered, "--log_dir", tmp_path, *arguments)
    assert list(tmp_path.iterdir()) == []
