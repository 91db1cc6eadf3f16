"""What every command line shares: a strict parser, the options of models and method, and how a run ends."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from .. import interrupts
from ..errors import UserError
from ..options import SegmenterOptions, Task
from ..runtime import StageClock, resolve_device
from ..segmenter import TextRegionSegmenter
from ..templates import load_templates
from ..weights import find_models
from ..weights.pairs import PAIRS
from .models import announce_and_fetch, check_choice, model_names, wants_miniatures

_OWN_LOGGERS = ("textregion", "eval", "utils", "__main__")

_METHOD_HELP: dict[str, str] = {
    "resize_method": "multi_resolution: the whole picture and tiles of it; resize: one square view",
    "square": "with resize: the whole picture becomes the square, or only the image tower's view of it",
    "scale": "long and short side that the picture is fitted into, in pixels",
    "crop_size": "side of the image tower's input in pixels",
    "global_views": "1: the whole picture; 2: its left and right half; 0: none, tiles alone",
    "antialias": "resize the image tower's views with antialiasing",
    "upsample_times": "patch values are upsampled this many times",
    "view_batch": "views in one pass of the image tower; 0: as many as suit",
    "points_per_side": "SAM 2 is asked at this many points along each side",
    "pred_iou_thresh": "masks of a lower predicted IoU are dropped",
    "stability_score_thresh": "masks of a lower stability are dropped",
    "box_nms_thresh": "box IoU above which the weaker of two masks is dropped",
    "min_size": "masks of this area or less, in low-resolution pixels, are dropped",
    "fuse_mask": "join masks that contain one another",
    "fuse_mask_threshold": "containment above which masks are joined",
    "fuse_box_iou": "box IoU above which masks are compared for joining",
    "points_per_batch": "points decoded at a time; 0: as many as suit",
    "mask_size": "size at which masks are taken: of the resized or of the original picture",
    "mask_type": "weigh patches and pixels by soft masks, or take masks as hard",
    "remove_global_patch": "drop patches that carry global rather than local content",
    "global_patch_threshold": "locality below which a patch is dropped",
    "pool_feature": "which feature of the last block is pooled (CLIP ViT)",
    "pool_mlp": "add the last block's MLP to the pooled token (CLIP ViT)",
    "normalize_values": "normalise patch values before pooling (CLIP ViT)",
    "region_logit_scale": "factor on the scores before the softmax over words",
    "uncovered": "what pixels without a region get: all words alike, the first, the dense CLIP scores, or no word",
    "prob_thd": "pixels of a lower probability get the first word",
    "output_size": "size of the label map: of the resized or of the original picture",
}


class Parser(argparse.ArgumentParser):
    """A strict parser: ``--a_b`` and ``--a-b`` are one flag, nothing is abbreviated, unknown flags are refused.

    A mistake prints one line ``error: ...`` and ends with exit status 2.
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse's, after every flag is put into its registered spelling."""
        given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._spelled(given), namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but an unknown flag is answered with the nearest known one."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self._about_unknown(unknown))
        return parsed

    def error(self, message: str) -> NoReturn:
        """One line on stderr, exit status 2."""
        self.exit(2, f"error: {one_line(message)} (see --help)\n")

    def _spelled(self, args: Sequence[str]) -> list[str]:
        """Registered spellings; the old ``--flag True`` becomes ``--flag``, ``--flag False`` becomes ``--no-flag``."""
        known = {_canonical(flag): flag for flag in self._option_string_actions}
        spelled: list[str] = []
        rest = list(args)
        while rest:
            arg = rest.pop(0)
            if arg == "--":
                return [*spelled, arg, *rest]
            name, has_value, value = arg.partition("=")
            flag = known.get(_canonical(name)) if name.startswith("--") else None
            if flag is None:
                spelled.append(arg)
            elif not isinstance(self._option_string_actions[flag], argparse.BooleanOptionalAction):
                spelled.append(flag + has_value + value)
            else:
                if not has_value and rest and rest[0].lower() in ("true", "false"):
                    has_value, value = "=", rest.pop(0)
                spelled.append(self._switched(flag, value) if has_value else flag)
        return spelled

    def _switched(self, flag: str, value: str) -> str:
        """The flag, or its opposite where the value is False."""
        if value.lower() not in ("true", "false"):
            self.error(f"{flag} is either True or False, but got {value!r}")
        on, off = self._option_string_actions[flag].option_strings[:2]
        return on if (flag == on) == (value.lower() == "true") else off

    def _about_unknown(self, unknown: Sequence[str]) -> str:
        flags = [arg for arg in unknown if arg.startswith("-")]
        if not flags:
            return f"unexpected argument {unknown[0]!r}"
        name = flags[0].split("=")[0]
        spellings = {_canonical(flag): flag for flag in self._option_string_actions}
        near = difflib.get_close_matches("--" + _canonical(name).lstrip("-"), spellings, n=1)
        return f"unknown option {name!r}" + (f": did you mean {spellings[near[0]]!r}?" if near else "")


