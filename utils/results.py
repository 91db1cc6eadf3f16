"""What a program leaves behind: files that are whole or not there, and results with settings and versions."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textregion.files import write_bytes

if TYPE_CHECKING:
    from textregion import TextRegionSegmenter

PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "sam2", "numpy", "opencv-python", "onedl-mmsegmentation")


def settings_of(segmenter: TextRegionSegmenter, **data: Any) -> dict[str, Any]:
    """Every setting that a number depends on, as plain JSON values: models, precisions, templates, options, and
    ``data``, which tells what is evaluated and how."""
    text = {"templates": segmenter.text.templates.setting}
    return dict(
        plain(
            {
                "models": segmenter.model_names,
                **segmenter.dtypes,
                **text,
                "options": segmenter.options.as_dict(),
                **data,
            }
        )
    )


def write_results(path: str | os.PathLike[str], results: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write results with settings, versions and revision beside them; whole or not at all.

    Two runs on one machine write the same bytes, apart from ``results["timing"]``, which is put last.

    Raises:
        UserError: the file cannot be written.
    """
    document = {key: value for key, value in results.items() if key != "timing"}
    document |= {"settings": settings, "versions": versions(), "revision": revision()}
    if "timing" in results:
        document["timing"] = results["timing"]
    write_text(path, json.dumps(plain(document), indent=2) + "\n")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole or not at all (see :func:`textregion.files.write_bytes`), as UTF-8.

    Raises:
        UserError: the file cannot be written.
    """
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def versions() -> dict[str, str]:
    """Versions of Python and of every package that a number may depend on, where installed."""
    found = {"python": platform.python_version()}
    for name in ("textregion", *PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def revision() -> str | None:
    """Git revision of this checkout (``-dirty`` where files were changed), or None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def plain(value: Any) -> Any:
    """A value as JSON keeps it: lists for tuples, text for paths, None for NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
