"""ReasonSeg: its files' variants, ground truth against a second rasteriser, whole runs, one of them killed."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from eval.reason_seg.annotations import Shape, ground_truth, read_annotation
from eval.reason_seg.files import Query, Questions, read_questions, split_folder, split_name
from eval.reason_seg.task import ReasonSegJudge, report, table
from eval.shared.runner import Outcome
from miniatures.scenes.__main__ import main as render
from tests.conftest import WordFeatures
from tests.eval.test_label_maps import TURNS
from textregion import RegionMasks, RegionTokens, TextRegionSegmenter, UserError
from textregion.image import load_rgb

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


def lisa_mask(shapes: list[dict[str, Any]], height: int, width: int) -> np.ndarray:
    """LISA's rule, read from data.md 5.3: two OpenCV calls a shape, once for its area and once with its value."""

    def draw(mask: np.ndarray, points: list[list[float]], value: int) -> None:
        cv2.polylines(mask, np.array([points], dtype=np.int32), True, value, 1)
        cv2.fillPoly(mask, np.array([points], dtype=np.int32), value)

    kept = [each for each in shapes if each["label"].lower() != "flag"]
    areas = []
    for each in kept:
        blank = np.zeros((height, width), np.uint8)
        draw(blank, each["points"], 1)
        areas.append(int(blank.sum()))
    mask = np.zeros((height, width), np.uint8)
    for index in np.argsort(areas, kind="stable")[::-1]:
        draw(mask, kept[index]["points"], 255 if "ignore" in kept[index]["label"].lower() else 1)
    return mask


def test_polygons_of_one_and_two_points_are_drawn(tmp_path: Path) -> None:
    shapes = [
        shape("target", [[3.9, 4.2]]),
        shape("target", [[8, 2], [13, 7]]),
        shape("ignore", [[20, 10], [20, 10]]),
        shape("target", [[-5, 14], [4, 14]]),
        shape("ignore", [[12.5, 9]]),
    ]
    read = read_annotation(write_picture(tmp_path, annotation(*shapes)))
    assert [len(each.points_xy) for each in read.shapes] == [1, 2, 2, 2, 1]
    expected = np.zeros((16, 24), np.uint8)
    expected[4, 3] = expected[[2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13]] = expected[14, :5] = 1
    expected[10, 20] = expected[9, 12] = 255
    np.testing.assert_array_equal(ground_truth(read.shapes, (16, 24)), expected)
    np.testing.assert_array_equal(lisa_mask(shapes, 16, 24), expected)


@given(data=st.data())
def test_any_polygons_are_drawn_as_lisa_draws_them(data: st.DataObject) -> None:
    point = st.tuples(st.floats(-10, 40), st.floats(-10, 30)).map(list)
    labels = st.sampled_from(["target", "ignore", "flag", "Ignored"])
    drawn = data.draw(st.lists(st.tuples(labels, st.lists(point, min_size=1, max_size=7)), max_size=5))
    shapes = [shape(label, points) for label, points in drawn]
    with tempfile.TemporaryDirectory() as folder:
        read = read_annotation(write_picture(Path(folder), annotation(*shapes)))
    np.testing.assert_array_equal(ground_truth(read.shapes, (16, 24)), lisa_mask(shapes, 16, 24))


