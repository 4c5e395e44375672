"""Files that are whole or not there."""

import contextlib
import errno
import os

import pytest

from delve.files import (
    replacing,
    set_aside,
    unfinished_name,
)


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "table"
    path.write_text("old")
    with contextlib.suppress(RuntimeError), replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_a_replaced_file_is_whole_and_has_the_usual_permissions(tmp_path):
    path, usual = tmp_path / "table", tmp_path / "usual"
    usual.touch()
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode == usual.stat().st_mode


def test_a_link_left_in_the_temporary_files_place_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("keep")
    (tmp_path / ".table.tmp").symlink_to(outside)
    with replacing(tmp_path / "table") as file:
        file.write(b"new")
    assert outside.read_text() == "keep"


def test_an_error_that_names_no_file_gets_the_path(tmp_path):
    path = tmp_path / "table"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match=r"written: .*No space") as raised, replacing(path):
        raise full
    assert str(path) in str(raised.value)
    assert raised.value.__cause__ is full
    assert not any(tmp_path.iterdir())


def test_an_error_that_names_its_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, replacing(tmp_path / "missing" / "table"):
        pass
    assert raised.value.filename == str(tmp_path / "missing" / unfinished_name("table"))


def test_a_file_has_its_unfinished_name_until_it_is_whole(tmp_path):
    with replacing(tmp_path / "table"):
        assert [path.name for path in tmp_path.iterdir()] == [unfinished_name("table")]
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_what_is_set_aside_takes_no_name_that_a_link_has(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    (tmp_path / "a.damaged.csv").symlink_to("nowhere")
    assert set_aside(tmp_path / "a.csv", "damaged").name == "a.damaged-2.csv"
    assert (tmp_path / "a.damaged.csv").is_symlink()