def _canonical(flag: str) -> str:
    return flag.replace("_", "-")


def add_boolean(container: Any, flag: str, default: bool | None, help: str) -> None:
    """A switch of a :class:`Parser` (or its group): ``--name``, ``--no-name``, the old ``--name True|False``."""
    container.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=help)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which frozen models, on which device, at which precision; see :func:`textregion.cli.models.choose_models`."""
    group = parser.add_argument_group(
        "models",
        "None named: the bundled miniatures for pictures of their rendered world; for all others --models large, on a "
        "CPU --models small.",
    )
    sizes = ", ".join(f"{name} ({pair.title}; {pair.gigabytes:g} GB)" for name, pair in PAIRS.items())
    group.add_argument("--models", choices=tuple(PAIRS), help=f"both real models by size: {sizes}")
    add_boolean(group, "--miniatures", False, "the bundled miniatures, whatever the pictures are")
    group.add_argument(
        "--clip_pretrained",
        metavar="TAG|FILE",
        help="openai, laion2b_s32b_b79k, siglip2, meta, any open_clip tag, a file, a folder, or hf-hub:org/name",
    )
    group.add_argument(
        "--clip_architecture", metavar="NAME", help="ViT-B/16, ViT-L/14@336px, ViT-B-16-SigLIP2, PE-Core-L14-336, ..."
    )
    group.add_argument(
        "--clip_download_root", metavar="DIR", help="folder that downloaded image-text models are kept in"
    )
    group.add_argument(
        "--tokenizer",
        metavar="DIR|ID",
        help="tokenizer of the image-text model: a folder, or a hub id; default: one beside the weights, or its own",
    )
    group.add_argument(
        "--sam2_checkpoint", metavar="FILE|ID", help="a file, a folder, or a hub id: facebook/sam2.1-hiera-large"
    )
    group.add_argument(
        "--model_cfg", metavar="CFG", help="SAM 2's config, where the checkpoint's name does not tell it"
    )
    group.add_argument("--device", help="cpu, cuda, cuda:N or mps; default: the best there is")
    group.add_argument("--dtype", choices=("fp32", "bf16"), help="precision of the frozen models (default fp32)")
    group.add_argument("--sam2_dtype", choices=("fp32", "bf16"), help="precision of SAM 2 (default: --dtype)")
    add_boolean(
        group,
        "--published",
        False,
        "whatever is not given as the authors' pinned packages had it: no antialiasing, SAM 2 in bf16 on a GPU",
    )
    add_boolean(group, "--compile", False, "torch.compile for both image towers: pays over many pictures")
    group.add_argument(
        "--templates",
        default="imagenet",
        metavar="NAME|FILE",
        help="what words are put into: imagenet (80 sentences, the default), simple (7), none, or a file of one a line",
    )
    group.add_argument("--text_cache", metavar="DIR", help="keep embeddings of words on disk between runs")


def add_method_options(parser: argparse.ArgumentParser, skip: Collection[str] = ()) -> None:
    """One flag for every field of :class:`SegmenterOptions`, None where it is not given.

    Args:
        skip: names of fields that the script has no flag for, or a flag of its own.
    """
    group = parser.add_argument_group("method", "Not given: the task's default, or what suits the bundled miniatures.")
    hints = get_type_hints(SegmenterOptions)
    for field in dataclasses.fields(SegmenterOptions):
        if field.name not in skip:
            shown = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
            text = _METHOD_HELP[field.name] + ("" if shown is None else f" (default {shown})")
            _add_method_option(group, "--" + field.name, hints[field.name], text)


def _add_method_option(group: Any, flag: str, hint: Any, text: str) -> None:
    if get_origin(hint) is Literal:
        group.add_argument(flag, choices=get_args(hint), help=text)
    elif hint is bool:
        add_boolean(group, flag, None, text)
    elif get_origin(hint) is tuple:
        group.add_argument(flag, type=int, nargs=2, metavar=("LONG", "SHORT"), help=text)
    else:
        kind = float if hint is float else int
        group.add_argument(flag, type=kind, metavar="X" if kind is float else "N", help=text)


def method_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of :class:`SegmenterOptions` that were given on the command line."""
    given = {field.name: getattr(args, field.name, None) for field in dataclasses.fields(SegmenterOptions)}
    return {name: value for name, value in given.items() if value is not None}