def test_polygons_outside_and_without_points(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    far = [[-1e30, 4], [1e30, 4], [1e30, 1e30], [-1e30, 1e30]]
    path = write_picture(tmp_path, annotation(shape("target", far), shape("target", [])))
    read = read_annotation(path)
    assert len(read.shapes) == 1 and "has no point" in caplog.text
    truth = ground_truth(read.shapes, (16, 24))
    assert (truth[5:] == 1).all() and (truth[:4] == 0).all()
    assert not ground_truth((), (16, 24)).any()
    assert not ground_truth((Shape(((30, 30), (40, 30), (40, 40)), False),), (16, 24)).any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_polygons_are_upright_unless_only_the_stored_picture_holds_them(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    triangle = shape("target", [[2, 1], [9, 1], [2, 6]])
    bar = shape("ignore", [[0, 0], [23, 0]])  # as wide as the stored picture of 24 x 16
    sides = (16, 24) if orientation < 5 else (24, 16)

    def truth_of(*shapes: dict[str, Any], **more: Any) -> np.ndarray:
        write_picture(tmp_path, annotation(*shapes, **more))
        Image.new("RGB", (24, 16)).save(tmp_path / "a.jpg", exif=exif)
        (picture,) = read_questions(tmp_path, tmp_path, ask_answers=False).pictures
        (query,) = picture.examples.values()
        truth = ground_truth(query.shapes, sides, query.turn)
        assert truth.shape == load_rgb(picture.path).shape[:2]
        return truth

    def stored(*shapes: dict[str, Any]) -> np.ndarray:
        turn = TURNS.get(orientation)
        mask = Image.fromarray(lisa_mask(list(shapes), 16, 24))
        return np.asarray(mask if turn is None else mask.transpose(turn))

    upright = lisa_mask([triangle], *sides)
    np.testing.assert_array_equal(truth_of(triangle), upright)  # possible on either
    on_stored = stored(triangle, bar) if orientation > 4 else lisa_mask([triangle, bar], *sides)
    np.testing.assert_array_equal(truth_of(triangle, bar), on_stored)
    by_size = stored(triangle) if orientation > 4 else upright
    np.testing.assert_array_equal(truth_of(triangle, imageWidth=24, imageHeight=16), by_size)
    np.testing.assert_array_equal(truth_of(triangle, imageWidth=16, imageHeight=24), upright)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"text": ["x"], "is_sentence": True}, "has no 'shapes'"),
        (annotation(text=[]), "form"),
        (annotation(text=["  "]), "form"),
        (annotation(shape("target", [[0, 0], [1, "x"], [2, 2]])), "could not convert"),
        (annotation(shape("target", [[0, 0], [1, float("nan")], [2, 2]])), "a point is at nan"),
        (annotation({"points": SQUARE}), "has no 'label'"),
        (annotation(shape("target", [[1e400, 0], [1, 1]])), "a point is at inf"),
        (annotation(shape("target", [[0, 0, 0]])), "too many values"),
        (annotation(is_sentence="false"), "its is_sentence is 'false'"),
        (annotation(text=[5]), "form"),
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
    with pytest.raises(UserError, match=r"b\.json' does not exist: complete the data set"):
        read_annotation(tmp_path / "b.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_words_are_read_in_utf8_or_else_cp1252(encoding: str, tmp_path: Path) -> None:
    path = write_picture(tmp_path, annotation(text=["The café’s door?"]), encoding=encoding)
    assert read_annotation(path).text == "The café’s door?"


def query_of(folder: Path, interpreted: Path, **options: Any) -> Query:
    (query,) = read_questions(folder, interpreted, **options).pictures[0].examples.values()
    assert isinstance(query, Query)
    return query


def test_what_is_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, answers = tmp_path / "test", tmp_path / "answers"
    write_picture(folder, annotation(text=["The café’s door?"]), encoding="cp1252")
    answers.mkdir()
    plain = query_of(folder, answers, ask_answers=False)
    assert plain.words == ("background, any other thing", "the café’s door?")
    with pytest.raises(UserError, match=r"a\.json' does not exist \(1 are missing\).*--no-use_interpreted_query"):
        read_questions(folder, answers)
    said = {"answers": ["Red Door"], "text": ["the café’s Door?"], "is_sentence": False}
    (answers / "a.json").write_bytes(json.dumps(said, ensure_ascii=False).encode("cp1252"))
    target = "red door, the café’s door?"
    assert query_of(folder, answers).words == (f"background, anything but {target}", target)
    assert query_of(folder, answers, placeholder="not").words[0] == f"not {target}"
    (answers / "a.json").write_text(json.dumps({**said, "is_sentence": True}))  # the interpreted file decides
    query = query_of(folder, answers, subset="long")
    assert query.words == ("background, anything but red door", "red door") and query.subset == "long"
    with pytest.raises(UserError, match="short question"):
        read_questions(folder, answers, subset="short")
    for blank in ({**said, "answers": [""], "is_sentence": True}, {"answers": []}):
        (answers / "a.json").write_text(json.dumps(blank))
        assert query_of(folder, answers).words[1] == "the café’s door?"
    assert "the question itself is asked" in caplog.text
    for wrong, reason in (({}, "no list of answers"), ({"answers": [5]}, "not of its form"), ([1], "not of its form")):
        (answers / "a.json").write_text(json.dumps(wrong))
        with pytest.raises(UserError, match=f"No annotation in .* can be judged: Interpreted query .*{reason}"):
            read_questions(folder, answers)


def test_without_answers_question_and_kind_are_still_those_of_the_interpreted_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        write_picture(tmp_path / "test", annotation(text=[f"Question {name}"]), name)
    (tmp_path / "answers").mkdir()
    said = {"answers": ["kite"], "text": ["What Flies"], "is_sentence": True}
    (tmp_path / "answers/a.json").write_text(json.dumps(said))
    (tmp_path / "answers/b.json").write_text("{")
    read = read_questions(tmp_path / "test", tmp_path / "answers", ask_answers=False)
    queries = [query for picture in read.pictures for query in picture.examples.values()]
    assert [(query.question, query.subset, query.words[1]) for query in queries] == [
        ("What Flies", "long", "what flies"),
        ("Question b", "short", "question b"),
        ("Question c", "short", "question c"),
    ]
    assert {query.words[0] for query in queries} == {"background, any other thing"}
    assert read.odd == [] and "The annotation's question is asked." in caplog.text
    short = read_questions(tmp_path / "test", tmp_path / "answers", "short", ask_answers=False)
    assert [picture.path.name for picture in short.pictures] == ["b.jpg", "c.jpg"]


def test_odd_annotations_count_as_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, answers = tmp_path / "test", tmp_path / "answers"
    answers.mkdir()
    for name, content in {
        "a": annotation(shape("target", SQUARE)),
        "b": annotation(shape("target", [[0, 0], [float("nan"), 2]])),
        "c": annotation(shape("target", SQUARE)),
        "d": [1],
        "e": annotation(shape("target", SQUARE)),
    }.items():
        write_picture(folder, content, name)
    for name, said in {"a": {"answers": ["x"]}, "b": {"answers": ["x"], "is_sentence": True}, "c": {}}.items():
        (answers / f"{name}.json").write_text(json.dumps(said))
    (answers / "e.json").write_text(json.dumps({"answers": ["x"]}))
    Image.new("RGB", (9, 9)).save(folder / "f.jpg")
    read = read_questions(folder, answers)
    assert [picture.path.name for picture in read.pictures] == ["a.jpg", "e.jpg"]
    assert [(odd.where, odd.group) for odd in read.odd] == [
        ("b.json", "long"),  # as its interpreted query says
        ("c.json", "short"),
        ("d.json", ""),
        ("f.json", ""),
    ]
    assert "a point is at nan" in read.odd[0].reason and "does not exist" in read.odd[3].reason
    assert caplog.text.count("it counts as wrong") == 4
    assert [odd.where for odd in read_questions(folder, answers, limit=3).odd] == ["b.json", "c.json"]
    assert [odd.where for odd in read_questions(folder, answers, "short").odd] == ["c.json", "d.json", "f.json"]


def test_pictures_of_other_endings_and_files_that_are_none(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.jpeg", "c.png"):
        write_picture(tmp_path, annotation(), Path(name).stem)
        (tmp_path / f"{Path(name).stem}.jpg").rename(tmp_path / name)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")  # a.JPG is the picture
    Image.new("RGB", (9, 9)).save(tmp_path / "overview.png")  # has no annotation
    for name in ("._a.JPG", "._a.json", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"no data")
    read = read_questions(tmp_path, tmp_path, ask_answers=False)
    assert [picture.path.name for picture in read.pictures] == ["a.JPG", "b.jpeg", "c.png"]
    assert read.odd == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_annotations_as_other_systems_write_them(tmp_path: Path, encoding: str) -> None:
    write_picture(tmp_path, annotation(shape("target", SQUARE), text=["das Mädchen"]), encoding=encoding)
    read = read_annotation(tmp_path / "a.json")
    assert read.text == "das Mädchen" and len(read.shapes) == 1


def test_keys_tell_what_is_judged(tmp_path: Path) -> None:
    def key() -> str:
        (picture,) = read_questions(tmp_path, tmp_path, ask_answers=False).pictures
        (only,) = picture.examples
        return only

    write_picture(tmp_path, annotation(shape("target", SQUARE)))
    keys = [key(), key()]
    assert keys[0] == keys[1]
    Image.new("RGB", (24, 16), "red").save(tmp_path / "a.jpg")
    keys.append(key())
    write_picture(tmp_path, annotation(shape("target", SQUARE[:2])))
    keys.append(key())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 16)).save(tmp_path / "a.jpg", exif=exif)
    keys.append(key())
    assert len(set(keys)) == 4


