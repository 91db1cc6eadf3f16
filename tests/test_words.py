"""Class files, and what separates one word from the next."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textregion import ClassWords, UserError
from textregion.words import against_background, as_words, split_words

ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cls.txt"


def test_a_semicolon_separates_with_any_blanks_and_a_lines_own_blanks_stay(path: Path) -> None:
    path.write_bytes(b"sky; wall ;tree;road \t;\tsea\nbuilding\n wood ")
    words = ClassWords.from_file(path)
    assert words.words == ("sky", "wall", "tree", "road", "sea", "building", " wood ")
    assert words.class_of == (0, 0, 0, 0, 0, 1, 2)
    assert words.num_classes == 3
    assert ClassWords.from_lines(["sky;sea", "wood "]) == ClassWords(("sky", "sea", "wood "), (0, 0, 1))


@given(st.lists(st.lists(st.text("abc xyz", min_size=1).filter(str.strip), min_size=1), min_size=1))
def test_words_that_are_joined_are_found_again(classes: list[list[str]]) -> None:
    classes = [[word.strip() for word in words] for words in classes]
    found = ClassWords.from_lines([" ; ".join(words) for words in classes])
    assert list(found.words) == [word for words in classes for word in words]
    assert list(found.class_of) == [index for index, words in enumerate(classes) for _ in words]


@pytest.mark.parametrize(
    ("name", "classes", "words", "digest"),
    [
        ("voc21", 21, 46, "0ddda54e24e8"),
        ("voc20", 20, 20, "b5a0244d38e6"),
        ("context60", 60, 60, "a07235ac576f"),
        ("context59", 59, 59, "2fd11ca6274d"),
        ("coco_object", 81, 97, "fe39f330e3ed"),
        ("coco_stuff", 171, 171, "a9a1e2fc012e"),
        ("city_scapes", 19, 19, "95c90c2700d6"),
        ("ade20k", 150, 150, "57349a2268c4"),
        ("ade20k847", 847, 847, "537083eafac1"),
        ("context459", 459, 459, "a5f3212b7370"),
        ("scenes", 19, 24, "44fbe41f2bcb"),
    ],
)
def test_the_words_of_the_configs_are_byte_for_byte_what_they_were(
    name: str, classes: int, words: int, digest: str
) -> None:
    found = ClassWords.from_file(ROOT / "configs" / f"cls_{name}.txt", comma_names=True)
    assert (found.num_classes, len(found.words)) == (classes, words)
    assert hashlib.sha256("\0".join(found.words).encode()).hexdigest().startswith(digest)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfsky; sea\nwood\n",
        b"sky; sea\r\nwood\r\n",
        b"sky; sea\rwood",
        b"sky; sea\nwood\n\n \n",
        b"# grounds\nsky; sea\n  # things\nwood\n# the end",
        b"\tsky; sea\t\nwood\t",
        b"\xef\xbb\xbf# made on Windows\r\nsky ;sea\r\nwood\r\n\r\n",
    ],
)
def test_files_of_any_editor_give_the_same_words(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    assert ClassWords.from_file(path) == ClassWords(("sky", "sea", "wood"), (0, 0, 1))


def test_a_comma_is_part_of_a_name_and_the_line_is_named(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("# grounds\nsky, grass\nhouse; hut\ncar|van\nbuilding; edifice, tower\ndog # brown\na, b\n")
    with caplog.at_level(logging.WARNING):
        words = ClassWords.from_file(path)
    assert words.words == ("sky, grass", "house", "hut", "car|van", "building", "edifice, tower", "dog # brown", "a, b")
    assert caplog.messages == [
        f"Class file {str(path)!r}: only ';' separates words, so 'sky, grass' in line 2 is one word "
        "(so in line 4, 5, 6 and 1 more)."
    ]
    caplog.clear()
    assert ClassWords.from_file(path, comma_names=True) == words
    path.write_text("sky; sea\nhouse-boat/barge\n")
    ClassWords.from_file(path)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "There are no words in class file"),
        (b"\n\n", "no words"),
        (b"# nothing but a remark\n", "no words"),
        (b"sky\n\nsea\n", "Line 2 of class file"),
        (b"# grounds\r\nsky\r\n\r\nsea\r\n", "Line 3"),
        (b"sky; \n", "Line 1"),
        (b"sky;;sea\n", "Line 1"),
        (b";\n", "Line 1"),
        (b"sky\n0\tsea\n", "Line 2 of class file .* tab"),
        (b"\xff\xfes\0k\0y\0", "is not UTF-8"),
        (b"s\0k\0y\0", "is not UTF-8"),
        (b"caf\xe9", "is not UTF-8"),
    ],
)
def test_a_bad_class_file_is_one_sentence(content: bytes, said: str, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        ClassWords.from_file(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).count("\n") == 0
    with pytest.raises(UserError, match=r"^Class file .*none\.txt' cannot be read: No such file"):
        ClassWords.from_file(path.with_name("none.txt"))


def test_a_single_word_has_the_background_beside_it() -> None:
    assert against_background(["zebra"]) == ("zebra", "background")
    assert against_background(["zebra"], "anything else") == ("zebra", "anything else")
    assert against_background(["zebra"], "") == ("zebra",)
    assert against_background(["background"]) == ("background",)
    assert against_background(("zebra", "horse")) == ("zebra", "horse")
    assert against_background([]) == ()


def test_words_between_separators() -> None:
    assert split_words(" sky ;; grass ; ") == ["sky", "grass"]
    assert split_words("sky, grass; a car", ",;") == ["sky", "grass", "a car"]
    assert split_words("sky, grass") == ["sky, grass"]
    assert split_words(" ; ") == []


def test_words_come_in_whatever_has_an_order() -> None:
    words = ("dog", "cat")
    for same in (["dog", "cat"], np.array(["dog", "cat"]), (word for word in words), words):
        assert as_words(same) == words
