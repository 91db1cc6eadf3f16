"""Every config on a tiny folder in the data set's real layout; how pictures and label maps are read; bad data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from eval.semantic.config import (
    build_dataset,
    check_examples,
    config_name,
    data_root,
    example_keys,
    missing_parts,
    read_config,
    render_missing,
)
from eval.semantic.model import ROOT, TextRegionSegmentor, read_words
from textregion import SegmenterOptions, TextRegionSegmenter, UserError

SIZE_WH = (6, 4)


@dataclass(frozen=True)
class Layout:
    """Where a data set's files are, the labels written there, and what must be read from them."""

    root: str
    picture: str
    label: str
    classes: int
    queries: int
    raw: tuple[int, ...]
    read: tuple[int, ...]
    options: dict[str, Any]
    split: str | None = None
    names: tuple[str, str] = ("2007_000033", "2007_000042")
    dtype: Any = np.uint8
    some_classes: dict[int, str] = field(default_factory=dict)


VOC = ("VOCdevkit/VOC2012", "JPEGImages/{}.jpg", "SegmentationClass/{}.png")
CONTEXT = ("VOCdevkit/VOC2010", "JPEGImages/{}.jpg", "SegmentationClassContext/{}.png")
VOC_SPLIT = "ImageSets/Segmentation/val.txt"
CONTEXT_SPLIT = "ImageSets/SegmentationContext/val.txt"
NUMBERS = ("000000000139", "000000000285")
WIDE: dict[str, Any] = {"scale": (2016, 672)}
FULL: dict[str, Any] = {"scale": (2048, 448)}
LAYOUTS = {
    "voc21": Layout(*VOC, 21, 46, (0, 1, 20, 255), (0, 1, 20, 255), {"scale": (1008, 672), "prob_thd": 0.4}, VOC_SPLIT),
    "voc20": Layout(*VOC, 20, 20, (0, 1, 20, 255), (255, 0, 19, 255), WIDE, VOC_SPLIT, some_classes={3: "boat"}),
    "context60": Layout(*CONTEXT, 60, 60, (0, 1, 59), (0, 1, 59), {**WIDE, "prob_thd": 0.35}, CONTEXT_SPLIT),
    "context59": Layout(*CONTEXT, 59, 59, (0, 1, 59), (255, 0, 58), WIDE, CONTEXT_SPLIT),
    "coco_object": Layout(
        "coco_object",
        "images/val2017/{}.jpg",
        "annotations/val2017/{}_instanceTrainIds.png",
        81,
        97,
        (0, 1, 80),
        (0, 1, 80),
        {**WIDE, "prob_thd": 0.5},
        names=NUMBERS,
        some_classes={0: "background", 1: "person", 80: "toothbrush"},
    ),
    "coco_stuff164k": Layout(
        "coco_stuff164k",
        "images/val2017/{}.jpg",
        "annotations/val2017/{}_labelTrainIds.png",
        171,
        171,
        (0, 170, 255),
        (0, 170, 255),
        {"scale": (1334, 896)},
        names=NUMBERS,
    ),
    "city_scapes": Layout(
        "cityscapes",
        "leftImg8bit/val/{}_leftImg8bit.png",
        "gtFine/val/{}_gtFine_labelTrainIds.png",
        19,
        19,
        (0, 18, 255),
        (0, 18, 255),
        {"scale": (2688, 1344), "points_per_side": 36, "global_views": 2},
        names=("frankfurt/frankfurt_000000_000294", "lindau/lindau_000000_000019"),
    ),
    "ade20k": Layout(
        "ade/ADEChallengeData2016",
        "images/validation/{}.jpg",
        "annotations/validation/{}.png",
        150,
        150,
        (0, 1, 150),
        (255, 0, 149),
        WIDE,
        names=("ADE_val_00000001", "ADE_val_00000002"),
    ),
    "ade20k847": Layout(
        "ADE20K_2021_17_01",
        "images_detectron2/validation/{}.jpg",
        "annotations_detectron2/validation/{}.tif",
        847,
        847,
        (0, 255, 846, 65535),
        (0, 255, 846, 65535),
        FULL,
        names=("ADE_val_00000001", "ADE_val_00000002"),
        dtype=np.uint16,
        some_classes={255: "pier", 300: "altar, communion table, lord's table"},
    ),
    "context459": Layout(
        "VOCdevkit/VOC2010",
        "JPEGImages/{}.jpg",
        "annotations_detectron2/pc459_val/{}.tif",
        459,
        459,
        (0, 255, 458, 65535),
        (0, 255, 458, 65535),
        FULL,
        CONTEXT_SPLIT,
        dtype=np.uint16,
        some_classes={2: "airconditioner", 255: "monkey", 430: "unknown"},
    ),
    "scenes": Layout(
        "scenes", *VOC[1:], 19, 24, (0, 1, 18), (0, 1, 18), {}, VOC_SPLIT, some_classes={0: "background", 18: "kite"}
    ),
}


