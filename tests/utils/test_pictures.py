"""The demo's YAML as other systems write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from textregion import UserError
from utils.pictures import read_queries


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_and_line_end(encoding: str, end: str, tmp_path: Path) -> None:
    text = f"a.png:{end}  label: [Mädchen, dog]{end}{end}b.png:{end}  label: [tree]{end}"
    (tmp_path / "words.yaml").write_bytes(text.encode(encoding))
    read = read_queries(tmp_path / "words.yaml", tmp_path)
    assert {path.name: words for path, words in read.items()} == {"a.png": ("Mädchen", "dog"), "b.png": ("tree",)}


def test_a_missing_file_is_told_with_the_option(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"words\.yaml' does not exist: check --image_query_cfg"):
        read_queries(tmp_path / "words.yaml", tmp_path)
