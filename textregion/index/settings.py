"""What every region of an index depends on: ``index.json``, and the one sentence that says how others differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import write_bytes
from ..options import SegmenterOptions

if TYPE_CHECKING:
    from ..segmenter import TextRegionSegmenter

FORMAT = "textregion-index-1"
FILE = "index.json"


@dataclass(frozen=True)
class IndexSettings:
    """Models and options that a region's token and mask depend on."""

    encoder: str
    """Name of the image-text model, which identifies its weights."""
    sam2: str
    """Digest of SAM 2's weights."""
    dtype: str
    """Precision of the image-text model."""
    sam2_dtype: str
    """Precision of SAM 2."""
    options: Mapping[str, Any]
    """The options that regions depend on, see :meth:`textregion.SegmenterOptions.of_regions`."""
    models: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Names that the models can be loaded by again; not part of the identity."""

    @classmethod
    def of(cls, segmenter: TextRegionSegmenter, models: Mapping[str, Any] | None = None) -> IndexSettings:
        """Those of a segmenter."""
        names = segmenter.model_names
        crop_size = segmenter.options.crop_size or segmenter.encoder.crop_size
        options = _plain({**segmenter.options.of_regions(), "crop_size": crop_size})
        return cls(names["encoder"], names["sam2"], **segmenter.dtypes, options=options, models=_plain(models or {}))

    def identity(self) -> dict[str, Any]:
        """What makes two settings the same, as plain values."""
        named = {"encoder": self.encoder, "sam2": self.sam2, "dtype": self.dtype, "sam2_dtype": self.sam2_dtype}
        return {**named, "options": dict(self.options)}

    def difference(self, other: Mapping[str, Any], where: str = "now") -> str:
        """What of another identity differs from the index's, in a few words; empty where nothing does.

        Args:
            other: as :meth:`identity` gives it.
            where: of whom or when the other is, for the words.
        """
        own, told = self.identity(), []
        if other.get("encoder") != own["encoder"]:
            told.append(f"the encoder is {own['encoder']!r} in the index and {other.get('encoder')!r} {where}")
        if other.get("sam2") != own["sam2"]:
            told.append(f"SAM 2's weights are {own['sam2']} in the index and {other.get('sam2')} {where}")
        for name in ("dtype", "sam2_dtype"):
            if other.get(name) != own[name]:
                told.append(f"--{name} is {own[name]} in the index and {other.get(name)} {where}")
        options = other.get("options")
        theirs = options if isinstance(options, Mapping) else {}
        defaults = _plain(SegmenterOptions().of_regions())  # what an index had that is older than an option
        for name in sorted({*own["options"], *theirs}):
            mine, yours = (given.get(name, defaults.get(name)) for given in (own["options"], theirs))
            if mine != yours:
                told.append(f"--{name} is {_shown(mine)} in the index and {_shown(yours)} {where}")
        return ", ".join(told)

    def write(self, folder: Path) -> None:
        """Write ``index.json``, whole or not at all.

        Raises:
            UserError: it cannot be written.
        """
        content = {"format": FORMAT, **self.identity(), "models": dict(self.models)}
        write_bytes(folder / FILE, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> IndexSettings:
        """Those of an index.

        Raises:
            UserError: no index, or one that is damaged or of another version.
        """
        path = folder / FILE
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"There is no index in {str(folder)!r}: make one with 'textregion index'.") from None
        except NotADirectoryError:
            raise UserError(f"{str(folder)!r} is a file, no index: give the folder of one.") from None
        except OSError as error:
            raise UserError(f"File {str(path)!r} cannot be read ({error.strerror or error}).") from None
        except (ValueError, RecursionError):
            raise UserError(f"File {str(path)!r} is damaged: copy it from another index of the same models.") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UserError(f"File {str(path)!r} is not of an index of this version: make a new one.")
        try:
            names = {name: str(content[name]) for name in ("encoder", "sam2", "dtype", "sam2_dtype")}
            return cls(**names, options=dict(content["options"]), models=dict(content.get("models") or {}))
        except (KeyError, TypeError, ValueError):
            raise UserError(f"File {str(path)!r} is damaged: copy it from another index of the same models.") from None


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return plain


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
