"""Referring expressions: the published files' variants, the way from a region to a box, and whole runs."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from eval.referring.baselines import CropBaseline, chance
from eval.referring.detections import read_detections
from eval.referring.files import Examples, Expression, read_examples, splits_there
from eval.referring.references import picture_names
from eval.referring.task import ReferringJudge, region_found, report, table
from eval.shared.metrics import Box
from eval.shared.processes import Processes
from eval.shared.records import RecordFile
from eval.shared.region_cache import RegionCache
from eval.shared.runner import Outcome
from eval.shared.work_dir import WorkDir
from miniatures.scenes.__main__ import main as render
from tests.conftest import WordFeatures
from textregion import RegionMasks, RegionTokens, TextRegionSegmenter, UserError

Run = Callable[..., int]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rendered pictures in ReCLIP's file formats."""
    folder = tmp_path_factory.mktemp("refcoco")
    render(["--format", "refcoco", "--count", "3", "--size", "96", "128", str(folder)])
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Regions that one test has encoded serve the next."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def tiny() -> TextRegionSegmenter:
    """The bundled miniatures, with words that cost nothing."""
    of = TextRegionSegmenter.from_pretrained(task="referring", device="cpu", options={"points_per_side": 8})
    text: Any = WordFeatures(of.encoder.embed_dim)
    return TextRegionSegmenter(of.encoder, of.mask_generator, of.options, text=text)