def test_folders_and_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--dataset_dir"):
        split_folder(tmp_path, "test")
    (tmp_path / "reason_seg" / "ReasonSeg" / "val").mkdir(parents=True)
    assert split_folder(tmp_path, "val").parent.name == "ReasonSeg"
    (tmp_path / "reason_seg" / "val").mkdir()
    assert split_folder(tmp_path, "val").parent.name == "reason_seg"
    with pytest.raises(UserError, match=r"holds no \*\.jpg"):
        read_questions(tmp_path / "reason_seg" / "val", tmp_path)
    assert split_name("ReasonSeg|test") == split_name("test") == "test"
    with pytest.raises(UserError, match=r"'ReasonSeg\|all'"):
        split_name("ReasonSeg|all")


def test_order_and_limit_do_not_depend_on_the_disk(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = rendered / "reason_seg" / "test"
    answers = rendered / "reason_seg" / "interpreted_llava_v15_7b" / "test"
    names = [picture.path.name for picture in read_questions(folder, answers).pictures]
    backwards = sorted(folder.iterdir(), reverse=True)
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(backwards))
    assert [picture.path.name for picture in read_questions(folder, answers).pictures] == names == sorted(names)
    assert [picture.path.name for picture in read_questions(folder, answers, limit=2).pictures] == names[:2]


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
    lines = table(report(Questions([], []), Outcome({}, {}))).splitlines()
    subsets = ("short", "long", "overall")
    assert [line.split() for line in lines[1:]] == [[name, "-", "-", "0", "0", "0"] for name in subsets]


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


@pytest.mark.parametrize("option", ["--log_dir", "--show-dir"])
def test_a_file_in_the_place_of_a_folder_is_found_before_the_models_are_loaded(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.delattr("eval.shared.runner.load_segmenter")
    (tmp_path / "taken").touch()
    folders = {"--log_dir": tmp_path / "log", "--show-dir": tmp_path / "shown", option: tmp_path / "taken" / "below"}
    with pytest.raises(
        UserError, match=r"^Folder .*below' cannot be written \(.*taken' is a file where a folder is wan"
    ):
        run_here(monkeypatch, "--dataset_dir", rendered, *(part for pair in folders.items() for part in pair))
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
