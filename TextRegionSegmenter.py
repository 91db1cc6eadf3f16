"""Demo: pictures and label words in, overlays, label maps and regions out.

Run ``python TextRegionSegmenter.py`` for the demo pictures, or name your own::

    python TextRegionSegmenter.py --image_list photo.jpg --labels dog grass sky --models large
"""

from __future__ import annotations

if __name__ == "__main__":
    from textregion import interrupts  # before the imports that take seconds

    interrupts.end_at_once("nothing was written yet.")

import contextlib
import itertools
import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from textregion import RegionTokens, Segmentation, TextRegionSegmenter, UserError, cli, export, tint, visualize
from textregion.ahead import ahead
from textregion.cli.models import choose_models
from textregion.files import cannot_write
from textregion.image import RGB, load_rgb
from textregion.rendered import all_rendered
from textregion.runtime import StageClock, is_out_of_memory
from textregion.words import BACKGROUND, against_background, is_word
from utils.pictures import check_words, expand, read_queries, split_labels

CHECKOUT = Path(__file__).resolve().parent
LONGEST_STEM = 200
"""Bytes of a picture's name that the names of its results begin with; file systems allow 255 in all."""
COCO_FILE = "coco.json"
"""Name of the file that holds the regions of all pictures of a run."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Job:
    """A picture, its words, and what the names of its results start with."""

    picture: Path
    words: tuple[str, ...]
    prefix: Path
    background: str = ""
    """What a single word is painted against; then it is the second of the words."""

    def result(self, kind: str) -> Path:
        """The path of one of the results."""
        return self.prefix.with_name(f"{self.prefix.name}_{kind}")

    def results(self) -> list[Path]:
        """The paths of all of them."""
        return [self.result(kind) for kind in ("overlay.png", "labels.png", "regions.json", "global_patches.png")]


@dataclass(frozen=True)
class Segmented:
    """A picture and what was made of it."""

    job: Job
    image: RGB
    regions: RegionTokens
    result: Segmentation


def build_parser() -> cli.Parser:
    """The demo's command line."""
    parser = cli.Parser(description=__doc__)
    parser.add_argument(
        "--image_list", nargs="+", metavar="IMAGE", help="pictures, folders or globs; default: the YAML's"
    )
    parser.add_argument(
        "--image_query_cfg",
        default=str(CHECKOUT / "utils" / "image_query_label.yaml"),
        metavar="YAML",
        help="image path -> 'label:' list of words (default utils/image_query_label.yaml)",
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="WORD",
        help="words for pictures that the YAML does not name, also separated by commas or semicolons",
    )
    parser.add_argument(
        "--background",
        metavar="WORD",
        help=f"what a single word is painted against (default {BACKGROUND}; '', as with --published: nothing)",
    )
    parser.add_argument(
        "--output_dir", default="outputs/demo", metavar="DIR", help="where the results go (default %(default)s)"
    )
    parser.add_argument(
        "--overlay",
        choices=tint.STYLES,
        default="both",
        help="where the overlay has the words' colours: on areas, on their borders, or on both (default %(default)s)",
    )
    parser.add_argument(
        "--unsure_below",
        type=float,
        default=visualize.UNSURE_BELOW,
        metavar="P",
        help="the overlay has stripes where the confidence is lower (default %(default)s; 0: nowhere)",
    )
    cli.add_boolean(parser, "--visualize_global_patch", False, "also draw which patches count as global")
    cli.add_boolean(parser, "--show", False, "show every overlay in a window")
    cli.add_model_options(parser)
    cli.add_method_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 where every picture was segmented, 2 where some were not.

    Raises:
        UserError: nothing could be done.
    """
    args = build_parser().parse_args(argv)
    jobs = plan_jobs(args)
    choose_models(args, all_rendered(job.picture for job in jobs))
    cli.check_model_options(args, "demo", cli.label_map_options(args))
    if args.visualize_global_patch and args.remove_global_patch is False:
        raise UserError(
            "--visualize_global_patch shows what the global-patch filter sees: leave --no-remove_global_patch out."
        )
    if not 0 <= args.unsure_below <= 1:
        raise UserError(f"--unsure_below is a confidence from 0 to 1, but {args.unsure_below} was given.")
    with output_folder(Path(args.output_dir)):
        failures = _find_unreadable(jobs)
        clock = StageClock()
        if len(failures) < len(jobs):
            with clock.stage("loading", _CPU):
                segmenter = cli.load_segmenter(args, "demo", clock=clock, extra_options=cli.label_map_options(args))
            failures = _segment_all(segmenter, jobs, args, clock)
    for message in failures.values():
        print(f"error: {cli.one_line(message)}", file=sys.stderr)
    if len(failures) < len(jobs) or len(jobs) > 1:
        print(_summary(len(jobs), failures, args.output_dir, clock))
    return 2 if failures else 0


def plan_jobs(args: Namespace) -> list[Job]:
    """Every picture that the command line or else the YAML names, once, with its words.

    Raises:
        UserError: a YAML that is wrong, a folder or glob without pictures, a picture without words, bad words.
    """
    options = {**cli.label_map_options(args), **cli.method_options(args)}
    most = export.NO_WORD if options.get("uncovered") == "none" else export.MAX_PALETTE
    known = read_queries(Path(args.image_query_cfg), CHECKOUT, most)
    by_path = {_resolved(path): words for path, words in known.items()}
    labels = None if args.labels is None else check_words(split_labels(args.labels), "--labels", most)
    if args.image_list is None and labels is not None:
        raise UserError("--labels are words for pictures that the YAML does not name: name them with --image_list.")
    named = list(known) if args.image_list is None else [path for name in args.image_list for path in expand(name)]
    pictures: dict[Path, Path] = {}
    for path in named:
        pictures.setdefault(_resolved(path), path)
    jobs: list[Job] = []
    for resolved, picture in pictures.items():
        words = by_path.get(resolved, labels)
        if words is None and os.path.isfile(picture):
            raise UserError(f"There are no words for picture {str(picture)!r}: give --labels, or name it in the YAML.")
        jobs.append(_job(picture, words or (), _free_prefix(Path(args.output_dir) / _stem(picture), jobs), args))
    results = [Path(args.output_dir) / COCO_FILE, *(path for job in jobs for path in job.results())]
    overwritten = {_resolved(path) for path in results} & pictures.keys()
    if overwritten:
        raise UserError(f"A result would overwrite the picture {str(min(overwritten))!r}: choose another --output_dir.")
    return jobs


def _job(picture: Path, words: tuple[str, ...], prefix: Path, args: Namespace) -> Job:
    background = args.background
    if background is None:
        background = "" if args.published else BACKGROUND
    if background and not is_word(background):
        raise UserError(f"--background must be text that is not blank, but is {background!r}: leave it out.")
    painted = against_background(words, background)
    return Job(picture, painted, prefix, background if painted != words else "")


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve fails over links that lead to one another


def _stem(picture: Path) -> str:
    """The picture's name without its suffix, short enough that the names of its results are no longer than allowed."""
    stem = picture.stem
    while len(os.fsencode(stem)) > LONGEST_STEM:
        stem = stem[:-1]
    return stem