@pytest.fixture
def run_script(tiny: TextRegionSegmenter, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``eval_referring.main()`` on the tiny models."""
    script = importlib.import_module("eval_referring")

    def run(rendered: Path, log_dir: Path, *arguments: object) -> int:
        monkeypatch.setattr("eval.shared.runner.load_segmenter", lambda args, task: tiny)
        roots = ["--input_file_root", rendered / "reclip_data", "--image_root", rendered / "train2014"]
        command = ["eval_referring.py", *roots, "--log-dir", log_dir, *arguments]
        monkeypatch.setattr(sys, "argv", [str(part) for part in command])
        status: int = script.main()
        return status

    return run


def write_split(folder: Path, *entries: Any, detections: object = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (640, 480)).save(folder / "COCO_train2014_000000581857.jpg")
    (folder / "refcoco_val.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (folder / "refcoco_dets_dict.json").write_text(json.dumps({} if detections is None else detections))


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "file_name": "COCO_train2014_000000581857_16.jpg",
        "image_id": 581857,
        "ann_id": 7,
        "anns": [{"id": 7, "bbox": [1.5, 2, 3, 4]}, {"id": 8, "bbox": [5, 5, 5, 5]}],
        "sentences": [{"raw": "Left MAN", "sent": "left man", "sent_id": 1, "tokens": []}],
        **changes,
    }


def read_all(folder: Path, *entries: Any, detections: object = None) -> tuple[list[Expression], Examples]:
    """The expressions of a split, and everything else that its files say."""
    write_split(folder, *entries, detections=detections)
    examples = read_examples(folder, folder, ["refcoco_val"])
    return [example for picture in examples.pictures for example in picture.examples.values()], examples


def read_one(folder: Path, *entries: Any, detections: object = None) -> list[Expression]:
    return read_all(folder, *entries, detections=detections)[0]


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("COCO_train2014_000000581857_16.jpg", "COCO_train2014_000000581857.jpg"),
        ("COCO_train2014_000000581857_1719310.jpg", "COCO_train2014_000000581857.jpg"),
        ("COCO_train2014_000000581857.jpg", "COCO_train2014_000000581857.jpg"),
        ("COCO_val2014_000000000042_3.png", "COCO_val2014_000000000042.jpg"),
        ("sub/COCO_train2014_000000581857_16.jpg", "sub/COCO_train2014_000000581857.jpg"),
        ("my_own_photo_3.jpeg", "my_own_photo_3.jpeg"),
        ("my_coco_photo_of_2014_3.jpg", "my_coco_photo_of_2014_3.jpg"),
        ("COCO_train2014_000000581857_16", "COCO_train2014_000000581857.jpg"),
        ("coco_train2014_581857_16.JPG", "coco_train2014_581857.jpg"),
        ("000000581857.jpg", "000000581857.jpg"),
    ],
)
def test_names_of_pictures(file_name: str, expected: str) -> None:
    assert picture_names(file_name)[0] == expected


@pytest.mark.parametrize(
    ("file_name", "there"),
    [
        ("COCO_train2014_000000000009_16.jpg", "000000000009.jpg"),  # COCO as of 2017
        ("COCO_train2014_000000000009_16.jpg", "COCO_train2014_000000000009_16.jpg"),
        ("train2014/COCO_train2014_000000000009_16.jpg", "COCO_train2014_000000000009.jpg"),
        ("train2014\\COCO_train2014_000000000009_16.jpg", "train2014/COCO_train2014_000000000009.jpg"),
        ("photos/street_4.png", "street_4.png"),
        ("street_coco_1_4.png", "street_coco_1_4.png"),
    ],
)
def test_a_picture_is_found_under_its_other_names(tmp_path: Path, file_name: str, there: str) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    Image.new("RGB", (64, 48)).save(tmp_path / there)
    assert read_one(tmp_path, entry(file_name=file_name))[0].picture == there


@pytest.mark.parametrize("ann_id", [7, "7", [7], ["7", 99]])
def test_annotation_ids_of_any_kind(tmp_path: Path, ann_id: Any) -> None:
    (expression,) = read_one(tmp_path, entry(ann_id=ann_id))
    assert expression.gold_xywh == ((1.5, 2, 3, 4),)
    assert expression.text == "left man" and expression.picture == "COCO_train2014_000000581857.jpg"
    assert read_one(tmp_path, entry(ann_id=[7, 8]))[0].gold_xywh == ((1.5, 2, 3, 4), (5, 5, 5, 5))


def test_both_shapes_of_detections(tmp_path: Path) -> None:
    boxes = ((1.0, 2.0, 3.0, 4.0), (0.5, 0.0, 9.0, 9.0))
    mapping = {"581857": [list(box) for box in boxes], "1": []}
    listed = [{"image_id": 581857, "box": list(box)} for box in boxes]
    for content in (mapping, listed):
        (expression,) = read_one(tmp_path, entry(image_id="581857"), detections=content)
        assert expression.detections_xywh == boxes
    assert read_detections(tmp_path / "refcoco_dets_dict.json") == ({581857: boxes}, [])
    assert read_one(tmp_path, entry(), detections={})[0].detections_xywh == ()  # no entry: the mask's box stays


ODD: list[tuple[Any, str, int]] = [
    ({"ann_id": 3}, "none of its anns has the id 3", 2),
    ({"ann_id": []}, "none of its anns has the id []", 2),
    ({"ann_id": None}, "none of its anns has the id None", 2),
    ({"anns": [{"id": 7, "bbox": [1, 2, -3, 4]}]}, "[1, 2, -3, 4] has a negative size", 2),
    (
        {"anns": [{"id": 7, "bbox": [1, 2, float("nan"), 4]}]},
        "[1, 2, nan, 4] is no box x, y, width, height in pixels",
        2,
    ),
    ({"anns": [{"id": 7, "bbox": [1, 2, 3, 1e300]}]}, "[1, 2, 3, 1e+300] is no box x, y, width, height in pixels", 2),
    ({"anns": [{"id": 7, "bbox": [1, 2, 3]}]}, "[1, 2, 3] is no box x, y, width, height", 2),
    ({"anns": [{"id": 7, "bbox": ["a", 2, 3, 4]}]}, "['a', 2, 3, 4] is no box of four numbers", 2),
    ({"anns": [{"id": 7, "bbox": "1234"}]}, "'1234' is no box x, y, width, height", 2),
    ({"anns": [{"id": 7}]}, "None is no box x, y, width, height", 2),
    ({"anns": [{"bbox": [1, 2, 3, 4]}, 3, None]}, "none of its anns has the id 7", 2),
    ({"anns": {"7": [1, 2, 3, 4]}}, "its 'anns' is {'7': [1, 2, 3, 4]}", 2),
    ({"image_id": "x"}, "its 'image_id' is 'x'", 2),
    ({"image_id": float("inf")}, "its 'image_id' is inf", 2),
    ({"file_name": 3}, "its 'file_name' is 3", 2),
    ({"file_name": ""}, "its 'file_name' is ''", 2),
    ({"sentences": []}, "it has no sentences", 1),
    ({"sentences": "left man"}, "its 'sentences' is 'left man'", 1),
    *(({"missing": key}, f"'{key}' is missing", 2) for key in ("file_name", "image_id", "ann_id", "anns")),
    ({"missing": "sentences"}, "'sentences' is missing", 1),
    ([1, 2], "it is [1, 2], not a mapping", 1),
    (None, "it is None, not a mapping", 1),
]
"""What is wrong with a line of two sentences, why, and how many expressions count as wrong."""


def odd_line(change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    two = [{"raw": "left man"}, {"raw": "man at the left"}]
    line = {**entry(sentences=two), **change}
    line.pop(line.pop("missing", None), None)
    return line


@pytest.mark.parametrize(("change", "reason", "wrong"), ODD)
def test_an_odd_reference_counts_as_wrong(
    tmp_path: Path, change: Any, reason: str, wrong: int, caplog: pytest.LogCaptureFixture
) -> None:
    expressions, examples = read_all(tmp_path, entry(), odd_line(change), entry(ann_id=8))
    assert [expression.gold_xywh for expression in expressions] == [((1.5, 2, 3, 4),), ((5, 5, 5, 5),)]
    assert [expression.reference for expression in expressions] == [1, 3]
    (odd,) = examples.odd
    assert (odd.where, odd.reason) == ("line 2 of refcoco_val.jsonl", reason)
    assert (odd.group, odd.questions, odd.line) == ("refcoco_val", wrong, 2)
    assert f"line 2 of refcoco_val.jsonl: {reason}; it counts as wrong." in caplog.messages
    # A file that holds nothing else is another file.
    with pytest.raises(UserError, match=r"refcoco_val\.jsonl' holds no references \(line 1 "):
        read_one(tmp_path, odd_line(change), odd_line(change))


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ({"raw": " "}, "the expression is ' '"),
        ({"raw": ""}, "its 'raw' is ''"),
        ({"raw": None}, "its 'raw' is None"),
        ({"raw": 5}, "its 'raw' is 5"),
        ({"raw": "half \ud83d"}, "the expression is 'half \\ud83d'"),
        ({"sent": "left"}, "'raw' is missing"),
        (None, "the expression is None"),
    ],
)
def test_an_odd_sentence_counts_as_wrong_beside_others(tmp_path: Path, sentence: Any, reason: str) -> None:
    line = entry(sentences=[{"raw": "One"}, sentence, {"raw": "Three"}])
    expressions, examples = read_all(tmp_path, line)
    assert [expression.text for expression in expressions] == ["one", "three"]
    assert [(odd.where, odd.reason, odd.questions) for odd in examples.odd] == [
        ("sentence 2 of line 1 of refcoco_val.jsonl", reason, 1)
    ]


def test_an_odd_annotation_beside_a_sound_one_is_left_out(tmp_path: Path) -> None:
    anns = [{"id": 7, "bbox": [1, 2, 3, 4]}, {"id": 8, "bbox": [1, 2, -3, 4]}, {"id": 9}]
    expressions, examples = read_all(tmp_path, entry(ann_id=[7, 8], anns=anns), entry(ann_id=7.0, anns=anns))
    assert [expression.gold_xywh for expression in expressions] == [((1, 2, 3, 4),)] * 2
    assert examples.odd == []


def test_odd_detections_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sound = [0.5, 0.0, 9.0, 9.0]
    mapping = {"581857": [[1, 2, -3, 4], sound, [1, 2], ["x", 1, 1, 1], [1, 2, 3, float("nan")]], "x": [sound], "5": 3}
    (expression,), examples = read_all(tmp_path, entry(), detections=mapping)
    assert expression.detections_xywh == (tuple(sound),)
    name = "refcoco_dets_dict.json"
    assert {odd.where: odd.reason for odd in examples.odd_detections} == {
        f"box 1 of image 581857 in {name}": "[1, 2, -3, 4] has a negative size",
        f"box 3 of image 581857 in {name}": "[1, 2] is no box x, y, width, height",
        f"box 4 of image 581857 in {name}": "['x', 1, 1, 1] is no box of four numbers",
        f"box 5 of image 581857 in {name}": "[1, 2, 3, nan] is no box x, y, width, height in pixels",
        f"image x in {name}": "its image id is 'x'",
        f"image 5 in {name}": "it holds 3",
    }
    assert "1 more, which results.json names; it is left out." in caplog.messages
    listed = [{"image_id": 581857, "box": sound}, {"image_id": 581857}, {"box": sound}, 3]
    (expression,), examples = read_all(tmp_path, entry(), detections=listed)
    assert expression.detections_xywh == (tuple(sound),)
    assert [odd.where for odd in examples.odd_detections] == [
        f"box 1 of detection 2 in {name}",
        f"detection 3 in {name}",
        f"detection 4 in {name}",
    ]


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--input_file_root"):
        splits_there(tmp_path / "none", None)
    with pytest.raises(UserError, match="holds none"):
        splits_there(tmp_path, None)
    write_split(tmp_path, entry())
    assert splits_there(tmp_path, None) == ["refcoco_val"]
    with pytest.raises(UserError, match=r"refcoco_testa\.jsonl.*--datasets"):
        splits_there(tmp_path, ["refcoco_testa"])
    with pytest.raises(UserError, match="--image_root"):
        read_examples(tmp_path, tmp_path / "none", ["refcoco_val"])
    for content in ("{", "3", '{"x": [[1, 2, 3, 4]]}', '[{"box": [1, 2, 3, 4]}]', '{"1": [[1, 2, 3]]}'):
        (tmp_path / "refcoco_dets_dict.json").write_text(content)
        with pytest.raises(UserError, match=r"refcoco_dets_dict\.json"):
            read_examples(tmp_path, tmp_path, ["refcoco_val"])
    (tmp_path / "refcoco_dets_dict.json").unlink()
    with pytest.raises(UserError, match=r"refcoco_dets_dict\.json' does not exist: put .* by --no-detector-boxes"):
        read_examples(tmp_path, tmp_path, ["refcoco_val"])
    assert read_examples(tmp_path, tmp_path, ["refcoco_val"], use_detections=False).pictures
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"None of 1 pictures .*000000581857\.jpg': check --image_root"):
        read_examples(tmp_path, tmp_path / "empty", ["refcoco_val"], use_detections=False)
    for content, reason in (
        ("", "holds no references: copy"),
        (json.dumps(entry()) + '\n{"a', "Line 2 .* is not JSON"),
    ):
        (tmp_path / "refcoco_val.jsonl").write_text(content)
        with pytest.raises(UserError, match=reason):
            read_examples(tmp_path, tmp_path, ["refcoco_val"], use_detections=False)


def test_without_detections_no_image_id_is_needed(tmp_path: Path) -> None:
    line = entry()
    del line["image_id"]
    write_split(tmp_path, line)
    assert read_examples(tmp_path, tmp_path, ["refcoco_val"], use_detections=False).odd == []


def test_files_as_other_systems_write_them(tmp_path: Path) -> None:
    boxes = {"581857": [[1, 2, 3, 4]]}
    lines = [entry(sentences=[{"raw": "Café links"}]), entry(ann_id="8")]
    write_split(tmp_path, *lines, detections=boxes)
    plain = read_examples(tmp_path, tmp_path, ["refcoco_val"])
    texts = [json.dumps(line, ensure_ascii=False) for line in lines]
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        for end in ("\r\n", "\r", ",\n", "\n\n"):
            (tmp_path / "refcoco_val.jsonl").write_bytes(end.join(texts).encode(encoding))
            (tmp_path / "refcoco_dets_dict.json").write_bytes(f"{end.strip(',')}{json.dumps(boxes)}".encode(encoding))
            read = read_examples(tmp_path, tmp_path, ["refcoco_val"])
            of = [list(picture.examples.values()) for examples in (plain, read) for picture in examples.pictures]
            assert [expression.text for expression in of[1]] == ["café links", "left man"]
            assert [(each.text, each.gold_xywh, each.detections_xywh) for each in of[0]] == [
                (each.text, each.gold_xywh, each.detections_xywh) for each in of[1]
            ]


def test_odd_references_count_among_the_first_pictures(tmp_path: Path) -> None:
    names = [f"COCO_train2014_{number:012d}.jpg" for number in range(3)]
    write_split(
        tmp_path,
        entry(file_name=names[0], ann_id=3),
        entry(file_name=names[1]),
        {"sentences": []},
        entry(file_name=names[2], ann_id=3),
        entry(file_name=names[1], sentences=[{"raw": ""}]),
        entry(file_name=names[0]),
    )
    for name in names:
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    examples = read_examples(tmp_path, tmp_path, ["refcoco_val"], limit=2)
    assert [picture.path.name for picture in examples.pictures] == [names[1], names[0]]
    assert [odd.line for odd in examples.odd] == [1, 5]
    assert [odd.line for odd in read_examples(tmp_path, tmp_path, ["refcoco_val"]).odd] == [1, 3, 4, 5]


EXIF_BOXES = {  # of the pixels x 10 to 30, y 5 to 15 of a stored picture of 64 x 48
    2: (34, 5, 20, 10),
    3: (34, 33, 20, 10),
    4: (10, 33, 20, 10),
    5: (5, 10, 10, 20),
    6: (33, 10, 10, 20),
    7: (33, 34, 10, 20),
    8: (5, 34, 10, 20),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_upright_unless_only_the_stored_picture_holds_them(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    name = "COCO_train2014_000000581857.jpg"
    box, wide, tall = (10.0, 5.0, 20.0, 10.0), [0, 0, 64, 5], [0, 0, 5, 64]

    def read(beside: list[int], **more: Any) -> tuple[Any, Any]:
        anns = [{"id": 7, "bbox": list(box)}, {"id": 8, "bbox": beside}]
        write_split(tmp_path, entry(anns=anns, **more), detections={"581857": [list(box), beside]})
        Image.new("RGB", (64, 48)).save(tmp_path / name, exif=exif)
        (picture,) = read_examples(tmp_path, tmp_path, ["refcoco_val"]).pictures
        (expression,) = picture.examples.values()
        return expression.gold_xywh[0], expression.detections_xywh[0]

    turned = EXIF_BOXES.get(orientation, box) if orientation > 4 else box
    assert read([0, 0, 40, 40]) == (box, box)  # possible on either: upright, as tools show pictures
    assert read(tall) == (box, box)
    assert read(wide) == (turned, turned)  # beyond the upright picture's width of 48
    assert read([0, 0, 40, 40], width=64, height=48) == (turned, box)
    assert read(wide, width=48, height=64) == (box, turned)


def test_pictures_are_grouped_over_splits(rendered: Path) -> None:
    splits = splits_there(rendered / "reclip_data", None)
    assert len(splits) == 8
    pictures = read_examples(rendered / "reclip_data", rendered / "train2014", splits).pictures
    assert len(pictures) == 3
    assert {example.split.split("_")[0] for example in pictures[0].examples.values()} == {
        "refcoco",
        "refcoco+",
        "refcocog",
    }
    two = ["refcoco_testa", "refcoco_val"]
    first = read_examples(rendered / "reclip_data", rendered / "train2014", two, limit=1).pictures
    assert {key for picture in first for key in picture.examples} < {key for p in pictures for key in p.examples}
    assert len(first) == 2


def test_a_limit_is_of_pictures_with_all_that_is_asked_of_them(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "a.jpg", "c.jpg", "b.jpg"]
    entries = [entry(file_name=name, image_id=number) for number, name in enumerate(names)]
    write_split(tmp_path, *entries)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")

    def lines(limit: int | None) -> list[list[int]]:
        pictures = read_examples(tmp_path, tmp_path, ["refcoco_val"], limit=limit).pictures
        return [[example.reference for example in picture.examples.values()] for picture in pictures]

    assert lines(1) == [[1, 3]]
    assert lines(2) == [[1, 3], [2, 5]]
    assert lines(None) == lines(3) == [[1, 3], [2, 5], [4]]


def test_pictures_without_an_entry_in_the_detections_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_split(tmp_path, entry(), entry(image_id=3, file_name="b.jpg"), detections={"581857": []})
    read_examples(tmp_path, tmp_path, ["refcoco_val"])
    assert caplog.messages == ["refcoco_val: 1 pictures without an entry in the detections keep mask boxes."]
    caplog.clear()
    read_examples(tmp_path, tmp_path, ["refcoco_val"], use_detections=False)
    assert caplog.messages == []


def test_keys_tell_splits_references_sentences_and_content_apart(tmp_path: Path) -> None:
    def keys(*entries: dict[str, Any], detections: object = None) -> list[str]:
        write_split(tmp_path, *entries, detections=detections)
        Image.new("RGB", (640, 480)).save(tmp_path / "other.jpg")
        pictures = read_examples(tmp_path, tmp_path, ["refcoco_val"]).pictures
        return [key for picture in pictures for key in picture.examples]

    two = [{"raw": "left"}, {"raw": "left"}]
    plain = keys(entry(sentences=two), entry(sentences=two))
    assert [key.rsplit("/", 1)[0] for key in plain] == [
        f"refcoco_val/{line}/{order}" for line in (1, 2) for order in (0, 1)
    ]
    changed = [
        {"file_name": "other.jpg"},
        {"sentences": [{"raw": "right"}]},
        {"anns": [{"id": 7, "bbox": [1.5, 2, 3, 5]}]},
    ]
    digests = {keys(entry())[0]} | {keys(entry(**change))[0] for change in changed}
    digests |= {keys(entry(), detections={"581857": [[0, 0, 1, 1]]})[0]}
    assert len(digests) == 5
    write_split(tmp_path, entry())
    Image.new("RGB", (640, 480), "red").save(tmp_path / "COCO_train2014_000000581857.jpg")
    (picture,) = read_examples(tmp_path, tmp_path, ["refcoco_val"]).pictures
    assert digests.isdisjoint(picture.examples)


def regions_of(masks: torch.Tensor, tokens: torch.Tensor, encoder: str = "") -> RegionTokens:
    size_hw = (masks.shape[1], masks.shape[2])
    return RegionTokens(tokens, RegionMasks.from_masks(masks), size_hw, size_hw, encoder)


def two_regions(tiny: TextRegionSegmenter, word: str) -> RegionTokens:
    """Of 40 x 60 pixels: the first region answers the word and has a large and a small part."""
    masks = torch.zeros(2, 40, 60)
    masks[0, 5:16, 10:31] = 3
    masks[0, 30:33, 50:53] = 3
    masks[1, 20:30, 0:10] = 3
    answer = tiny.text.encode([word])[0]
    return regions_of(masks, torch.stack([answer, -answer]), tiny.encoder.name)


def asked(text: str, gold: tuple[float, ...], detections: tuple[tuple[float, ...], ...] = ()) -> Expression:
    return Expression("refcoco_val", 0, "a.jpg", text, (gold,), detections)  # type: ignore[arg-type]


def test_from_a_region_to_a_verdict(tiny: TextRegionSegmenter, tmp_path: Path) -> None:
    regions = two_regions(tiny, "red kite")
    found = region_found(regions, 0)
    assert found.box_xywh == (10, 5, 20, 10)  # the largest part alone, no + 1
    detections = ((12.0, 5.0, 20.0, 10.0), (40.0, 0.0, 5.0, 5.0))
    examples = {
        "snapped": asked("red kite", (12, 5, 20, 10), detections),
        "alone": asked("red kite", (12, 5, 20, 10)),
        "half": asked("red kite", (10, 5, 20, 5)),
    }
    image = np.zeros((40, 60, 3), np.uint8)
    records = dict(ReferringJudge(tiny, show_dir=tmp_path)(image, regions, examples))
    assert records["snapped"]["box_xywh"] == detections[0] and records["snapped"]["iou"] == 1
    assert records["snapped"]["mask_box_xywh"] == records["alone"]["box_xywh"] == (10, 5, 20, 10)
    assert records["alone"]["correct"] and records["alone"]["iou"] == pytest.approx(180 / 220)
    assert records["half"]["iou"] == 0.5 and not records["half"]["correct"]
    unsnapped = dict(ReferringJudge(tiny, use_detections=False)(image, regions, examples))
    assert unsnapped["snapped"]["box_xywh"] == (10, 5, 20, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.png" for name in sorted(examples)]


def test_nothing_found_counts_as_wrong(tiny: TextRegionSegmenter, caplog: pytest.LogCaptureFixture) -> None:
    regions = two_regions(tiny, "kite")
    image = np.zeros((40, 60, 3), np.uint8)
    none = regions[torch.zeros(2, dtype=torch.bool)]
    empty = regions_of(torch.zeros(1, 40, 60), regions.tokens[:1], tiny.encoder.name)
    examples = {"one": asked("kite", (0, 0, 60, 40))}
    for nothing, reason in ((none, "no region was found"), (empty, "the region's mask is empty")):
        ((_, record),) = ReferringJudge(tiny)(image, nothing, examples)
        assert record["problem"] == reason and record["box_xywh"] is None and not record["correct"]
        assert reason in caplog.text


def test_baselines(tiny: TextRegionSegmenter) -> None:
    boxes = ((0.0, 0.0, 20.0, 20.0), (50.0, 30.0, 30.0, 30.0), (2.0, 0.0, 20.0, 20.0))
    expression = asked("x", (0, 0, 20, 20), boxes)
    assert chance(expression) == pytest.approx(2 / 3)
    assert chance(asked("x", (0, 0, 20, 20))) == 0
    tiles_alone = tiny.options.replace(global_views=0)  # a crop is one view whatever the pictures are
    crops = CropBaseline(TextRegionSegmenter(tiny.encoder, tiny.mask_generator, tiles_alone, text=tiny.text))
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    tokens = crops.encode(image, boxes)  # the second box leaves the picture
    torch.testing.assert_close(tokens.norm(dim=1), torch.ones(3))
    best = int(tiny.encoder.scores(tokens, tiny.text.encode(["x"])).argmax())
    assert crops.record(expression, tokens) == {"crop_box_xywh": boxes[best], "crop_correct": best != 1}
    none = crops.record(asked("x", (0, 0, 20, 20)), crops.encode(image, ()))
    assert none == {"crop_box_xywh": None, "crop_correct": False}


@pytest.mark.parametrize(
    ("box_xywh", "rows", "cols"),
    [
        ((3.0, 5.0, 20.0, 8.0), slice(5, 13), slice(3, 23)),
        ((3.7, 5.7, 8.0, 20.0), slice(5, 26), slice(3, 12)),
        ((50.0, 30.0, 30.0, 30.0), slice(30, 40), slice(50, 60)),
        ((-5.0, -4.0, 15.0, 10.0), slice(0, 6), slice(0, 10)),
        ((70.0, 45.0, 3.0, 3.0), slice(39, 40), slice(59, 60)),
        ((10.0, 12.0, 0.0, 0.0), slice(12, 13), slice(10, 11)),
    ],
)
def test_a_crop_is_the_boxs_own_part_of_the_picture(
    box_xywh: Box, rows: slice, cols: slice, tiny: TextRegionSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    seen: list[np.ndarray] = []
    encode = TextRegionSegmenter.encode
    monkeypatch.setattr(
        TextRegionSegmenter, "encode", lambda self, crop, masks: seen.append(crop) or encode(self, crop, masks)
    )
    assert CropBaseline(tiny).encode(image, (box_xywh,)).shape == (1, tiny.encoder.embed_dim)
    np.testing.assert_array_equal(seen[0], image[rows, cols])


def results_of(log_dir: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((log_dir / "results.json").read_text())
    assert results.pop("timing")["seconds"] > 0
    return results


def test_the_script_resumes_and_agrees_with_its_records(
    rendered: Path, cache: Path, tmp_path: Path, run_script: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_for = ("--baselines", "--datasets", "refcoco_val", "refcoco+_testa", "refcocog_val")
    assert run_script(rendered, tmp_path / "whole", *asked_for) == 0
    printed = capsys.readouterr().out
    whole = results_of(tmp_path / "whole")
    records = (tmp_path / "whole" / "records.rank0.jsonl").read_bytes().splitlines(keepends=True)
    parsed = [json.loads(line) for line in records[1:]]
    for split, row in whole["splits"].items():
        verdicts = [record["correct"] for record in parsed if record["split"] == split]
        assert row["expressions"] == len(verdicts) > 0
        assert row["accuracy"] == np.mean(verdicts)
        assert f"{split:<16}{100 * row['accuracy']:>10.2f}" in printed
        assert 0 <= row["chance_accuracy"] < 1 and 0 <= row["whole_crop_accuracy"] <= 1
    assert whole["pictures"] == 3 and whole["encodings_saved"] > 0
    assert f"{whole['encodings_saved']} encodings saved" in printed

    # Cut in the middle of a record, as a kill would leave it; the pictures come from the cache the second time.
    for name, kept in (("half", len(records) // 2), ("few", 3)):
        (tmp_path / name).mkdir()
        torn = b"".join(records[:kept]) + records[kept][:20]
        (tmp_path / name / "records.rank0.jsonl").write_bytes(torn)
        assert run_script(rendered, tmp_path / name, *asked_for, "--cache", cache) == 0
        assert (tmp_path / name / "records.rank0.jsonl").read_bytes() == b"".join(records)
        assert results_of(tmp_path / name) == whole
    with pytest.raises(UserError, match=r"baselines = True.*False"):
        run_script(rendered, tmp_path / "half", *asked_for[1:])


def test_without_a_log_nothing_is_kept_and_an_interrupted_run_goes_on(
    rendered: Path, cache: Path, tmp_path: Path, run_script: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_for = ("--datasets", "refcoco_val", "--cache", cache, "--record_log")
    assert run_script(rendered, tmp_path / "log", *asked_for, "True") == 0
    printed = capsys.readouterr().out.replace(f"Results: {tmp_path / 'log' / 'results.json'}\n", "")
    kept = {path: path.read_bytes() for path in (tmp_path / "log").iterdir()}
    assert run_script(rendered, tmp_path / "log", *asked_for, "False") == 0
    assert capsys.readouterr().out == printed
    assert {path: path.read_bytes() for path in (tmp_path / "log").iterdir()} == kept
    # Records of an interrupted run: the first answer was set to be right or wrong, unlike what it is.
    header, first, *_ = (tmp_path / "log" / "records.rank0.jsonl").read_text().splitlines()
    record = json.loads(first)
    record["correct"] = not record["correct"]
    (tmp_path / "other" / "unrecorded").mkdir(parents=True)
    interrupted = f"{header}\n{json.dumps(record)}\n"
    (tmp_path / "other" / "unrecorded" / "records.rank0.jsonl").write_text(interrupted)
    assert run_script(rendered, tmp_path / "other", *asked_for, "False") == 0
    assert not (tmp_path / "other").exists()
    correct = [int(text.splitlines()[1].split()[2]) for text in (printed, capsys.readouterr().out)]
    assert correct[1] - correct[0] == (1 if record["correct"] else -1)


def test_unreadable_pictures_are_wrong_and_named(
    rendered: Path, cache: Path, tmp_path: Path, run_script: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(rendered, data)
    pictures = sorted((data / "train2014").iterdir())
    pictures[0].write_bytes(pictures[0].read_bytes()[:300])
    pictures[1].unlink()
    arguments = ("--datasets", "refcocog_val", "refcocog_test", "--no-detector-boxes", "--cache", cache)
    assert run_script(data, tmp_path / "log", *arguments) == 1
    printed = capsys.readouterr().out
    assert pictures[0].name in printed and pictures[1].name in printed
    results = results_of(tmp_path / "log")
    assert set(results["unreadable"]) == {str(path) for path in pictures[:2]}
    assert all(row["not_found"] > 0 for row in results["splits"].values())
    for path in pictures[:2]:
        shutil.copy(rendered / "train2014" / path.name, path)
    assert run_script(data, tmp_path / "log", *arguments) == 0  # mended pictures are done, nothing else again
    assert run_script(rendered, tmp_path / "other", *arguments) == 0
    assert results_of(tmp_path / "log") == results_of(tmp_path / "other")


def test_odd_data_are_told_and_the_run_goes_on(
    rendered: Path, cache: Path, tmp_path: Path, run_script: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(rendered, data)
    arguments = ("--datasets", "refcoco_val", "--cache", cache, "--baselines")
    assert run_script(data, tmp_path / "plain", *arguments) == 0
    plain = results_of(tmp_path / "plain")["splits"]["refcoco_val"]
    path = data / "reclip_data/refcoco_val.jsonl"
    lines = path.read_text().splitlines()
    first = json.loads(lines[0])
    odd = [{**first, "ann_id": 1}, {**first, "sentences": [{"raw": " "}]}]
    path.write_text("\n".join([*lines, *map(json.dumps, odd)]))
    detections = json.loads((data / "reclip_data/refcoco_dets_dict.json").read_text())
    detections[str(first["image_id"])].append([0, 0, -5, 5])
    (data / "reclip_data/refcoco_dets_dict.json").write_text(json.dumps(detections))
    capsys.readouterr()
    assert run_script(data, tmp_path / "odd", *arguments) == 0
    printed = capsys.readouterr().out
    results = results_of(tmp_path / "odd")
    row = results["splits"]["refcoco_val"]
    wrong = len(first["sentences"]) + 1
    assert (row["odd"], row["expressions"]) == (wrong, plain["expressions"] + wrong)
    assert row["correct"] == plain["correct"] and row["accuracy"] == plain["correct"] / row["expressions"]
    assert row["references"] == plain["references"] + 2 and row["not_found"] == plain["not_found"]
    where = f"line {len(lines) + 1} of refcoco_val.jsonl"
    assert results["odd"] == {
        where: "none of its anns has the id 1",
        f"sentence 1 of line {len(lines) + 2} of refcoco_val.jsonl": "the expression is ' '",
    }
    assert list(results["odd_detections"].values()) == ["[0, 0, -5, 5] has a negative size"]
    assert f"Odd: {where}: none of its anns has the id 1\n" in printed


def test_report_of_nothing() -> None:
    results = report(Examples([], [], []), Outcome({}, {}), ["refcoco_val"], baselines=True)
    assert table(results).splitlines()[1].split() == ["refcoco_val", "-", "0", "0", "0", "0", "-", "-"]


def test_cache_is_bounded_and_distrusts_damage(
    tmp_path: Path, tiny: TextRegionSegmenter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    images = [np.full((40, 60, 3), number, np.uint8) for number in range(4)]
    for path, image in zip(paths, images):
        Image.fromarray(image).save(path)
    tmp_path = tmp_path / "cache"
    monkeypatch.setattr(TextRegionSegmenter, "encode", lambda self, image: two_regions(self, "kite"))
    cache = RegionCache(tiny, tmp_path)
    first = cache.encode(images[0], paths[0])
    (kept,) = tmp_path.iterdir()
    torch.testing.assert_close(cache.encode(images[0], paths[0]).tokens, first.tokens, rtol=0, atol=0)
    assert (cache.encoded, cache.reused) == (1, 1)
    kept.write_bytes(kept.read_bytes()[:-10])
    cache.encode(images[0], paths[0])
    assert cache.encoded == 2 and "damaged" in caplog.text
    options = tiny.options.replace(global_patch_threshold=0.05)
    other = TextRegionSegmenter(tiny.encoder, tiny.mask_generator, options, text=tiny.text)
    changed = RegionCache(other, tmp_path)
    changed.encode(images[0], paths[0])
    assert changed.encoded == 1 and len(list(tmp_path.iterdir())) == 2
    RegionTokens(first.tokens, first.region_masks, first.size_hw, first.resized_hw, "another").save(kept)
    cache.encode(images[0], paths[0])
    assert cache.encoded == 3

    for image, path in zip(images[1:3], paths[1:3]):
        cache.encode(image, path)
    files = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    total = sum(path.stat().st_size for path in files)
    for age, path in enumerate([kept, *(path for path in files if path != kept)]):
        os.utime(path, (age, age))
    bounded = RegionCache(tiny, tmp_path, max_gb=total / 1e9)
    bounded.encode(images[0], paths[0])  # was the oldest, is now the youngest
    bounded.encode(images[3], paths[3])
    assert (bounded.reused, bounded.encoded) == (1, 1)
    assert kept.exists() and len(list(tmp_path.iterdir())) < 5
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= total


def test_a_folder_with_records_of_several_processes(tmp_path: Path) -> None:
    for rank in range(3):
        with RecordFile(tmp_path / f"records.rank{rank}.jsonl", {}) as records:
            records.append(f"by {rank}", {"rank": rank})
    with WorkDir(tmp_path, {}, Processes()) as work:
        assert all(f"by {rank}" in work for rank in range(3)) and "other" not in work
        work.append("other", {})
        assert sorted(work.collect()) == ["by 0", "by 1", "by 2", "other"]


def test_two_processes_agree_with_one(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole script on the bundled miniatures, as each of two processes runs it, then alone in another folder.

    One after the other: that they start together and wait for one another is tested with the semantic evaluation.
    """
    script = importlib.import_module("eval_referring")
    roots = ["--input_file_root", rendered / "reclip_data", "--image_root", rendered / "train2014"]
    arguments = [*roots, "--device", "cpu", "--points-per-side", 8]

    def run(folder: str, *more: str) -> None:
        command = ["eval_referring.py", *arguments, "--log_dir", tmp_path / folder, *more]
        monkeypatch.setattr(sys, "argv", [str(part) for part in command])
        assert script.main() == 0

    run("one")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(Processes, "barrier", lambda self: None)
    for rank in (1, 0):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setattr(
            "eval.shared.runner.start_processes", lambda _, rank=rank: contextlib.nullcontext(Processes(rank, 2))
        )
        run("two", "--launcher", "pytorch")
        assert (tmp_path / "two" / "results.json").exists() == (rank == 0)
    shares = [(tmp_path / "two" / f"records.rank{rank}.jsonl").read_text().splitlines()[1:] for rank in (0, 1)]
    pictures = [{json.loads(line)["picture"] for line in share} for share in shares]
    assert [len(share) for share in pictures] == [2, 1]
    assert pictures[0].isdisjoint(pictures[1])
    assert results_of(tmp_path / "one") == results_of(tmp_path / "two")