def write(path: Path, pixels: np.ndarray, **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **settings)
    return path


def make_dataset(root: Path, layout: Layout) -> None:
    """Two pictures; the raw labels stand in the first row of each label map, the last of them fills it."""
    width, height = SIZE_WH
    folder = root / layout.root
    for name in layout.names:
        labels = np.full((height, width), layout.raw[-1], dtype=layout.dtype)
        labels[0, : len(layout.raw)] = layout.raw
        write(folder / layout.picture.format(name), np.full((height, width, 3), 128, np.uint8))
        write(folder / layout.label.format(name), labels)
    if layout.split is not None:
        (folder / layout.split).parent.mkdir(parents=True, exist_ok=True)
        (folder / layout.split).write_text("".join(f"{name}\n" for name in layout.names))


def config_of(name: str, root: Path) -> Config:
    return read_config(f"configs/cfg_ds/cfg_{name}.py", root)


def test_every_config_is_covered() -> None:
    files = (ROOT / "configs/cfg_ds").glob("cfg_*.py")
    assert {config_name(file) for file in files} == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_config_builds_its_data_set_and_model(
    name: str, tmp_path: Path, segmenters: dict[str, TextRegionSegmenter]
) -> None:
    layout = LAYOUTS[name]
    make_dataset(tmp_path, layout)
    config = config_of(name, tmp_path)
    dataset = build_dataset(config)
    check_examples(dataset)

    suffix = Path(layout.picture).suffix
    assert [Path(path).name.removesuffix(suffix) for path in example_keys(dataset)] == [
        Path(layout.picture.format(each)).name.removesuffix(suffix) for each in layout.names
    ]
    assert len(dataset.metainfo["classes"]) == len(dataset.metainfo["palette"]) == layout.classes
    for index, expected in layout.some_classes.items():
        assert dataset.metainfo["classes"][index] == expected
    example = dataset[0]
    truth = example["data_samples"].gt_sem_seg.data[0]
    assert truth[0, : len(layout.read)].tolist() == list(layout.read)
    assert tuple(example["inputs"].shape) == (3, *SIZE_WH[::-1])

    model = MODELS.build({**config.model, "segmenter": segmenters["clip"]})
    assert isinstance(model, TextRegionSegmentor)
    assert len(model.words.words) == layout.queries
    options = SegmenterOptions.for_task("semantic", **config.model.options)
    assert options == SegmenterOptions.for_task("semantic", **layout.options)
    ignored = 65535 if layout.dtype is np.uint16 else 255
    assert dataset.ignore_index == config.test_evaluator.get("ignore_index", 255) == ignored


def test_limit_takes_the_first(tmp_path: Path) -> None:
    make_dataset(tmp_path, LAYOUTS["voc21"])
    (key,) = example_keys(build_dataset(config_of("voc21", tmp_path), limit=1)).values()
    assert key.startswith("2007_000033.jpg/")


def test_scenes_are_rendered_once(tmp_path: Path) -> None:
    config = config_of("scenes", tmp_path)
    config.rendered.update(count=2, size_hw=(48, 64))
    render_missing(config)
    folder = tmp_path / "scenes"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    render_missing(config)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    check_examples(build_dataset(config))


def test_data_root_comes_from_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEXTREGION_DATA", raising=False)
    assert data_root(None) == ROOT / "eval" / "datasets"
    monkeypatch.setenv("TEXTREGION_DATA", "/elsewhere")
    assert data_root(None) == Path("/elsewhere")
    assert data_root("/given") == Path("/given")
    assert config_of("voc21", Path("/given")).test_dataloader.dataset.data_root == "/given/VOCdevkit/VOC2012"


def _label(folder: Path) -> Path:
    return folder / "VOCdevkit/VOC2012/SegmentationClass/2007_000042.png"


def _other(folder: Path, ending: str) -> Path:
    return folder / f"VOCdevkit/VOC2012/JPEGImages/2007_000042{ending}"


