"""One part of an index: up to 256 pictures in one safetensors file, which is named after its content and never changed.

The file is the only truth: facts of every picture as JSON, then columns with a row for each region, picture by picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import UserError, reason_of
from ..files import sync_folder, write_bytes
from .rows import FileFacts, PictureFacts, PictureRows

FORMAT = "textregion-part-1"
SUFFIX = ".safetensors"
MOST_PICTURES = 256
_COLUMNS = {"tokens": torch.float16, "boxes_xywh": torch.int32, "areas": torch.float32, "scores": torch.float16}


@dataclass(frozen=True, eq=False)
class Part:
    """A part file, mapped into memory: what is not asked for stays on disk, and it can be read after it was removed."""

    name: str
    """Digest of the content."""
    pictures: tuple[PictureFacts, ...]
    starts: npt.NDArray[np.int64]
    """(P + 1,) first region of every picture, and the number of all."""
    identity: Mapping[str, Any]
    """:meth:`IndexSettings.identity` of whoever wrote it."""
    columns: Mapping[str, Tensor]

    @property
    def regions(self) -> int:
        """How many there are."""
        return int(self.starts[-1])

    @property
    def tokens(self) -> Tensor:
        """(N, D) float16 on the disk."""
        return self.columns["tokens"]

    def span(self, picture: int) -> slice:
        """The regions of a picture."""
        return slice(int(self.starts[picture]), int(self.starts[picture + 1]))

    def rows(self, picture: int) -> PictureRows:
        """All that is kept of a picture."""
        span = self.span(picture)
        columns = {name: self.columns[name][span].clone() for name in _COLUMNS}
        masks = tuple(self.mask_rle(region) for region in range(span.start, span.stop))
        return PictureRows(self.pictures[picture], masks_rle=masks, **columns)

    def mask_rle(self, region: int) -> bytes:
        """The low-resolution mask of one of the N regions."""
        ends = self.columns["mask_ends"]
        start = int(ends[region - 1]) if region else 0
        return self.columns["mask_bytes"][start : int(ends[region])].numpy().tobytes()


def encode_part(pictures: Sequence[PictureRows], identity: Mapping[str, Any]) -> tuple[str, bytes]:
    """Name and content of a part; the same pictures give the same bytes.

    Args:
        pictures: at least one, at most ``MOST_PICTURES``.
        identity: :meth:`IndexSettings.identity`.
    """
    facts = [
        [f.path, f.file.size, f.file.mtime_ns, f.sha256, f.size_hw, f.mask_hw, f.regions]
        for f in (picture.facts for picture in pictures)
    ]
    columns = {name: torch.cat([getattr(picture, name) for picture in pictures]) for name in _COLUMNS}
    masks = [mask for picture in pictures for mask in picture.masks_rle]
    columns["mask_ends"] = torch.tensor([len(mask) for mask in masks], dtype=torch.int64).cumsum(0)
    columns["mask_bytes"] = _bytes(b"".join(masks))
    columns["pictures"] = _bytes(json.dumps(facts).encode())  # half characters of odd file names are escaped
    # One key only: the order of several is not always the same.
    content = save(columns, {"textregion": json.dumps({"format": FORMAT, "identity": dict(identity)}, sort_keys=True)})
    return name_of(content), content


def name_of(content: bytes) -> str:
    """The name that a part of this content has."""
    return hashlib.sha256(content).hexdigest()[:32]


def write_part(folder: Path, pictures: Sequence[PictureRows], identity: Mapping[str, Any]) -> str:
    """Write a part, whole or not at all, so that it stays.

    Returns:
        Its name.

    Raises:
        UserError: it cannot be written.
    """
    name, content = encode_part(pictures, identity)
    write_bytes(folder / (name + SUFFIX), content)
    sync_folder(folder)
    return name


def read_part(path: Path) -> Part:
    """Map a part into memory.

    Raises:
        UserError: a damaged part.
        FileNotFoundError: it is not there any more.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["textregion"])
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']!r}")
            columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        pictures = tuple(map(_facts, json.loads(columns.pop("pictures").numpy().tobytes())))
        starts = np.cumsum([0, *(facts.regions for facts in pictures)], dtype=np.int64)
        part = Part(path.name.removesuffix(SUFFIX), pictures, starts, dict(header["identity"]), columns)
        _check(part)
        return part
    except FileNotFoundError:
        raise
    except Exception as error:  # made-up columns and facts raise errors of any kind; all mean the same
        raise damaged(path, reason_of(error)) from None


def verify_part(path: Path) -> None:
    """Check that a part's bytes are those that it is named after.

    Raises:
        UserError: they are not.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from None
    if name_of(content) != path.name.removesuffix(SUFFIX):
        raise damaged(path, "its bytes are not those that it is named after")


def damaged(path: Path, reason: str) -> UserError:
    """What to say of a part that is not sound."""
    return UserError(
        f"Part {str(path)!r} is damaged ({reason}): copy it again, or leave it out with --repair and index its "
        "pictures anew."
    )


def _facts(values: list[Any]) -> PictureFacts:
    path, size, mtime_ns, sha256, size_hw, mask_hw, regions = values
    facts = PictureFacts(
        str(path), FileFacts(int(size), int(mtime_ns)), str(sha256), _pair(size_hw), _pair(mask_hw), int(regions)
    )
    if facts.regions < 0:
        raise ValueError(f"a picture of {regions} regions")
    return facts


def _pair(value: list[int]) -> tuple[int, int]:
    height, width = map(int, value)
    if height < 1 or width < 1:
        raise ValueError(f"a size of {value}")
    return height, width


def _check(part: Part) -> None:
    """Refuse columns of other types or lengths than they are written with."""
    columns, count = part.columns, part.regions
    tails = {"tokens": columns["tokens"].shape[1:], "boxes_xywh": (4,), "areas": (), "scores": ()}
    for name, dtype in _COLUMNS.items():
        if columns[name].dtype != dtype or columns[name].shape != (count, *tails[name]):
            raise ValueError(f"{name} of {tuple(columns[name].shape)}")
    if columns["tokens"].ndim != 2 or columns["mask_ends"].shape != (count,):
        raise ValueError("columns of different lengths")
    if count and int(columns["mask_ends"][-1]) != len(columns["mask_bytes"]):
        raise ValueError("masks of another length")


def _bytes(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())
