"""What is said of a place that cannot be written to: what is wrong there, and the remedy for that."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from textregion import UserError
from textregion.files import cannot_write, check_folder, write_bytes


def test_a_file_is_written_whole_and_folders_are_made(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "c.txt", b"whole")
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"whole"
    assert os.listdir(tmp_path / "a/b") == ["c.txt"]


def test_a_file_where_a_folder_is_wanted(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    said = f"({str(taken)!r} is a file where a folder is wanted): move it away or choose another folder."
    for path in (taken / "a.txt", taken / "deep" / "a.txt"):
        with pytest.raises(UserError) as caught:
            write_bytes(path, b"")
        assert str(caught.value) == f"File {str(path)!r} cannot be written {said}"
    with pytest.raises(FileExistsError) as made:
        taken.mkdir(exist_ok=True)
    assert str(cannot_write(taken, made.value, "Folder")) == f"Folder {str(taken)!r} cannot be written {said}"
    assert taken.read_text() == "mine"


def test_a_folder_where_a_file_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(
        UserError, match=r"a\.txt' cannot be written \(it is a folder where a file is wanted\): move it"
    ):
        write_bytes(tmp_path / "a.txt", b"")


def test_a_link_that_leads_nowhere_and_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"gone' is a link that leads nowhere where a folder is wanted\): move it away"):
        write_bytes(tmp_path / "gone" / "a.txt", b"")
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    with pytest.raises(UserError, match=r"one' is a link that leads nowhere where a folder is wanted"):
        write_bytes(tmp_path / "one" / "a.txt", b"")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\(File name too long\): choose a shorter name\.$"):
        write_bytes(tmp_path / ("a" * 300), b"")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    assert f"(there is no folder {str(tmp_path / 'b')!r}): make it or" in str(cannot_write(tmp_path / "b/a", error))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space or choose another folder"),
        (errno.EDQUOT, "free space or choose another folder"),
        (errno.EROFS, "choose a folder that is not read-only"),
        (errno.EFBIG, "choose a folder on another file system"),
        (errno.EMFILE, "raise the limit with ulimit -n"),
        (errno.EIO, "check the disk or choose another folder"),
        (errno.EPIPE, "choose another folder"),
    ],
)
def test_every_reason_has_its_own_remedy(number: int, remedy: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    error = OSError(number, os.strerror(number))
    assert str(cannot_write(path, error)) == f"File {str(path)!r} cannot be written ({error.strerror}): {remedy}."


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_no_permission_names_where(number: int, tmp_path: Path) -> None:
    error = PermissionError(number, os.strerror(number))
    path = tmp_path / "b" / "a.txt"
    where = f"(no permission to write to {str(tmp_path)!r})"
    remedy = "change its permissions or choose another folder"
    assert str(cannot_write(path, error)) == f"File {str(path)!r} cannot be written {where}: {remedy}."
    (tmp_path / "a.txt").touch()
    assert f"write to {str(tmp_path / 'a.txt')!r})" in str(cannot_write(tmp_path / "a.txt", error))


def test_an_error_without_a_number_is_told_as_it_is(tmp_path: Path) -> None:
    assert "(of its own): choose another folder." in str(cannot_write(tmp_path / "a", OSError("of its own")))


def test_a_folder_is_checked_before_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_folder(tmp_path, "Folder")
    check_folder(tmp_path / "a" / "b", "Folder")
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"^Folder .*file' is a file where a folder is wanted\): move it away"):
            check_folder(folder, "Folder")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(UserError, match=rf"no permission to write to '{tmp_path}'"):
        check_folder(tmp_path / "a" / "b", "Folder")


def test_a_relative_path_is_looked_at_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").touch()
    with pytest.raises(UserError, match=r"^File 'out/a\.txt' cannot be written \('out' is a file where a folder"):
        write_bytes("out/a.txt", b"")
    check_folder("new", "Folder")