def _free_prefix(prefix: Path, jobs: Sequence[Job]) -> Path:
    """The prefix, numbered where a picture of the same stem has it; case does not tell file names apart everywhere."""
    taken = {job.prefix.name.lower() for job in jobs}
    numbered = (prefix.with_name(f"{prefix.name}_{number}") for number in itertools.count(2))
    return next(free for free in itertools.chain([prefix], numbered) if free.name.lower() not in taken)


@contextlib.contextmanager
def output_folder(path: Path) -> Iterator[None]:
    """Make the folder and see that it can be written to; folders made in vain are removed again.

    Raises:
        UserError: it cannot be made or written to.
    """
    made = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]
    try:
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise cannot_write(path, error, "Output folder") from None
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # a folder that holds something stays
                folder.rmdir()


def _find_unreadable(jobs: Sequence[Job]) -> dict[Path, str]:
    """Why pictures cannot be read, up to the first that can: where none can, no model needs to be loaded."""
    failures: dict[Path, str] = {}
    for job in jobs:
        with _noting(failures, job):
            load_rgb(job.picture)
            break
    return failures


def _segment_all(
    segmenter: TextRegionSegmenter, jobs: Sequence[Job], args: Namespace, clock: StageClock
) -> dict[Path, str]:
    """Segment every picture; what went wrong with which.

    The next picture is read, and the results of the last one are drawn, while the models are busy.
    """
    failures: dict[Path, str] = {}
    segmented = _segmented(segmenter, jobs, clock, failures)
    number_of = {job.picture: number for number, job in enumerate(jobs, 1)}
    with (
        _coco_run(segmenter, jobs, Path(args.output_dir) / COCO_FILE) as run,
        logging_redirect_tqdm(),
        tqdm(total=len(jobs), desc="pictures", unit="picture") as bar,
    ):
        for one, drawn in ahead(lambda one: _draw(segmenter, one, run, args), segmented):
            with _noting(failures, one.job):
                with clock.stage("writing", _CPU):
                    picture, files = drawn()
                    export.write_files(files)
                run.add(one.job.picture, one.regions.size_hw, one.job.result("regions.json"))
                if args.show:
                    visualize.show(picture, one.job.prefix.name)
            bar.update(number_of[one.job.picture] - bar.n)
        bar.update(len(jobs) - bar.n)
    return {job.picture: failures[job.picture] for job in jobs if job.picture in failures}


