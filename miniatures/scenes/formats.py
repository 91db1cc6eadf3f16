"""Rendered benchmarks, each in the file format of a published one, so that the same readers read both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from miniatures.scenes.files import trace, write_json, write_jsonl, write_labels, write_picture
from miniatures.scenes.language import Question, expressions, questions
from miniatures.scenes.scene import GROUNDS, THINGS, Scene, SceneObject
from textregion.files import write_bytes

LABEL_CLASSES: tuple[str, ...] = (*GROUNDS, *THINGS)
VOC_CLASSES: tuple[str, ...] = ("background", *THINGS)  # the grounds are background
REFERRING_SPLITS: dict[str, tuple[str, ...]] = {
    "refcoco": ("val", "testa", "testb"),
    "refcoco+": ("val", "testa", "testb"),
    "refcocog": ("val", "test"),
}
_FIRST_IMAGE_ID = 900001


def write_png(out: Path, scenes: Iterable[Scene]) -> None:
    """OUT/scene_0000.png and OUT/scene_0000_labels.png, values as in OUT/classes.txt (LABEL_CLASSES)."""
    for number, scene in enumerate(scenes):
        write_picture(out / f"scene_{number:04d}.png", scene.image)
        write_labels(out / f"scene_{number:04d}_labels.png", scene.labels(LABEL_CLASSES))
    write_bytes(out / "classes.txt", "".join(f"{name}\n" for name in LABEL_CLASSES).encode())


def write_voc(out: Path, scenes: Iterable[Scene]) -> None:
    """PASCAL VOC's layout: JPEGImages, SegmentationClass (VOC_CLASSES), ImageSets/Segmentation/val.txt."""
    stems = []
    for number, scene in enumerate(scenes):
        stem = f"scene_{number:06d}"
        labels = scene.labels(VOC_CLASSES, ignore=0)
        write_picture(out / "JPEGImages" / f"{stem}.jpg", scene.image)
        write_labels(out / "SegmentationClass" / f"{stem}.png", labels)
        stems.append(stem)
    write_bytes(out / "ImageSets/Segmentation/val.txt", "".join(f"{stem}\n" for stem in stems).encode())


def write_refcoco(out: Path, scenes: Iterable[Scene]) -> None:
    """ReCLIP's layout: train2014/*.jpg, reclip_data/*.jsonl for every split, and the detectors' boxes.

    RefCOCO and RefCOCO+ have the easy expressions, drawn anew for each; RefCOCOg the harder ones. Every
    data set's splits share the pictures out among themselves, and all three use the same pictures.
    """
    records: dict[tuple[str, str], list[dict[str, Any]]] = {
        (name, split): [] for name, splits in REFERRING_SPLITS.items() for split in splits
    }
    detections: dict[str, dict[str, list[list[float]]]] = {name: {} for name in REFERRING_SPLITS}
    for number, scene in enumerate(scenes):
        image_id = _FIRST_IMAGE_ID + number
        write_picture(out / "train2014" / f"COCO_train2014_{image_id:012d}.jpg", scene.image)
        for order, (name, splits) in enumerate(REFERRING_SPLITS.items()):
            rng = np.random.default_rng((scene.seed, order))
            split = splits[number % len(splits)]
            entries = records[name, split]
            entries.extend(_references(scene, rng, image_id, split, harder=name == "refcocog"))
            detections[name][str(image_id)] = _detect(scene, rng)
    folder = out / "reclip_data"
    for name, by_image in detections.items():
        # Published detections come in two shapes; RefCOCOg's stand for the other one.
        listed = [{"image_id": int(image), "box": box} for image, boxes in by_image.items() for box in boxes]
        write_json(folder / f"{name}_dets_dict.json", listed if name == "refcocog" else by_image)
    for (name, split), entries in records.items():
        numbered = _number(entries)
        write_jsonl(folder / f"{name}_{split}.jsonl", numbered)


