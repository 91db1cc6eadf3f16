"""What weights a command needs, what is there and what is missing; download it, or make a folder of it to carry away.

python -m textregion.weights --clip_pretrained openai --sam2_checkpoint facebook/sam2.1-hiera-large
python -m textregion.weights --models large --download --to weights/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..checkpoints.hub import Need, fetch, readable, total_size
from ..cli import Parser, add_boolean, add_model_options, run
from ..cli.models import choose_models, model_names, wants_miniatures
from ..errors import UserError
from .carry import carry
from .sources import ModelSources, find_models


def _parser() -> Parser:
    parser = Parser(prog="python -m textregion.weights", description=__doc__)
    add_boolean(parser, "--check", False, "exit status 1 where something is missing; nothing is downloaded")
    add_boolean(parser, "--download", False, "download what is missing, with a bar for each file")
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="copy all of it into a folder for a machine without network"
    )
    add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Show, check, download or copy the weights that the same options load elsewhere.

    Raises:
        UserError: a wrong name, or a file that cannot be had.
    """
    args = _parser().parse_args(argv)
    if args.check and (args.download or args.to is not None):
        raise UserError("--check only looks: leave it out, or --download and --to.")
    choose_models(args, rendered=False)
    if wants_miniatures(args):
        print("The miniatures come with TextRegion: nothing has to be downloaded.")
        return 0
    sources = find_models(**model_names(args))
    if args.download:
        fetch(sources.needs)
        sources = find_models(**model_names(args))
    print("\n".join(_lines(sources)))
    if args.to is None:
        return 1 if args.check and sources.required else 0
    if sources.required:
        raise UserError(f"{len(sources.required)} files are missing: add --download.")
    print(f"There, give: {_shown(carry(sources, args.to, args.model_cfg))}")
    return 0


def _lines(sources: ModelSources) -> list[str]:
    """What is there, what is missing, and what that adds up to."""
    there = [("image-text model", sources.clip.weights), ("tokenizer", sources.clip.tokenizer)]
    there.append(("SAM 2", sources.sam2.weights))
    lines = [f"there    {what}: {path}{_size(path)}" for what, path in there if path is not None]
    lines += [f"missing  {need}" for need in sources.required]
    return [*lines, _verdict(sources.required)]


def _size(path: Path) -> str:
    return f" ({readable(path.stat().st_size)})" if path.is_file() else ""


def _verdict(required: Sequence[Need]) -> str:
    if not required:
        return "Nothing has to be downloaded."
    return f"To download: {total_size(required)}, with --download."


def _shown(options: dict[str, str]) -> str:
    return " ".join(f"--{name} {value}" for name, value in options.items())


if __name__ == "__main__":
    run(main, interrupted="what was downloaded is kept; the same command goes on.")
