"""The scripts' common command line: spellings, switches, what is refused, and how a run ends."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import open_clip
import pytest
import torch

from textregion import SegmenterOptions, UserError, cli
from textregion.encoders.published import model_size
from textregion.weights.pairs import PAIRS
from textregion.weights.sam2 import find_sam2


@pytest.fixture
def parser() -> cli.Parser:
    parser = cli.Parser(prog="script")
    cli.add_model_options(parser)
    cli.add_method_options(parser)
    parser.add_argument("--data-root")
    parser.add_argument("--image_list", nargs="+")
    parser.add_argument("files", nargs="*")
    cli.add_boolean(parser, "--show", False, "show it")
    return parser


def ended(call: Callable[[], object]) -> int:
    """Exit status with which a call ends the process."""
    with pytest.raises(SystemExit) as end:
        call()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_underscores_and_dashes_are_one_flag(parser: cli.Parser) -> None:
    args = parser.parse_args(
        ["--data_root=a_b", "--image-list", "x_y.png", "z.png", "--points-per-side", "8", "--clip-pretrained", "t"]
    )
    assert args.data_root == "a_b"  # the value keeps its underscore
    assert args.image_list == ["x_y.png", "z.png"]
    assert (args.points_per_side, args.clip_pretrained) == (8, "t")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--fuse_mask", True),
        ("--fuse-mask True", True),
        ("--fuse_mask=true", True),
        ("--no-fuse_mask", False),
        ("--no_fuse_mask", False),
        ("--fuse-mask False", False),
        ("--fuse-mask=FALSE", False),
        ("--no-fuse-mask False", True),
        ("", None),
    ],
)
def test_a_switch_in_all_its_spellings(parser: cli.Parser, given: str, expected: bool | None) -> None:
    assert parser.parse_args(given.split()).fuse_mask is expected


def test_a_switch_does_not_swallow_the_file_after_it(parser: cli.Parser) -> None:
    args = parser.parse_args(["--show", "True.png", "--", "--fuse_mask"])
    assert args.show is True
    assert args.files == ["True.png", "--fuse_mask"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--points_per_sid 3", "unknown option '--points_per_sid': did you mean '--points_per_side'?"),
        ("--data-rot x", "unknown option '--data-rot': did you mean '--data-root'?"),
        ("--clip", "unknown option '--clip'"),  # no abbreviations
        ("--fuse_mask=perhaps", "either True or False"),
        ("--scale 5", "expected 2 arguments"),
        ("--scale 5 x", "invalid int value: 'x'"),
        ("--mask_type round", "invalid choice: 'round'"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    parser: cli.Parser, given: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(lambda: parser.parse_args(given.split())) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_every_field_of_the_options_has_a_flag_and_only_given_ones_count(parser: cli.Parser) -> None:
    assert cli.method_options(parser.parse_args([])) == {}
    defaults = SegmenterOptions()
    line: list[str] = []
    expected = {}
    for field in dataclasses.fields(defaults):
        value = getattr(defaults, field.name)
        value = 224 if value is None else value
        expected[field.name] = list(value) if isinstance(value, tuple) else value
        line += [f"--{field.name}", *map(str, value if isinstance(value, tuple) else [value])]
    given = cli.method_options(parser.parse_args(line))
    assert given == expected
    assert SegmenterOptions().replace(**given) == defaults.replace(crop_size=224)


def test_skipped_fields_have_no_flag(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.Parser()
    cli.add_method_options(parser, skip=("scale",))
    assert ended(lambda: parser.parse_args(["--scale", "3", "3"])) == 2
    assert "unknown option '--scale'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--pred_iou_thresh 2", "'pred_iou_thresh' must be a number from 0 to 1"),
        ("--scale 0 4", "'scale' must be two positive whole numbers"),
        ("--device abacus", "Unknown device 'abacus'"),
        ("--clip_architecture ViT-Z/9", "Unknown architecture 'ViT-Z/9'"),
        ("--clip_architecture RN50", "image tower that is not supported"),
        ("--clip_architecture ViT-B/16 --clip_pretrained laion9", "neither a file nor a tag of 'ViT-B-16'"),
        ("--clip_pretrained laion9", "add --clip_architecture"),
        ("--sam2_checkpoint nowhere.pt", "neither a file nor a hub id"),
        ("--model_cfg some.yaml", "--sam2_checkpoint"),
        ("--templates nowhere.txt", "'nowhere.txt' are neither imagenet, simple, none nor a file"),
        ("--clip_pretrained openai --model_cfg some.yaml", "SAM 2 config 'some.yaml' is neither"),
    ],
)
def test_wrong_models_and_options_are_found_before_anything_is_loaded(
    parser: cli.Parser, given: str, message: str
) -> None:
    with pytest.raises(UserError) as error:
        cli.check_model_options(parser.parse_args(given.split()), "demo")
    assert message in str(error.value)


def test_options_given_go_over_the_scripts_own(
    parser: cli.Parser, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(cli.TextRegionSegmenter, "from_pretrained", lambda **names: asked.update(names))
    given = ["--scale", "64", "32", "--dtype", "bf16", "--sam2_dtype", "fp32", "--published", "--device", "cpu"]
    args = parser.parse_args(given)
    cli.load_segmenter(args, "referring", extra_options={"min_size": 3, "scale": (9, 9)})
    assert asked["options"] == {"min_size": 3, "scale": [64, 32]}
    assert (asked["task"], asked["dtype"], asked["device"]) == ("referring", "bf16", "cpu")
    assert (asked["sam2_dtype"], asked["published"], asked["templates"]) == ("fp32", True, "imagenet")
    out = capsys.readouterr().out
    assert out.count("\n") == 1  # one line says that these are the miniatures, and how to get real models
    assert "--clip_pretrained openai --sam2_checkpoint facebook/sam2.1-hiera-large" in out
    monkeypatch.setattr(cli.models, "fetch_models", lambda sources, announce: announce(sources.required))
    cli.load_segmenter(parser.parse_args(["--clip_pretrained", "openai"]), "demo")
    assert (asked["dtype"], asked["sam2_dtype"], asked["published"]) == (None, None, False)
    out = capsys.readouterr().out
    assert out.startswith("Downloading about 2.6 GB: open_clip_model.safetensors of timm/") and out.count("\n") == 1


CHOICES: dict[str, tuple[bool, tuple[str | None, str | None, str | None]]] = {
    # line: whether the pictures are rendered, and which models it is
    "": (True, (None, None, None)),
    "--device cpu": (False, ("ViT-B/16", "openai", "facebook/sam2.1-hiera-tiny")),
    "--device meta": (False, ("ViT-L/14@336px", "openai", "facebook/sam2.1-hiera-large")),
    "--miniatures": (False, (None, None, None)),
    "--clip_pretrained meta": (False, (None, "meta", None)),
    "--sam2_checkpoint x.pt": (True, (None, None, "x.pt")),
    "--models base": (True, ("ViT-L/14@336px", "openai", "facebook/sam2.1-hiera-base-plus")),
    "--models huge": (False, ("ViT-H/14", "laion2b_s32b_b79k", "facebook/sam2.1-hiera-large")),
    "--models small --sam2_checkpoint x.pt": (False, ("ViT-B/16", "openai", "x.pt")),
    "--models small --clip_pretrained siglip2": (False, (None, "siglip2", "facebook/sam2.1-hiera-tiny")),
}


@pytest.mark.parametrize("line", CHOICES)
def test_which_models_are_meant(line: str, parser: cli.Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered, expected = CHOICES[line]
    args = parser.parse_args(line.split())
    monkeypatch.setattr(cli.models, "resolve_device", lambda name: (torch.device(name or "cpu"), "asked for"))
    cli.models.choose_models(args, rendered)
    assert (args.clip_architecture, args.clip_pretrained, args.sam2_checkpoint) == expected


@pytest.mark.parametrize("line", ["--miniatures --models small", "--miniatures --clip_pretrained openai"])
def test_the_miniatures_and_real_models_at_once_are_refused(line: str, parser: cli.Parser) -> None:
    with pytest.raises(UserError, match="--miniatures asks for the bundled miniatures"):
        cli.models.choose_models(parser.parse_args(line.split()), rendered=False)
    with pytest.raises(UserError, match="--miniatures asks for the bundled miniatures"):
        cli.check_model_options(parser.parse_args(line.split()), "demo")


def test_sizes_in_the_help_are_those_of_the_files(parser: cli.Parser) -> None:
    shown = " ".join(parser.format_help().split())
    for pair in PAIRS.values():
        config = open_clip.get_model_config(pair.clip_architecture.replace("/", "-").replace("@336px", "-336"))
        both = (model_size(config) or 0) + (find_sam2(pair.sam2_checkpoint, None).needs[0].size or 0)
        assert abs(both / 1e9 - pair.gigabytes) < 0.06
        assert f"{pair.gigabytes:g} GB" in shown


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


def test_how_a_run_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(lambda: cli.run(lambda: 0)) == 0
    assert ended(lambda: cli.run(lambda: 2)) == 2
    assert capsys.readouterr().err == ""
    assert ended(lambda: cli.run(raising(UserError("The cup is\nempty: fill it.")))) == 2
    assert capsys.readouterr().err == "error: The cup is empty: fill it.\n"
    with pytest.raises(ZeroDivisionError):  # a mistake of ours keeps its traceback
        cli.run(raising(ZeroDivisionError()))


def test_our_warnings_are_heard_and_those_of_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = {name: logging.getLogger(name).level for name in (None, *cli._OWN_LOGGERS)}
    monkeypatch.setattr(logging.root, "handlers", [])
    try:
        ended(lambda: cli.run(lambda: 0))
        assert logging.getLogger("textregion.masks").isEnabledFor(logging.WARNING)
        assert not logging.getLogger("textregion.masks").isEnabledFor(logging.INFO)
        assert not logging.getLogger("somebody.else").isEnabledFor(logging.WARNING)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
