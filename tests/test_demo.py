"""The demo, from command lines to files, on photographs, with tiny models; and once as the script that users run."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from skimage import data
from torch import nn

import TextRegionSegmenter as demo
from textregion import Encoder, MaskGenerator, RegionTokens, SegmenterOptions, TextRegionSegmenter, cli, visualize
from textregion.image import load_rgb
from textregion.text import TextBank

CHECKOUT = Path(demo.__file__).resolve().parent
WORDS = ["dog", "cat", "a cup of coffee", "sky"]
KINDS = ("global_patches.png", "labels.png", "overlay.png", "regions.json")


@dataclass
class Ended:
    """How a run ended."""

    status: int
    out: str
    errors: list[str]
    """Lines on stderr without the progress bar's."""


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The demo in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: object) -> Ended:
        with pytest.raises(SystemExit) as end:
            cli.run(lambda: demo.main([str(arg) for arg in argv]))
        captured = capsys.readouterr()
        lines = [line for line in captured.err.replace("\r", "\n").splitlines() if line and "pictures:" not in line]
        return Ended(int(str(end.value.code)), captured.out, lines)

    return run


@pytest.fixture(scope="session")
def text_bank(clip_encoder: Encoder) -> TextBank:
    """The words of all these tests, embedded once."""
    return TextBank(clip_encoder)


@pytest.fixture
def tiny(
    monkeypatch: pytest.MonkeyPatch,
    clip_encoder: Encoder,
    sam2_model: nn.Module,
    tiny_options: SegmenterOptions,
    text_bank: TextBank,
) -> Callable[..., TextRegionSegmenter]:
    """The demo's models are the tiny ones."""

    def load(args: Any, task: str, *, extra_options: Any, clock: Any = None) -> TextRegionSegmenter:
        options = tiny_options.replace(crop_size=96).replace(**{**extra_options, **cli.method_options(args)})
        generator = MaskGenerator(sam2_model, options)
        return TextRegionSegmenter(clip_encoder, generator, options, text=text_bank, clock=clock)

    monkeypatch.setattr(cli, "load_segmenter", load)
    return load


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading models fails the test."""

    def load(*args: Any, **settings: Any) -> None:
        raise AssertionError("models were loaded before this was found")

    monkeypatch.setattr(cli, "load_segmenter", load)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs that come with scikit-image, small."""
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.astronaut()[::2, ::2]).save(folder / "astronaut.png")
    Image.fromarray(data.chelsea()[::2, ::2]).save(folder / "cat.jpg")
    Image.fromarray(data.coffee()[::3, ::3]).save(folder / "coffee.jpg")
    (folder / "notes.txt").write_text("no picture")
    return folder