def _references(
    scene: Scene, rng: np.random.Generator, image_id: int, split: str, harder: bool
) -> Iterator[dict[str, Any]]:
    """One record a referred thing, with every thing of the picture among its annotations."""
    ids = {index: 1000 * image_id + index for index, item in enumerate(scene.objects) if item.role == "thing"}
    annotations = [
        {"id": ann_id, "image_id": image_id, "bbox": list(item.box_xywh), "category_id": _category(item)}
        for ann_id, item in ((ann_id, scene.objects[index]) for index, ann_id in ids.items())
    ]
    for index, sentences in expressions(scene, rng, harder):
        yield {
            "ann_id": ids[index],
            "image_id": image_id,
            "split": {"testa": "testA", "testb": "testB"}.get(split, split),
            "category_id": _category(scene.objects[index]),
            "file_name": f"COCO_train2014_{image_id:012d}_{index}.jpg",
            "sentences": [{"tokens": text.split(), "raw": text, "sent": text} for text in sentences],
            "anns": annotations,
        }


def _category(thing: SceneObject) -> int:
    return THINGS.index(thing.kind) + 1


def _number(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give references and sentences their running numbers within a split."""
    sent_id = 0
    for ref_id, entry in enumerate(entries):
        sentences = []
        for sentence in entry["sentences"]:
            sentences.append({**sentence, "sent_id": sent_id})
            sent_id += 1
        ids = [sentence["sent_id"] for sentence in sentences]
        yield {**entry, "ref_id": ref_id, "sent_ids": ids, "sentences": sentences}


def _detect(scene: Scene, rng: np.random.Generator) -> list[list[float]]:
    """A detector's boxes: most things with shifted sides, some twice, and a few boxes of nothing."""
    height, width = scene.size_hw
    boxes = []
    for item in scene.objects:
        if item.role != "thing" or rng.random() < 0.04:
            continue
        for _ in range(1 + int(rng.random() < 0.2)):
            x, y, wide, tall = item.box_xywh
            left, right = np.clip((x, x + wide) + rng.normal(0, 0.05, 2) * wide, 0, width)
            top, bottom = np.clip((y, y + tall) + rng.normal(0, 0.05, 2) * tall, 0, height)
            boxes.append((left, top, right - left, bottom - top))
    for _ in range(int(rng.integers(0, 3))):
        wide, tall = rng.uniform(0.1, 0.4, 2) * (width, height)
        boxes.append((rng.uniform(0, width - wide), rng.uniform(0, height - tall), wide, tall))
    return [[round(float(value), 2) for value in boxes[number]] for number in rng.permutation(len(boxes))]


def write_reason_seg(out: Path, scenes: Iterable[Scene]) -> None:
    """ReasonSeg's layout: one question a picture, its polygons, and the interpreted query beside it."""
    root = out / "reason_seg"
    for number, scene in enumerate(scenes):
        stem = f"scene_{number:06d}"
        rng = np.random.default_rng((scene.seed, 7))
        asked = questions(scene, rng)
        several = [question for question in asked if len(question.targets) > 1]
        question = (several or asked)[0] if rng.random() < 0.6 else asked[0]
        query = {"text": [question.text], "is_sentence": question.is_sentence}
        write_picture(root / "test" / f"{stem}.jpg", scene.image)
        write_json(root / "test" / f"{stem}.json", {**query, "shapes": _shapes(scene, question, f"{stem}.jpg")})
        interpreted = root / "interpreted_llava_v15_7b" / "test" / f"{stem}.json"
        write_json(interpreted, {"answers": [question.answer], **query})


def _shapes(scene: Scene, question: Question, image_name: str) -> list[dict[str, Any]]:
    """Target polygons, the smallest target as "ignore" where it is much smaller than the rest, and a flag."""
    areas = [scene.objects[index].area for index in question.targets]
    doubtful = question.targets[int(np.argmin(areas))] if 3 * min(areas) < max(areas) else None
    height, width = scene.size_hw
    shapes = [("flag", [[0, 0], [width // 8, 0], [0, height // 8]])]
    for index in question.targets:
        label = "ignore" if index == doubtful else "target"
        shapes += [(label, polygon) for polygon in trace(scene.objects[index].mask)]
    return [
        {"label": label, "labels": [label], "shape_type": "polygon", "image_name": image_name,
         "points": points, "group_id": None, "group_ids": [None], "flags": {}}
        for label, points in shapes
    ]  # fmt: skip


FORMATS: dict[str, Callable[[Path, Iterable[Scene]], None]] = {
    "png": write_png,
    "voc": write_voc,
    "refcoco": write_refcoco,
    "reason_seg": write_reason_seg,
}
