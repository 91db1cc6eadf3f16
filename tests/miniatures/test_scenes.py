"""The rendered world: what is said about a picture, in masks and in words, has to be what is seen in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from miniatures.scenes import COLOURS, GROUNDS, PARTS, THINGS, Scene, SceneObject, render_scene
from miniatures.scenes.__main__ import main
from miniatures.scenes.files import trace, voc_palette
from miniatures.scenes.formats import LABEL_CLASSES, REFERRING_SPLITS, VOC_CLASSES
from miniatures.scenes.kinds import REGISTERED
from miniatures.scenes.language import caption, expressions, questions

SIZE_HW = (160, 208)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(seed, SIZE_HW) for seed in range(60)]


def _of_role(scene: Scene, role: str) -> list[SceneObject]:
    return [item for item in scene.objects if item.role == role]


@pytest.mark.parametrize("closeup", [False, True])
def test_same_seed_gives_same_bytes(closeup: bool) -> None:
    first, again, other = (render_scene(seed, SIZE_HW, closeup=closeup) for seed in (5, 5, 6))
    assert first.image.tobytes() == again.image.tobytes()
    assert [item.name for item in first.objects] == [item.name for item in again.objects]
    assert all((a.mask == b.mask).all() for a, b in zip(first.objects, again.objects, strict=True))
    assert first.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("size_hw", [(16, 16), (32, 32), (33, 71), (301, 90), (64, 500), (900, 700)])
def test_any_size(size_hw: tuple[int, int]) -> None:
    for seed in range(4):
        for closeup in (False, True):
            scene = render_scene(seed, size_hw, closeup=closeup)
            assert scene.image.shape == (*size_hw, 3) and scene.image.dtype == np.uint8
            assert all(item.mask.shape == size_hw and item.mask.dtype == bool for item in scene.objects)


def test_grounds_and_things_cover_the_picture_without_overlap(scenes: list[Scene]) -> None:
    for scene in scenes:
        cover = np.zeros(SIZE_HW, dtype=int)
        for item in scene.objects:
            if item.role != "part":
                cover += item.mask
        assert cover.max() == 1
        # Only a ground of which next to nothing is left may go unlabelled.
        assert (cover == 0).mean() < 0.001


def test_parts_are_disjoint_and_inside_their_thing(scenes: list[Scene]) -> None:
    seen = set()
    for scene in scenes:
        cover = np.zeros(SIZE_HW, dtype=int)
        for part in _of_role(scene, "part"):
            assert part.parent is not None
            thing = scene.objects[part.parent]
            assert thing.role == "thing" and (thing.kind, part.kind) in {
                *(("house", "door"), ("house", "window")),
                *(("car", "wheel"), ("car", "window"), ("boat", "window")),
            }
            assert not (part.mask & ~thing.mask).any() and part.area < thing.area
            cover += part.mask
            seen.add(part.kind)
        assert cover.max() <= 1
    assert seen == set(PARTS)


def test_every_object_is_visible_and_its_box_is_tight(scenes: list[Scene]) -> None:
    least = max(6, 0.0005 * SIZE_HW[0] * SIZE_HW[1])
    for item in (item for scene in scenes for item in scene.objects):
        rows, columns = np.nonzero(item.mask)
        assert item.area == len(rows) >= least
        expected = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
        assert item.box_xywh == tuple(map(float, expected))


def test_all_kinds_and_colours_appear(scenes: list[Scene]) -> None:
    assert len(THINGS) >= 16 and set(THINGS) == set(REGISTERED)
    objects = [item for scene in scenes for item in scene.objects]
    assert {item.kind for item in objects} == {*THINGS, *PARTS, *GROUNDS}
    assert {item.colour for item in objects} == {"", *COLOURS}
    assert all(bool(item.colour) == (item.role == "thing") for item in objects)


def test_a_thing_is_painted_in_its_colour() -> None:
    anchors = {"red": 0, "green": 1, "blue": 2}
    right = total = 0
    for seed in range(150):
        scene = render_scene(seed, (64, 64), closeup=True)
        (thing,) = _of_role(scene, "thing")
        if thing.colour in anchors and thing.kind not in ("person", "lamp", "flower", "house", "car"):
            total += 1
            right += int(scene.image[thing.mask].mean(axis=0).argmax()) == anchors[thing.colour]
    assert total > 20 and right / total > 0.9


def test_closeups_show_one_large_thing() -> None:
    for seed in range(60):
        scene = render_scene(seed, (96, 96), closeup=True)
        (thing,) = _of_role(scene, "thing")
        assert 0.35 <= max(thing.box_xywh[2:]) / 96 <= 1.0
        assert len(_of_role(scene, "ground")) in (1, 2)


def test_options_are_kept() -> None:
    for seed in range(10):
        scene = render_scene(seed, SIZE_HW, things=(0, 0), grounds=("sky", "snow"))
        assert [item.kind for item in scene.objects] == ["sky", "snow"]
        assert len(_of_role(render_scene(seed, SIZE_HW, things=(2, 4)), "thing")) <= 4
    for kind in GROUNDS:
        assert {item.kind for item in _of_role(render_scene(1, SIZE_HW, grounds=(kind,)), "ground")} == {kind}


@pytest.mark.parametrize(
    "options", [{"size_hw": (8, 64)}, {"things": (4, 2)}, {"things": (0, 99)}, {"grounds": ("lava",)}]
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        render_scene(0, **{"size_hw": SIZE_HW, **options})


def test_labels_take_parts_as_their_thing(scenes: list[Scene]) -> None:
    for scene in scenes[:20]:
        labels = scene.labels(LABEL_CLASSES)
        for item in scene.objects:
            kind = scene.objects[item.parent].kind if item.parent is not None else item.kind
            assert (labels[item.mask] == LABEL_CLASSES.index(kind)).all()
        assert set(np.unique(scene.labels(("sky",)))) <= {0, 255}


def test_captions_name_only_what_is_visible(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(0)
    for scene in scenes:
        captions = [caption(scene, rng) for _ in range(8)]
        assert len(captions) == 8 and len(set(captions)) > 1
        kinds = {item.kind for item in scene.objects}
        names = {item.name for item in scene.objects}
        for sentence in captions:
            words = sentence.replace(",", "").replace("picture book", "").split()
            for before, word in zip(["", *words], words, strict=False):
                assert word not in {*THINGS, *GROUNDS} or word in kinds
                assert before not in COLOURS or f"{before} {word}" in names


def test_easy_expressions_fit_one_thing_only(scenes: list[Scene]) -> None:
    said = 0
    for scene in scenes:
        things = _of_role(scene, "thing")
        for index, sentences in expressions(scene, np.random.default_rng(1), harder=False):
            for words in (sentence.split() for sentence in sentences):
                colours, kinds = set(words) & set(COLOURS), set(words) & set(THINGS)
                fitting = [item for item in things if item.kind in kinds and (not colours or item.colour in colours)]
                assert fitting == [scene.objects[index]]
                said += 1
    assert said > len(scenes)


def _centre(item: SceneObject) -> tuple[float, float]:
    x, y, width, height = item.box_xywh
    return x + width / 2, y + height / 2


def test_harder_expressions_are_true(scenes: list[Scene]) -> None:
    checks: dict[str, Callable[[SceneObject, SceneObject], bool]] = {
        "left": lambda item, other: _centre(item)[0] < _centre(other)[0],
        "lower": lambda item, other: _centre(item)[1] > _centre(other)[1],
        "biggest": lambda item, other: item.area > other.area,
        "little": lambda item, other: item.area < other.area,
    }
    checked = dict.fromkeys(checks, 0)
    for scene in scenes:
        things = _of_role(scene, "thing")
        for index, sentences in expressions(scene, np.random.default_rng(2), harder=True):
            item = scene.objects[index]
            peers = [other for other in things if other.kind == item.kind and other is not item]
            for sentence in sentences:
                neighbour = sentence.partition(" next to the ")[2] or sentence.partition(" beside the ")[2]
                assert not neighbour or [other.name for other in things].count(neighbour) == 1
                for word in checks.keys() & sentence.split():
                    assert peers and all(checks[word](item, other) for other in peers)
                    checked[word] += 1
    assert all(checked.values()), checked


def test_questions_have_all_their_answers_as_targets(scenes: list[Scene]) -> None:
    lengths = set()
    for scene in scenes:
        asked = questions(scene, np.random.default_rng(3))
        assert asked
        for question in asked:
            kinds = set(question.answer.replace(",", " ").replace(" and ", " ").split())
            meant = tuple(index for index, item in enumerate(scene.objects) if item.kind in kinds)
            assert question.targets == meant
            assert question.is_sentence == question.text.endswith("?")
            lengths.add(len(question.targets))
    assert len(lengths) > 3


def test_traced_polygons_fill_the_same_mask(scenes: list[Scene]) -> None:
    holes = 0
    for item in (item for scene in scenes[:15] for item in scene.objects if item.area > 60):
        filled = np.zeros(SIZE_HW, dtype=np.uint8)
        for polygon in trace(item.mask):
            cv2.fillPoly(filled, [np.array(polygon, dtype=np.int32)], 1)
        union = ((filled > 0) | item.mask).sum()
        assert ((filled > 0) & item.mask).sum() / union > 0.93, item.name
        holes += len(cv2.findContours(item.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]) > 2
    assert holes


def _render(out: Path, kind: str, count: int, seed: int = 3) -> None:
    main(["--format", kind, str(out), "--count", str(count), "--seed", str(seed), "--size", "120", "160"])
    assert not [path for path in out.rglob(".*") if path.is_file()], "an unfinished file was left"


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_png_labels_equal_the_scene(tmp_path: Path) -> None:
    _render(tmp_path, "png", 2)
    scene = render_scene(4, (120, 160))
    assert (np.asarray(Image.open(tmp_path / "scene_0001.png")) == scene.image).all()
    assert (np.asarray(Image.open(tmp_path / "scene_0001_labels.png")) == scene.labels(LABEL_CLASSES)).all()
    assert (tmp_path / "classes.txt").read_text().split() == list(LABEL_CLASSES)


def test_voc_layout(tmp_path: Path) -> None:
    _render(tmp_path, "voc", 3)
    stems = (tmp_path / "ImageSets/Segmentation/val.txt").read_text().split()
    assert len(stems) == 3
    for number, stem in enumerate(stems):
        labels = Image.open(tmp_path / "SegmentationClass" / f"{stem}.png")
        assert labels.mode == "P"
        assert (np.asarray(labels) == render_scene(3 + number, (120, 160)).labels(VOC_CLASSES, ignore=0)).all()
        with Image.open(tmp_path / "JPEGImages" / f"{stem}.jpg") as picture:
            assert picture.size == labels.size == (160, 120)
    # VOC paints aeroplane maroon, car grey and void cream.
    assert voc_palette()[[1, 7, 255]].tolist() == [[128, 0, 0], [128, 128, 128], [224, 224, 192]]


def test_refcoco_layout(tmp_path: Path) -> None:
    _render(tmp_path, "refcoco", 6)
    pictures = {path.name for path in (tmp_path / "train2014").iterdir()}
    assert len(pictures) == 6
    for name, splits in REFERRING_SPLITS.items():
        detections = json.loads((tmp_path / f"reclip_data/{name}_dets_dict.json").read_text())
        detected = {str(entry["image_id"]) for entry in detections} if name == "refcocog" else set(detections)
        for split in splits:
            lines = (tmp_path / f"reclip_data/{name}_{split}.jsonl").read_text().splitlines()
            assert lines
            for entry in map(json.loads, lines):
                assert entry["file_name"].rpartition("_")[0] + ".jpg" in pictures
                assert entry["ann_id"] in [annotation["id"] for annotation in entry["anns"]]
                assert [sentence["sent_id"] for sentence in entry["sentences"]] == entry["sent_ids"]
                assert str(entry["image_id"]) in detected


def test_detected_boxes_mostly_match_the_things(tmp_path: Path) -> None:
    _render(tmp_path, "refcoco", 6)
    detections = json.loads((tmp_path / "reclip_data/refcoco_dets_dict.json").read_text())
    best = []
    for line in (tmp_path / "reclip_data/refcoco_val.jsonl").read_text().splitlines():
        entry = json.loads(line)
        x, y, width, height = next(a["bbox"] for a in entry["anns"] if a["id"] == entry["ann_id"])
        boxes = np.array(detections[str(entry["image_id"])])
        wide = np.minimum(boxes[:, 0] + boxes[:, 2], x + width) - np.maximum(boxes[:, 0], x)
        tall = np.minimum(boxes[:, 1] + boxes[:, 3], y + height) - np.maximum(boxes[:, 1], y)
        common = wide.clip(0) * tall.clip(0)
        best.append((common / (boxes[:, 2] * boxes[:, 3] + width * height - common)).max())
    assert np.mean(np.array(best) > 0.5) > 0.8 and min(best) < 0.999


def test_reason_seg_layout(tmp_path: Path) -> None:
    _render(tmp_path, "reason_seg", 8)
    several, labels = 0, set()
    for path in sorted((tmp_path / "reason_seg/test").glob("*.json")):
        annotation = json.loads(path.read_text())
        folder = tmp_path / "reason_seg/interpreted_llava_v15_7b/test"
        interpreted = json.loads((folder / path.name).read_text())
        assert path.with_suffix(".jpg").is_file() and interpreted["answers"][0]
        assert interpreted["text"] == annotation["text"] and len(annotation["text"]) == 1
        assert interpreted["is_sentence"] == annotation["is_sentence"]
        labels |= {shape["label"] for shape in annotation["shapes"]}
        several += sum(shape["label"] == "target" for shape in annotation["shapes"]) > 1
        assert any(shape["label"] == "target" and len(shape["points"]) > 2 for shape in annotation["shapes"])
    assert several and {"target", "flag"} <= labels


@pytest.mark.parametrize("kind", ["refcoco", "reason_seg"])
def test_files_are_the_same_every_time(tmp_path: Path, kind: str) -> None:
    for folder in ("first", "second"):
        _render(tmp_path / folder, kind, 3)
    assert _digest(tmp_path / "first") == _digest(tmp_path / "second")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["file"], "is a file where a"),
        (["out", "--count", "0"], "--count"),
        (["out", "--format", "gif"], "gif"),
    ],
)
def test_mistakes_on_the_command_line_end_with_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and reason in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