def _split(folder: Path) -> Path:
    return folder / "VOCdevkit/VOC2012" / VOC_SPLIT


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no picture": (
        lambda folder: _split(folder).write_text("2007_000033\n\nnowhere\n"),
        f"nowhere.jpg' does not exist: put it there, or remove line 3 of '{{}}/{VOC_SPLIT}'.",
    ),
    "no label map": (
        lambda folder: _label(folder).unlink(),
        "2007_000042.png' does not exist: put it there (process_dataset.sh converts those of the published data sets), "
        f"or remove line 2 of '{{}}/{VOC_SPLIT}'.",
    ),
    "two pictures": (
        lambda folder: (
            (folder / "VOCdevkit/VOC2012/JPEGImages/2007_000042.jpg").rename(_other(folder, ".png")),
            _other(folder, ".PNG").touch(),
        ),
        "2007_000042.PNG' or ",
    ),
    "wrong size": (lambda folder: write(_label(folder), np.zeros((4, 7), np.uint8)), "has 7 x 4 pixels"),
    "turned size": (lambda folder: write(_label(folder), np.zeros((6, 4), np.uint8)), "has 4 x 6 pixels"),
    "unknown label": (lambda folder: write(_label(folder), np.full((4, 6), 21, np.uint8)), "24 pixels with label 21"),
    "colours": (lambda folder: write(_label(folder), np.zeros((4, 6, 3), np.uint8)), "mode RGB"),
    "no image": (lambda folder: _label(folder).write_text("labels"), "not an image"),
    "torn": (lambda folder: _label(folder).write_bytes(_label(folder).read_bytes()[:50]), "2007_000042.png'"),
    "twice": (lambda folder: _split(folder).write_text("2007_000033\n" * 2), "'2007_000033.jpg' more than once"),
    "empty list": (lambda folder: _split(folder).write_text("\n \n"), f"has no pictures in '{{}}/{VOC_SPLIT}'"),
    "no list": (lambda folder: _split(folder).unlink(), f"{VOC_SPLIT}', which does not exist"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_data_is_named(case: str, tmp_path: Path) -> None:
    make_dataset(tmp_path, LAYOUTS["voc21"])
    damage, message = BROKEN[case]
    damage(tmp_path)
    with pytest.raises(UserError) as caught:
        dataset = build_dataset(config_of("voc21", tmp_path))
        example_keys(dataset)
        check_examples(dataset)
    assert message.replace("{}", str(tmp_path / "VOCdevkit/VOC2012")) in str(caught.value)


def keys_of(config: Config) -> list[str]:
    dataset = build_dataset(config)
    check_examples(dataset)
    return [key.rpartition("/")[0] for key in example_keys(dataset).values()]


@pytest.mark.parametrize(
    "content",
    [
        b"2007_000033\n2007_000042\n",
        b"\xef\xbb\xbf2007_000033\r\n\r\n2007_000042 \r\n\r\n",
        b"2007_000033\r2007_000042",
        "2007_000033\n2007_000042".encode("utf-16"),
        b"2007_000033.jpg\n2007_000042.jpg\n",
    ],
)
def test_lists_as_other_programs_write_them(content: bytes, tmp_path: Path) -> None:
    make_dataset(tmp_path, LAYOUTS["voc21"])
    _split(tmp_path).write_bytes(content)
    assert keys_of(config_of("voc21", tmp_path)) == ["2007_000033.jpg", "2007_000042.jpg"]


@pytest.mark.parametrize("name", ["voc21", "coco_stuff164k", "city_scapes"])
@pytest.mark.parametrize(
    ("picture", "label"), [(".JPG", ".PNG"), (".jpeg", ".png"), (".png", ".tif"), (".webp", ".bmp")]
)
def test_files_of_other_endings_are_found(name: str, picture: str, label: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    make_dataset(tmp_path, layout)
    folder = tmp_path / layout.root
    expected = []
    for stem in layout.names:
        for template, ending in ((layout.picture, picture), (layout.label, label)):
            path = folder / template.format(stem)
            pixels = np.array(Image.open(path))
            path.unlink()
            write(path.with_suffix(ending), pixels)
            (path.parent / f"._{path.name}").write_bytes(b"no picture")
            (path.parent / ".DS_Store").touch()
        expected.append(Path(layout.picture.format(stem)).with_suffix(picture).name)
    assert [Path(key).name for key in keys_of(config_of(name, tmp_path))] == expected


def test_other_pictures_in_a_folder_are_none_of_the_data_set(tmp_path: Path) -> None:
    make_dataset(tmp_path, LAYOUTS["ade20k"])
    images = tmp_path / "ade/ADEChallengeData2016/images/validation"
    before = keys_of(config_of("ade20k", tmp_path))
    write(images / "overview.png", np.zeros((9, 9, 3), np.uint8))
    (images / ".ipynb_checkpoints").mkdir()
    write(images / ".ipynb_checkpoints/ADE_val_00000001.jpg", np.zeros((4, 6, 3), np.uint8))
    (images / "ADE_val_00000001.txt").touch()
    assert keys_of(config_of("ade20k", tmp_path)) == before
    # A third picture in another spelling is one of them, and its label map is missed.
    write(images / "ADE_val_00000003.JPG", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(UserError, match=r"ADE_val_00000003\.png' does not exist.*remove picture '.*00000003\.JPG'"):
        keys_of(config_of("ade20k", tmp_path))


def test_a_picture_is_not_its_own_label_map(tmp_path: Path) -> None:
    make_dataset(tmp_path, LAYOUTS["voc21"])
    config = config_of("voc21", tmp_path)
    config.test_dataloader.dataset.data_prefix.img_path = "SegmentationClass"
    with pytest.raises(UserError, match="is both a picture and its label map"):
        keys_of(config)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    config = config_of("ade20k", tmp_path)
    assert missing_parts(config)[0] == tmp_path / "ade/ADEChallengeData2016"
    with pytest.raises(UserError, match=r"ADEChallengeData2016'.*--data-root"):
        build_dataset(config)


def test_class_count_must_fit(tmp_path: Path) -> None:
    make_dataset(tmp_path, LAYOUTS["voc21"])
    config = config_of("voc21", tmp_path)
    config.model.class_file = "configs/cls_voc20.txt"
    with pytest.raises(UserError, match="names 20 classes, but PascalVOCDataset has 21"):
        build_dataset(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle.class_file": "x"}, "did you mean 'model'"),
        ({"model.clas_file": "x"}, "did you mean 'class_file'"),
        ({"test_dataloader.batch_size.x": 1}, "'x' is unknown"),
    ],
)
def test_unknown_names_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_config("configs/cfg_ds/cfg_voc21.py", Path("/data"), changes)


def test_known_names_are_changed() -> None:
    changes = {"model.options.mask_type": "hard", "test_dataloader.dataset.ann_file": "other.txt"}
    config = read_config("configs/cfg_ds/cfg_voc21.py", Path("/data"), changes)
    assert config.model.options == {"scale": (1008, 672), "prob_thd": 0.4, "mask_type": "hard"}
    assert config.test_dataloader.dataset.ann_file == "other.txt"


def test_bad_config_files_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "cfg_broken.py"
    broken.write_text("model = dict(")
    for path, message in ((broken, "cannot be read"), (tmp_path / "none.py", "does not exist")):
        with pytest.raises(UserError, match=message):
            read_config(path, tmp_path)
    good = (ROOT / "configs/cfg_ds/cfg_voc21.py").read_text().replace("../", f"{ROOT}/configs/")
    for wrong, message in (
        (good.replace("options=", "option="), "'option': did you mean 'options'"),
        (good.replace("ann_file=", "annfile="), "ann_file"),
        (good.replace('"PascalVOCDataset"', '"NoDataset"'), "NoDataset"),
    ):
        broken.write_text(wrong)
        make_dataset(tmp_path, LAYOUTS["voc21"])
        with pytest.raises(UserError, match=message):
            build_dataset(read_config(broken, tmp_path))
    with pytest.raises(UserError, match="names no data set"):
        read_config("configs/base_config.py", tmp_path)


def test_commas_in_a_class_file_are_said_once_unless_the_config_means_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_dataset(tmp_path, LAYOUTS["ade20k847"])
    build_dataset(config_of("ade20k847", tmp_path))
    assert caplog.messages == []
    make_dataset(tmp_path, LAYOUTS["voc20"])
    lines = (ROOT / "configs/cls_voc20.txt").read_text().replace("ship", "boat, ship", 1)
    (tmp_path / "mine.txt").write_text(lines)
    mine = {"model.class_file": str(tmp_path / "mine.txt")}
    build_dataset(read_config("configs/cfg_ds/cfg_voc20.py", tmp_path, mine))
    assert [message.split(": ")[1] for message in caplog.messages] == [
        "only ';' separates words, so 'boat, ship' in line 4 is one word."
    ]


def test_background_words_belong_to_the_first_class() -> None:
    words = read_words("configs/cls_voc21.txt")
    assert words.class_of == (*[0] * 26, *range(1, 21))


def test_registered_with_mmsegmentation() -> None:
    for name in ("PascalVOC20Dataset", "COCOObjectDataset", "ADE20K847Dataset", "PascalContext459Dataset"):
        assert DATASETS.get(f"mmseg.{name}") is not None
