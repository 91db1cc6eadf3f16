"""Files of drawn examples: safe names, whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from eval.shared import show
from textregion import UserError

PICTURE = Image.new("RGB", (4, 3), "red")


def test_names_are_made_safe(tmp_path: Path) -> None:
    show.save(PICTURE, tmp_path / "new", 'a/b "c"\n' + "x" * 300)
    (path,) = (tmp_path / "new").iterdir()
    assert path.name.startswith("a_b_c_xxx") and path.suffix == ".png" and len(path.name) < 100
    with Image.open(path) as picture:
        assert picture.size == (4, 3)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"/a\.png' cannot be written \(No space left on device\): free space"):
        show.save(PICTURE, tmp_path, "a")
    assert list(tmp_path.iterdir()) == []