@contextlib.contextmanager
def _coco_run(segmenter: TextRegionSegmenter, jobs: Sequence[Job], path: Path) -> Iterator[export.CocoRun]:
    """Write the COCO file of the pictures that were finished, also where the run ends early.

    Raises:
        UserError: it cannot be written.
    """
    run = export.CocoRun([job.picture for job in jobs], [job.words for job in jobs])
    export.remove(path)  # an earlier run's would not fit the new files
    try:
        yield run
    finally:
        run.write(path, encoder=segmenter.encoder.name, options=segmenter.options.as_dict())


def _segmented(
    segmenter: TextRegionSegmenter, jobs: Sequence[Job], clock: StageClock, failures: dict[Path, str]
) -> Iterator[Segmented]:
    """The pictures that can be read and segmented; the others are noted."""
    for job, read in ahead(lambda job: load_rgb(job.picture), jobs):
        with _noting(failures, job):
            with clock.stage("reading", _CPU):
                image = read()
            regions = segmenter.encode(image)
            result = segmenter.segment(regions, job.words)
        if job.picture not in failures:
            yield Segmented(job, image, regions, result)


@contextlib.contextmanager
def _noting(failures: dict[Path, str], job: Job) -> Iterator[None]:
    """Note what goes wrong with one picture; the others go on."""
    try:
        yield
    except UserError as error:
        failures[job.picture] = str(error)
    except (MemoryError, RuntimeError, cv2.error) as error:
        if not is_out_of_memory(error):
            raise
        failures[job.picture] = (
            f"There is not enough memory for picture {str(job.picture)!r}: make it smaller, or lower --scale."
        )


def _draw(
    segmenter: TextRegionSegmenter, one: Segmented, run: export.CocoRun, args: Namespace
) -> tuple[Image.Image, dict[Path, bytes]]:
    """The overlay of a segmented picture, and the content of all its files."""
    job, image, regions, result = one.job, one.image, one.regions, one.result
    colours = visualize.word_colours(job.words)
    labels, shown = result.labels, job.words
    if job.background:  # the picture is left as it is there
        labels, shown = labels.masked_fill(labels > 0, -1), job.words[:1]
    overlay = visualize.overlay(
        image,
        labels,
        shown,
        colours=colours,
        confidence=result.confidence,
        unsure_below=args.unsure_below,
        style=args.overlay,
        blank_name=job.background or "no region",
    )
    found = run.annotations(job.picture, regions, result.scores, job.words)
    facts = {"image": str(job.picture), "encoder": regions.encoder, "options": segmenter.options.as_dict()}
    facts |= {"templates": segmenter.text.templates.setting, "background": job.background}
    files = {
        job.result("overlay.png"): export.png(overlay),
        job.result("labels.png"): export.label_map_png(result.labels, colours),
        job.result("regions.json"): export.regions_json(found, regions.size_hw, job.words, **facts),
    }
    if args.visualize_global_patch and regions.locality is not None:
        heat = visualize.locality_map(image, regions.locality, segmenter.options.global_patch_threshold)
        files[job.result("global_patches.png")] = export.png(heat)
    return overlay, files


def _summary(count: int, failures: dict[Path, str], output_dir: str, clock: StageClock) -> str:
    """One line: how many, where, the time by stage, and which failed."""
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in clock.seconds.items())
    line = f"Segmented {count - len(failures)} of {count} pictures"
    if len(failures) < count:
        line += f" into {_on_one_line(os.path.join(output_dir, ''))} ({times})"
    if failures:
        line += f"; failed: {', '.join(_on_one_line(str(picture)) for picture in failures)}"
    return line


def _on_one_line(name: str) -> str:
    return name if name.isprintable() else repr(name)


if __name__ == "__main__":
    cli.run(main, interrupted="the pictures that were finished are in the output folder.")
