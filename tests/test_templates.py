"""What words are put into, by name, from files and from lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

from textregion import UserError
from textregion.templates import IMAGENET, load_templates


@pytest.mark.parametrize("word", ["red truck", "{}", "{c}", "100 %s", "\\1"])
def test_the_built_in_ones_by_name(word: str) -> None:
    assert load_templates("imagenet") is load_templates(IMAGENET) is IMAGENET
    assert IMAGENET.fill(word) == [template(word) for template in OPENAI_IMAGENET_TEMPLATES]
    assert [len(load_templates(name)) for name in ("imagenet", "simple", "none")] == [80, 7, 1]
    assert load_templates("none").fill(word) == [word]
    assert load_templates("simple").fill(word)[::6] == [f"itap of a {word}.", f"a photo of the small {word}."]
    assert [load_templates(name).setting for name in ("imagenet", "simple", "none")] == ["imagenet", "simple", "none"]


@pytest.mark.parametrize(
    "content",
    [
        b"a photo of a {}.\n{} and another {}\n",
        b"\xef\xbb\xbf# mine\r\na photo of a {}.\r\n\r\n  {} and another {}\t\r\n",
        b"a photo of a {}.\n\n# more\n{} and another {}",
    ],
)
def test_a_file_has_one_a_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    found = load_templates(path)
    assert found == load_templates(str(path)) == load_templates(["a photo of a {}.", "{} and another {}"])
    assert found.fill("cup") == ["a photo of a cup.", "cup and another cup"]
    assert found.setting == ["a photo of a {}.", "{} and another {}"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "There are no templates in template file"),
        (b"# a remark\n", "no templates"),
        (b"# a remark\na photo of a {}.\na photo\n", "Line 3 of template file .* has no place for the word"),
        (b"a photo of a {c}.\n", "write it as 'a photo of a {}.'"),
        (b"caf\xe9 {}\n", "is not UTF-8"),
    ],
)
def test_a_bad_file_is_one_sentence(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        load_templates(path)
    assert str(path) in str(caught.value)


def test_what_is_neither_a_name_nor_a_file_and_a_bad_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'imagnet' are neither imagenet, simple, none nor a file"):
        load_templates("imagnet")
    with pytest.raises(UserError, match="cannot be read"):
        load_templates(tmp_path)
    with pytest.raises(UserError, match="Line 2 of the list of templates"):
        load_templates(["{}", 3])  # type: ignore[list-item]
    with pytest.raises(UserError, match="no templates in the list"):
        load_templates([])
