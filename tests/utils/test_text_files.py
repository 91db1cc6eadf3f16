"""Lists, JSON and JSON lines as other programs write them, and what is no such thing."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest

from textregion import UserError
from utils.text_files import read_json, read_json_lines, read_lines, read_text, visible

GERMAN = "Mädchen mit “Eis” – 5 €"
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "cp1252"]
LINE_ENDS = ["\n", "\r\n", "\r"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", LINE_ENDS)
def test_every_encoding_and_line_end(encoding: str, end: str, tmp_path: Path) -> None:
    records = [{"raw": GERMAN, "n": 1}, {"raw": "line\u2028two\x85"}] if encoding != "cp1252" else [{"raw": GERMAN}] * 2
    texts = [json.dumps(record, ensure_ascii=False) for record in records]
    for text in (end.join(texts), end + end.join(texts) + end, f"{texts[0]} {end}\t{end} {end}{texts[1]}{end}{end}"):
        (tmp_path / "a.jsonl").write_bytes(text.encode(encoding))
        assert [value for _, value in read_json_lines(tmp_path / "a.jsonl", "")] == records
    (tmp_path / "a.json").write_bytes(
        json.dumps(records, ensure_ascii=False, indent=1).replace("\n", end).encode(encoding)
    )
    assert read_json(tmp_path / "a.json", "") == records
    (tmp_path / "a.txt").write_bytes(f"{end}{GERMAN}{end}  {end}second {end}".encode(encoding))
    assert read_lines(tmp_path / "a.txt", "") == [(2, GERMAN), (4, "second")]


def test_what_is_not_unicode_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.txt"
    for data, text, encoding in ((b"caf\xe9 \x80", "café €", "cp1252"), (b"caf\xe9 \x81", "café \x81", "Latin-1")):
        path.write_bytes(data)
        caplog.clear()
        assert read_text(path, "") == text
        assert [record.getMessage() for record in caplog.records] == [
            f"File {str(path)!r} is not UTF-8 and is read as {encoding}."
        ]
    caplog.clear()
    path.write_text(GERMAN, encoding="utf-8")
    assert read_text(path, "") == GERMAN and not caplog.records


def test_numbers_of_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\n{"a": 1}\n\n{"a": 2}')
    assert read_json_lines(path, "") == [(2, {"a": 1}), (4, {"a": 2})]
    path.write_bytes(b'\n{"a": 1}\n\n{"a": 2\n')
    with pytest.raises(UserError, match=r"Line 4 of .*a\.jsonl' is not JSON \(Expecting ',' delimiter"):
        read_json_lines(path, "")


def test_arrays_commas_and_joined_files(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    mark = codecs.BOM_UTF8
    for data in (
        b'{"a": 1},\n{"a": 2}',
        b'[\n{"a": 1},\n{"a": 2}\n]\n',
        b'[{"a": 1}, {"a": 2}]',
        mark + b'{"a": 1}\n' + mark + b'{"a": 2}\n\x1a',
    ):
        path.write_bytes(data)
        assert [value for _, value in read_json_lines(path, "")] == [{"a": 1}, {"a": 2}]
    path.write_bytes(b"[1, 2]\n[3]\n")
    assert read_json_lines(path, "") == [(1, [1, 2]), (2, [3])]
    path.write_bytes(b"")
    assert read_json_lines(path, "") == [] == read_lines(path, "")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b"[" * 20000, "brackets"),
        (b'{"a": \0 1}    ', "is no text"),
        (b"\xff\xfe\x00", "begins as utf-16 text and is none: save it as UTF-8"),
        (b"9" * 5000, "is not JSON"),
    ],
)
def test_what_is_no_json_is_one_sentence(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        read_json(tmp_path / "a.json", "")
    assert "a.json" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_not_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.json' does not exist: write it first\.$"):
        read_json(tmp_path / "a.json", "write it first")
    with pytest.raises(UserError, match=r"is a folder where a file is wanted: write it first\.$"):
        read_json(tmp_path, "write it first")


def test_hidden_files_and_folders_are_no_data(tmp_path: Path) -> None:
    for name in ("b.json", "._b.json", ".DS_Store", "a.json"):
        (tmp_path / name).touch()
    (tmp_path / "c.json").mkdir()
    assert [path.name for path in visible(tmp_path.iterdir())] == ["a.json", "b.json"]