def label_map_options(args: argparse.Namespace) -> dict[str, Any]:
    """What label maps for people have over the demo's preset, which is as published: no word where no region is."""
    return {} if args.published else {"uncovered": "none"}


def check_model_options(args: argparse.Namespace, task: Task, extra_options: Mapping[str, Any] | None = None) -> None:
    """What can be known of models and options to be wrong before anything is loaded.

    Raises:
        UserError: an option out of range, a device that is not there, an unknown model, a config without a model.
    """
    SegmenterOptions.for_task(task, **{**(extra_options or {}), **method_options(args)})
    resolve_device(args.device)
    load_templates(args.templates)
    check_choice(args)
    if not wants_miniatures(args):
        find_models(**model_names(args))
    elif args.model_cfg is not None:
        raise UserError("--model_cfg is the config of a real SAM 2: name its weights with --sam2_checkpoint too.")


def load_segmenter(
    args: argparse.Namespace,
    task: Task,
    *,
    clock: StageClock | None = None,
    extra_options: Mapping[str, Any] | None = None,
) -> TextRegionSegmenter:
    """The segmenter that the command line asks for; says so in one line where it is made of the miniatures.

    Args:
        args: of a parser with :func:`add_model_options` and, if there are any, :func:`add_method_options`.
        task: whose preset the options start from.
        clock: adds up the time of every stage.
        extra_options: the script's own over the preset; the command line goes over them.

    Raises:
        UserError: a name, file, device or option that is wrong.
    """
    check_model_options(args, task, extra_options)
    announce_and_fetch(args)
    return TextRegionSegmenter.from_pretrained(
        **model_names(args),
        device=args.device,
        dtype=args.dtype,
        sam2_dtype=args.sam2_dtype,
        published=args.published,
        task=task,
        options={**(extra_options or {}), **method_options(args)},
        templates=args.templates,
        text_cache=args.text_cache,
        compiled=args.compile,
        clock=clock,
    )


def one_line(message: str) -> str:
    """The message without its line breaks; blanks within a line stay, as they may be a file name's."""
    return " ".join(filter(None, map(str.strip, message.splitlines())))


def run(main: Callable[[], int], interrupted: str = interrupts.HOW_TO_RESUME) -> NoReturn:
    """Run a script's ``main`` and end the process with its exit status.

    A :class:`UserError` is one line on stderr and status 2; Ctrl-C is one line (``interrupted`` says how to resume) and
    status 130; a closed pipe is quiet.
    """
    _quieten_others()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names hold what a terminal's encoding may not
    interrupts.raise_again()
    try:
        status = main()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        interrupts.end(interrupted)
    except BrokenPipeError:
        # Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


def _quieten_others() -> None:
    """Our warnings and everybody's errors go to stderr; what other libraries remark is left out."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if logging.root.handlers:
        return  # whoever runs us has set it up
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(levelname)s: %(message)s")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every attempt; we say how it ended
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