def check_results(folder: Path, stem: str, picture: Path, words: Sequence[str]) -> dict[str, Any]:
    """The files of one picture agree with one another and with the picture; the JSON's content."""
    image = load_rgb(picture)
    size = image.shape[:2]
    content: dict[str, Any] = json.loads((folder / f"{stem}_regions.json").read_text(encoding="utf-8"))
    assert (content["image"], content["size"]) == (str(picture), list(size))
    assert content["background"] == ("background" if len(words) == 1 and words[0] != "background" else "")
    words = [*words, *filter(None, [content["background"]])]
    assert content["words"] == words
    whole = json.loads((folder / demo.COCO_FILE).read_text(encoding="ascii"))
    names = {category["id"]: category["name"] for category in whole["categories"]}
    name = os.fsencode(picture.name).decode("utf-8", "backslashreplace")
    named = {one["id"]: (one["height"], one["width"]) for one in whole["images"] if one["file_name"].endswith(name)}
    assert size in named.values()
    for region in content["regions"]:
        assert region in whole["annotations"]
        mask = coco_mask.decode(region["segmentation"])
        assert mask.shape == size
        assert mask.sum() == region["area"] > 0
        assert coco_mask.toBbox(region["segmentation"]).tolist() == region["bbox"]
        assert names[region["category_id"]] == region["word"] in words
        assert named[region["image_id"]] == size
    with Image.open(folder / f"{stem}_labels.png") as labels:
        assert (labels.mode, labels.size) == ("P", size[::-1])
        found = set(np.unique(np.asarray(labels)).tolist())
        assert found <= {*range(len(words)), *([255] if content["options"]["uncovered"] == "none" else [])}
        palette = np.array(labels.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(palette[: len(words)], visualize.word_colours(words))
    assert 255 not in found or len(words) == 256 or palette[255].tolist() == [255, 255, 255]
    with Image.open(folder / f"{stem}_overlay.png") as overlay:
        assert overlay.mode == "RGB"
        assert overlay.width >= size[1]
        assert overlay.height >= size[0]
    return content


def test_photographs_become_overlays_label_maps_regions_and_heat_maps(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path
) -> None:
    ended = run(
        "--image_list", photos, "--labels", *WORDS, "--output-dir", "out/deep", "--visualize_global_patch", "True"
    )
    assert (ended.status, ended.errors) == (0, [])
    out = tmp_path / "out" / "deep"
    made = [f"{stem}_{kind}" for stem in ("astronaut", "cat", "coffee") for kind in KINDS]
    assert sorted(os.listdir(out)) == sorted([*made, demo.COCO_FILE])
    summary = ended.out.splitlines()[-1]
    assert summary.startswith("Segmented 3 of 3 pictures into out/deep/ (")
    for stage in ("loading", "reading", "masks", "image tower", "pooling", "text", "scores", "painting", "writing"):
        assert re.search(rf"\b{stage} \d+\.\d s\b", summary)
    found = 0
    for stem, suffix in (("astronaut", "png"), ("cat", "jpg"), ("coffee", "jpg")):
        regions = check_results(out, stem, photos / f"{stem}.{suffix}", WORDS)["regions"]
        assert all(region["area"] > 0 for region in regions)
        found += len(regions)
    assert found > 3
    # The label map is the library's, pixel by pixel.
    segmenter = tiny(demo.build_parser().parse_args([]), "demo", extra_options={"uncovered": "none"})
    expected = segmenter.segment(photos / "cat.jpg", WORDS).labels.numpy()
    np.testing.assert_array_equal(np.asarray(Image.open(out / "cat_labels.png")), expected % 256)
    assert (expected == -1).any()


def label_map(folder: Path, stem: str = "cat") -> np.ndarray:
    with Image.open(folder / f"{stem}_labels.png") as labels:
        return np.asarray(labels)


def test_where_no_region_is_the_label_map_has_no_word(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path
) -> None:
    common = ("--image_list", photos / "cat.jpg", "--labels", *WORDS, "--pred_iou_thresh", 0.8, "--output_dir")
    for folder, given in (("own", ()), ("uniform", ("--uncovered", "uniform")), ("published", ("--published",))):
        assert run(*common, folder, *given).status == 0
        check_results(tmp_path / folder, "cat", photos / "cat.jpg", WORDS)
    own, uniform = label_map(tmp_path / "own"), label_map(tmp_path / "uniform")
    bare = own == 255
    assert 0.01 < bare.mean() < 0.9
    np.testing.assert_array_equal(uniform, np.where(bare, 0, own))
    np.testing.assert_array_equal(label_map(tmp_path / "published"), uniform)
    # There the picture shows through the overlay.
    height, width = own.shape
    overlays = [np.asarray(Image.open(tmp_path / name / "cat_overlay.png")) for name in ("own", "uniform")]
    picture = np.asarray(Image.open(photos / "cat.jpg"))
    as_it_is = [(overlay[:height, :width] == picture).all(2)[bare].mean() for overlay in overlays]
    assert as_it_is[0] > 0.9 > 0.5 > as_it_is[1]
    only = json.loads((tmp_path / "own" / "cat_regions.json").read_text())["regions"]
    covered = np.any([coco_mask.decode(region["segmentation"]) for region in only], axis=0)
    assert (covered == ~bare).mean() > 0.98  # the label map is the resized picture's


def test_a_single_word_is_painted_against_the_background(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path
) -> None:
    common = ("--image_list", photos / "cat.jpg", "--labels", "dog", "--output_dir")
    assert run(*common, "own").status == 0
    content = check_results(tmp_path / "own", "cat", photos / "cat.jpg", ["dog"])
    assert {region["word"] for region in content["regions"]} == {"dog", "background"}
    segmenter = tiny(demo.build_parser().parse_args([]), "demo", extra_options={"uncovered": "none"})
    expected = segmenter.segment(photos / "cat.jpg", ["dog", "background"]).labels.numpy() % 256
    np.testing.assert_array_equal(label_map(tmp_path / "own"), expected)
    assert {0, 1} <= set(np.unique(expected).tolist())
    # Another rival; none, as published; and a word that is the background itself.
    assert run(*common, "other", "--background", "a cup").status == 0
    assert json.loads((tmp_path / "other" / "cat_regions.json").read_text())["words"] == ["dog", "a cup"]
    for folder, given in (("none", ("--background", "")), ("published", ("--published",))):
        assert run(*common, folder, *given).status == 0
        content = json.loads((tmp_path / folder / "cat_regions.json").read_text())
        assert (content["words"], content["background"]) == (["dog"], "")
        assert set(np.unique(label_map(tmp_path / folder)).tolist()) <= {0, 255}
    assert not label_map(tmp_path / "published").any()
    refused = run(*common, "blank", "--background", " ")
    said = "error: --background must be text that is not blank, but is ' ': leave it out."
    assert (refused.status, refused.errors) == (2, [said])
    alone = ("--image_list", photos / "cat.jpg", "--labels", "background", "--output_dir", "itself")
    assert run(*alone).status == 0
    check_results(tmp_path / "itself", "cat", photos / "cat.jpg", ["background"])


def test_options_of_the_method_reach_it(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path
) -> None:
    common = ("--image_list", photos / "cat.jpg", "--labels", *WORDS, "--output_dir")
    assert run(*common, "a", "--no-remove-global-patch", "--points_per_side", 4, "--scale", 128, 96).status == 0
    assert run(*common, "b", "--remove_global_patch", "False", "--output_size", "resized").status == 0
    options = json.loads((tmp_path / "a" / "cat_regions.json").read_text())["options"]
    assert (options["remove_global_patch"], options["points_per_side"], options["scale"]) == (False, 4, [128, 96])
    with Image.open(tmp_path / "b" / "cat_labels.png") as labels:
        assert labels.size == (313, 208)  # 226 x 150 fitted into 320 x 208


def test_an_overlay_has_the_style_and_stripes_that_are_asked_for(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path
) -> None:
    picture = load_rgb(photos / "cat.jpg")

    def changed(*options: object) -> float:
        common = ("--image_list", photos / "cat.jpg", "--labels", *WORDS, "--output_dir", "out")
        assert run(*common, *options).status == 0
        with Image.open(tmp_path / "out" / "cat_overlay.png") as overlay:
            return float((np.asarray(overlay)[:150, :226] != picture).any(2).mean())

    assert (
        changed("--overlay", "outline", "--unsure-below", 0) < 0.5 < changed("--overlay", "fill", "--unsure-below", 0)
    )
    assert 0.3 < changed("--overlay", "fill", "--unsure_below", 1) < 0.8
    assert run("--overlay", "stripes").status == 2


def test_words_of_the_yaml_go_before_those_of_the_command_line(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path
) -> None:
    config = photos / "words.yaml"
    config.write_text("cat.jpg:\n  label: [whiskers, 'собака', whiskers]\n", encoding="utf-8")
    try:
        ended = run("--image_query_cfg", config)
        assert ended.status == 0
        out = tmp_path / "outputs" / "demo"
        assert sorted(os.listdir(out)) == ["cat_labels.png", "cat_overlay.png", "cat_regions.json", "coco.json"]
        check_results(out, "cat", photos / "cat.jpg", ["whiskers", "собака"])
        listed = (photos / "c*.jpg", photos / "cat.jpg")
        assert run("--image_query_cfg", config, "--image_list", *listed, "--labels", "cup").status == 0
        check_results(out, "cat", photos / "cat.jpg", ["whiskers", "собака"])
        check_results(out, "coffee", photos / "coffee.jpg", ["cup"])
        assert len(os.listdir(out)) == 7  # the cat was named twice and done once
    finally:
        config.unlink()


@pytest.mark.parametrize(
    ("labels", "words", "warned"),
    [
        (["sky, grass,car"], ("sky", "grass", "car"), "--labels 'sky, grass,car' is taken as 3 words"),
        (["sky,", "grass,", "a car"], ("sky", "grass", "a car"), None),
        (["sky;grass ; ", "sky"], ("sky", "grass"), None),
        (["sky;; a car, red"], ("sky", "a car", "red"), None),
        (["天空，草地"], ("天空", "草地"), "--labels '天空，草地' is taken as 2 words"),
        (["a man, in red", "dog "], ("a man", "in red", "dog "), "a name with a comma goes into the YAML"),
    ],
)
def test_commas_and_semicolons_separate_the_words_of_the_command_line(
    labels: list[str], words: tuple[str, ...], warned: str | None, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    argv = ["--image_list", str(photos / "cat.jpg"), "--labels", *labels]
    (job,) = demo.plan_jobs(demo.build_parser().parse_args(argv))
    assert job.words == words
    assert [warned is not None and warned in message for message in caplog.messages] == ([True] if warned else [])


def test_words_of_the_yaml_are_separated_by_semicolons_and_may_hold_commas(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cat.jpg").write_bytes((photos / "cat.jpg").read_bytes())
    config = tmp_path / "words.yaml"
    config.write_text("cat.jpg:\n  label: [sky;  grass, 'building, edifice', sky ;]\n")
    (job,) = demo.plan_jobs(demo.build_parser().parse_args(["--image_query_cfg", str(config)]))
    assert job.words == ("sky", "grass", "building, edifice")
    (message,) = caplog.messages
    assert message.startswith("The words of picture 'cat.jpg' in ")
    assert message.endswith(" hold 'building, edifice', which is one word: write [dog, grass] for two.")


def test_pictures_of_one_stem_do_not_overwrite_each_other(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path
) -> None:
    pictures = [tmp_path / "a" / "cat.png", tmp_path / "b" / "cat.png", tmp_path / "b" / "Cat.webp"]
    for number, picture in enumerate(pictures):
        picture.parent.mkdir(exist_ok=True)
        Image.open(photos / "cat.jpg").resize((60 + number, 40)).save(picture)
    assert run("--image_list", *pictures, "--labels", "dog", "--output_dir", "out").status == 0
    for stem, picture in zip(("cat", "cat_2", "Cat_3"), pictures):
        check_results(tmp_path / "out", stem, picture, ["dog"])
    images = json.loads((tmp_path / "out" / demo.COCO_FILE).read_text())["images"]
    assert [(one["id"], one["file_name"]) for one in images] == [(1, "a/cat.png"), (2, "b/cat.png"), (3, "b/Cat.webp")]


def save_kind(kind: str, path: Path) -> Path:
    """A picture of 90 x 60 pixels (60 x 90 for the rotated one) in an unusual form."""
    rgb = Image.fromarray(data.astronaut()[:60, 200:290].copy())
    if kind == "16-bit":
        Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257).save(path.with_suffix(".png"))
        return path.with_suffix(".png")
    if kind == "EXIF":
        exif = Image.Exif()
        exif[0x0112] = 6
        rgb.save(path.with_suffix(".jpg"), exif=exif)
        return path.with_suffix(".jpg")
    if kind == "CMYK":
        rgb.convert("CMYK").save(path.with_suffix(".tif"))
        return path.with_suffix(".tif")
    sizes = {"1 high": (90, 1), "1 wide": (1, 90), "1 x 1": (1, 1)}
    mode = kind if kind in ("L", "P", "RGBA", "LA", "1") else "RGB"
    rgb.resize(sizes.get(kind, rgb.size)).convert(mode).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def test_pictures_of_every_kind_simply_work(run: Run, tiny: Callable[..., TextRegionSegmenter], tmp_path: Path) -> None:
    kinds = ["L", "P", "RGBA", "LA", "1", "16-bit", "CMYK", "EXIF", "1 high", "1 wide", "1 x 1"]
    pictures = {kind: save_kind(kind, tmp_path / kind.replace(" ", "_")) for kind in kinds}
    quick = ("--scale", 96, 64, "--points_per_side", 4)
    ended = run("--image_list", *pictures.values(), "--labels", "dog", "sky", "--output_dir", "out", *quick)
    assert (ended.status, ended.errors) == (0, [])
    for picture in pictures.values():
        check_results(tmp_path / "out", picture.stem, picture, ["dog", "sky"])
    assert Image.open(tmp_path / "out" / "EXIF_labels.png").size == (60, 90)
    assert Image.open(tmp_path / "out" / "1_high_labels.png").size == (90, 1)


def bad_files(folder: Path, photos: Path) -> None:
    """Files that the table below names."""
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    (folder / "cut.jpg").write_bytes((photos / "cat.jpg").read_bytes()[:900])
    (folder / "cut.png").write_bytes((photos / "astronaut.png").read_bytes()[:3000])
    (folder / "no_pictures").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "in_place").write_text("a file")
    yamls: dict[str, Any] = {
        "no_label": {"cat.jpg": {"labels": ["dog"]}},
        "bare_list": {"cat.jpg": ["dog"]},
        "empty_list": {"cat.jpg": {"label": []}},
        "separators": {"cat.jpg": {"label": [" ; "]}},
        "null": {"cat.jpg": {"label": None}},
        "string": {"cat.jpg": {"label": "dog"}},
        "number": {"cat.jpg": {"label": ["dog", 7]}},
        "blank": {"cat.jpg": {"label": ["dog", " "]}},
        "sequence": ["cat.jpg"],
        "key": {3: {"label": ["dog"]}},
        "many": {"cat.jpg": {"label": [f"word {number}" for number in range(257)]}},
    }
    for name, content in yamls.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    (folder / "nothing.yaml").touch()
    (folder / "tag.yaml").write_text("cat.jpg: !!python/object/apply:os.mkdir [made]\n")
    (folder / "broken.yaml").write_text("cat.jpg: [")


CAT = "--image_list cat.jpg --labels dog"
BAD = [
    ("--image_list nowhere.jpg --labels dog", "Picture 'nowhere.jpg' does not exist"),
    ("--image_list nowhere.jpg", "Picture 'nowhere.jpg' does not exist"),
    ("--image_list empty.png --labels dog", "Picture 'empty.png' is an empty file"),
    ("--image_list text.png --labels dog", "Picture 'text.png' is not an image"),
    ("--image_list cut.jpg --labels dog", "Picture 'cut.jpg' is damaged"),
    ("--image_list cut.png --labels dog", "Picture 'cut.png' is damaged"),
    ("--image_list loop.png --labels dog", "Picture 'loop.png' is no file"),
    (f"--image_list {'a' * 5000}.png --labels dog", "does not exist"),
    ("--image_list no_pictures --labels dog", "no pictures in 'no_pictures'"),
    ("--image_list *.bmp --labels dog", "no pictures in '*.bmp'"),
    ("--image_list cat.jpg", "no words for picture 'cat.jpg': give --labels"),
    ("--image_list cat.jpg --labels , ;;", "list of words of --labels is empty: name at least one"),
    ("--image_query_cfg separators.yaml", "list of words of picture 'cat.jpg' in 'separators.yaml' is empty"),
    ("--labels dog", "name them with --image_list"),
    ("--image_query_cfg nowhere.yaml", "'nowhere.yaml' does not exist: check --image_query_cfg"),
    ("--image_query_cfg no_pictures", "'no_pictures' is a folder where a file is wanted: check --image_query_cfg"),
    ("--image_query_cfg no_label.yaml", "no 'label:' under picture 'cat.jpg'"),
    ("--image_query_cfg bare_list.yaml", "no 'label:' under picture 'cat.jpg'"),
    ("--image_query_cfg empty_list.yaml", "list of words of picture 'cat.jpg' in 'empty_list.yaml' is empty"),
    ("--image_query_cfg null.yaml", "must be a list, but are nothing"),
    ("--image_query_cfg string.yaml", "must be a list, but are 'dog' (str)"),
    ("--image_query_cfg number.yaml", "but there is 7"),
    ("--image_query_cfg blank.yaml", "but there is ' '"),
    ("--image_query_cfg sequence.yaml", "must map image paths to 'label:' lists, but holds ['cat.jpg'] (list)"),
    ("--image_query_cfg key.yaml", "but has the key 3"),
    ("--image_query_cfg many.yaml", "257 words for picture 'cat.jpg' in 'many.yaml': give at most 255"),
    ("--image_query_cfg many.yaml --published", "257 words for picture 'cat.jpg' in 'many.yaml': give at most 256"),
    ("--image_query_cfg nothing.yaml", "but holds nothing"),
    ("--image_query_cfg tag.yaml", "'tag.yaml' is not a plain YAML file"),
    ("--image_query_cfg broken.yaml", "'broken.yaml' is not a plain YAML file"),
    (
        f"{CAT} --output_dir in_place",
        "Output folder 'in_place' cannot be written ('in_place' is a file where",
    ),
    (
        f"{CAT} --output_dir in_place/below",
        "'in_place/below' cannot be written ('in_place' is a file where",
    ),
    (f"{CAT} --output_dir {'a' * 5000}", "cannot be written (File name too long): choose a shorter name"),
    (f"{CAT} --pred_iou_thresh 3", "'pred_iou_thresh' must be a number from 0 to 1"),
    (f"{CAT} --clip_architecture ViT-Z", "Unknown architecture 'ViT-Z'"),
    (f"{CAT} --clip_architecture ViT-B/16 --clip_pretrained mine", "'mine' are neither a file nor a tag"),
    (f"{CAT} --sam2_checkpoint nowhere.pt", "'nowhere.pt' is neither a file nor a hub id"),
    (f"{CAT} --device abacus", "Unknown device 'abacus'"),
    (f"{CAT} --no-remove_global_patch --visualize_global_patch", "--visualize_global_patch shows"),
    (f"{CAT} --unsure_below 5", "--unsure_below is a confidence from 0 to 1, but 5.0 was given"),
    (f"{CAT} --unsure_below nan", "--unsure_below is a confidence from 0 to 1"),
    (f"{CAT} --output_dri x", "unknown option '--output_dri': did you mean '--output_dir'?"),
    ("--image_list cat.jpg cat_overlay.png --labels dog --output_dir .", "would overwrite the picture"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_bad_input_is_one_sentence_before_models_are_loaded(
    run: Run, no_models: None, photos: Path, tmp_path: Path, line: str, message: str
) -> None:
    bad_files(tmp_path, photos)
    for name in ("cat.jpg", "cat_overlay.png"):
        (tmp_path / name).write_bytes((photos / "cat.jpg").read_bytes())
    before = sorted(tmp_path.rglob("*"))
    ended = run(*line.split())
    assert ended.status == 2
    assert len(ended.errors) == 1
    assert ended.errors[0].startswith("error: ")
    assert message in ended.errors[0]
    assert ended.errors[0].split(" (see --help)")[0].endswith((".", "'", "?"))
    assert ended.out == ""
    assert sorted(tmp_path.rglob("*")) == before  # nothing is left, not even an empty folder


def test_a_checkpoint_that_does_not_fit_is_one_sentence(run: Run, photos: Path, tmp_path: Path) -> None:
    weights = CHECKOUT / "tests" / "parity" / "weights"
    ended = run(
        *("--image_list", photos / "cat.jpg", "--labels", "dog", "--clip_architecture", "ViT-B/32"),
        *(
            "--clip_pretrained",
            weights / "clip_tiny.safetensors",
            "--sam2_checkpoint",
            weights / "clip_tiny.safetensors",
        ),
        *("--model_cfg", weights / "sam2_tiny.yaml"),
    )
    assert (ended.status, ended.out) == (2, "")
    assert len(ended.errors) == 1
    assert "is an image-text model in the naming of open_clip: give it as --clip_pretrained" in ended.errors[0]
    assert list(tmp_path.iterdir()) == []


def test_one_bad_picture_does_not_stop_the_others(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path
) -> None:
    bad_files(tmp_path, photos)
    listed = ("cut.jpg", photos / "cat.jpg", "nowhere.png", "empty.png", photos / "coffee.jpg")
    ended = run("--image_list", *listed, "--labels", *WORDS, "--output_dir", "out")
    assert ended.status == 2
    assert [line.split("'")[1] for line in ended.errors] == ["cut.jpg", "nowhere.png", "empty.png"]
    assert ended.out.splitlines()[-1].startswith("Segmented 2 of 5 pictures into out/ (")
    assert ended.out.splitlines()[-1].endswith("; failed: cut.jpg, nowhere.png, empty.png")
    made = [f"{stem}_{kind}" for stem in ("cat", "coffee") for kind in KINDS[1:]]
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*made, demo.COCO_FILE])
    content = json.loads((tmp_path / "out" / demo.COCO_FILE).read_text())
    assert [image["id"] for image in content["images"]] == [2, 5]  # the places of those that were not bad
    found = [region["id"] for region in content["annotations"]]
    assert found == list(range(1, len(found) + 1))
    for stem, picture in (("cat", photos / "cat.jpg"), ("coffee", photos / "coffee.jpg")):
        check_results(tmp_path / "out", stem, picture, WORDS)


def test_a_picture_whose_results_cannot_be_written_leaves_none(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "cat_regions.json").mkdir(parents=True)  # a folder where a file should go
    ended = run("--image_list", photos / "cat.jpg", "--labels", "dog", "--output_dir", "out")
    assert ended.status == 2
    assert "cannot be written (it is a folder where a file is wanted): move it away" in ended.errors[0]
    assert os.listdir(tmp_path / "out") == ["cat_regions.json"]


def test_an_interrupted_run_leaves_a_coco_file_of_what_was_finished(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def interrupt(picture: Image.Image, title: str) -> None:
        shown.append(title)
        if len(shown) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(visualize, "show", interrupt)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / demo.COCO_FILE).write_text("of an earlier run")
    argv = ["--image_list", str(photos), "--labels", "dog", "--output_dir", "out", "--show"]
    with pytest.raises(KeyboardInterrupt):
        demo.main(argv)
    content = json.loads((tmp_path / "out" / demo.COCO_FILE).read_text())
    assert [image["file_name"] for image in content["images"]] == ["astronaut.png", "cat.jpg"]
    assert {region["image_id"] for region in content["annotations"]} == {1, 2}


def test_an_earlier_runs_coco_file_does_not_outlive_a_run_that_is_killed(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / demo.COCO_FILE).write_text("of an earlier run")
    monkeypatch.setattr(TextRegionSegmenter, "encode", lambda *args: (_ for _ in ()).throw(RuntimeError("killed")))
    with pytest.raises(RuntimeError, match="killed"):
        demo.main(["--image_list", str(photos), "--labels", "dog", "--output_dir", "out"])
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []


def test_a_coco_file_that_cannot_be_written_is_one_sentence(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / demo.COCO_FILE).mkdir(parents=True)
    ended = run("--image_list", photos / "cat.jpg", "--labels", "dog", "--output_dir", "out")
    assert ended.status == 2
    assert ended.errors[0].startswith(f"error: Result 'out/{demo.COCO_FILE}' cannot be written (it is a folder")


def test_a_folder_that_may_not_be_read_is_one_sentence(
    run: Run, no_models: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    ended = run("--image_list", tmp_path, "--labels", "dog")
    said = f"error: Folder {str(tmp_path)!r} cannot be read (Permission denied): check --image_list."
    assert (ended.status, ended.errors) == (2, [said])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        cv2.error("Failed to allocate 9 bytes in function 'OutOfMemoryError'"),
    ],
)
def test_a_picture_that_is_too_large_for_the_memory_does_not_stop_the_others(
    run: Run,
    tiny: Callable[..., TextRegionSegmenter],
    photos: Path,
    tmp_path: Path,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode = TextRegionSegmenter.encode

    def fail_on_the_cat(segmenter: TextRegionSegmenter, picture: np.ndarray) -> RegionTokens:
        if picture.shape == load_rgb(photos / "cat.jpg").shape:
            raise error
        return encode(segmenter, picture)

    monkeypatch.setattr(TextRegionSegmenter, "encode", fail_on_the_cat)
    listed = (photos / "cat.jpg", photos / "coffee.jpg")
    ended = run("--image_list", *listed, "--labels", "dog", "--output_dir", "out")
    assert ended.status == 2
    assert len(ended.errors) == 1
    assert f"not enough memory for picture {str(photos / 'cat.jpg')!r}" in ended.errors[0]
    assert sorted(os.listdir(tmp_path / "out")) == [demo.COCO_FILE, *(f"coffee_{kind}" for kind in KINDS[1:])]


def test_a_fault_of_ours_is_not_taken_for_a_lack_of_memory(
    run: Run, tiny: Callable[..., TextRegionSegmenter], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(TextRegionSegmenter, "encode", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        demo.main(["--image_list", str(photos / "cat.jpg"), "--labels", "dog"])


def test_a_line_of_the_summary_holds_names_of_every_kind(run: Run, no_models: None, tmp_path: Path) -> None:
    names = ("two\nlines.png", "a  b.png", "\x1bred.png", "bytes\udcff.png")
    ended = run("--image_list", *names, "--labels", "dog")
    assert ended.status == 2
    assert ended.out == "Segmented 0 of 4 pictures; failed: " + ", ".join(
        ["'two\\nlines.png'", "a  b.png", "'\\x1bred.png'", "'bytes\\udcff.png'\n"]
    )
    assert [line.split(" does not exist")[0] for line in ended.errors] == [f"error: Picture {name!r}" for name in names]


def test_the_demos_own_pictures_and_words() -> None:
    jobs = demo.plan_jobs(demo.build_parser().parse_args([]))
    assert len(jobs) >= 3
    sizes = [load_rgb(job.picture).shape[:2] for job in jobs]
    assert any(height > width for height, width in sizes)
    assert any(width >= 2 * height for height, width in sizes)
    assert all(job.picture.resolve().is_relative_to(CHECKOUT / "assets") for job in jobs)


def test_the_bundled_miniatures_on_the_bundled_pictures(run: Run, tmp_path: Path) -> None:
    ended = run("--output_dir", "out", "--device", "cpu")
    assert (ended.status, ended.errors) == (0, [])
    first, last = ended.out.splitlines()
    assert "--clip_pretrained openai --sam2_checkpoint facebook/sam2.1-hiera-large" in first
    jobs = demo.plan_jobs(demo.build_parser().parse_args([]))
    assert last.startswith(f"Segmented {len(jobs)} of {len(jobs)} pictures into out/ (")
    right = total = 0
    for job in jobs:
        content = json.loads((tmp_path / "out" / f"{job.prefix.name}_regions.json").read_text())
        words = {region["word"] for region in content["regions"]}
        check_results(tmp_path / "out", job.prefix.name, Path(content["image"]), job.words)
        right, total = right + len(words & {"sky", "grass", "water"}), total + len(words)
    assert right >= len(jobs)  # every picture has one of these large grounds
    assert total > right


def test_the_script_ends_with_one_line_and_status_2(tmp_path: Path) -> None:
    command = [sys.executable, str(CHECKOUT / "TextRegionSegmenter.py"), "--image_list", "nowhere.png"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: Picture 'nowhere.png' does not exist: give the path of an image file.\n"
    assert list(tmp_path.iterdir()) == []
