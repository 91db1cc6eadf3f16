"""Render a benchmark: python -m miniatures.scenes --format voc OUT --count 50."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from miniatures.scenes.composition import render_scene
from miniatures.scenes.formats import FORMATS
from textregion import UserError
from textregion.files import check_folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m miniatures.scenes", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write to; files of the same names are replaced")
    parser.add_argument("--format", choices=tuple(FORMATS), default="png", help="file format (default: png)")
    parser.add_argument("--count", type=int, default=50, help="number of pictures (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first picture, counted up from there")
    parser.add_argument("--size", type=int, nargs=2, default=(320, 448), metavar=("HEIGHT", "WIDTH"))
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Render as the command line says; a mistake in it ends with exit status 2 and one sentence."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.count < 1 or options.seed < 0 or min(options.size) < 16:
        parser.error("--count must be at least 1, --seed at least 0, and --size at least 16 16")
    seeds = tqdm(range(options.seed, options.seed + options.count), desc=f"render {options.format}", unit="scene")
    try:
        check_folder(options.out, "Folder")
        FORMATS[options.format](options.out, (render_scene(seed, tuple(options.size)) for seed in seeds))
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
