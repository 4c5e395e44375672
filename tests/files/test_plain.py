"""Files that are files."""

import os

import pytest

from delve.errors import WriterConfigurationError
from delve.files import (
    is_plain,
    open_plain,
    refuse_if_larger,
    refuse_unless_plain,
)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_what_is_no_plain_file_is_not_opened_nor_waited_for(tmp_path, make):
    make(tmp_path / "file")
    with pytest.raises(OSError, match=r"not a plain file|Is a directory|symbolic links"):
        open_plain(tmp_path / "file", os.O_RDONLY)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.mkfifo, "a pipe"),
        (os.mkdir, "a folder"),
        (lambda path: path.symlink_to("elsewhere"), "a link"),
        (lambda path: path.symlink_to("/dev/zero"), "a link"),
    ],
)
def test_what_stands_in_place_of_a_file_is_refused_by_name(tmp_path, make, what):
    make(tmp_path / "file")
    assert not is_plain(tmp_path / "file")
    with pytest.raises(
        WriterConfigurationError, match=f"{tmp_path}/file is {what}, .*move it away"
    ):
        refuse_unless_plain(tmp_path / "file")


def test_a_file_or_nothing_is_not_refused(tmp_path):
    refuse_unless_plain(tmp_path / "file")
    assert not is_plain(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"1234")
    refuse_unless_plain(tmp_path / "file")
    refuse_if_larger(tmp_path / "file", 4)
    assert is_plain(tmp_path / "file")
    assert not is_plain(tmp_path / "file" / "deeper")
    with pytest.raises(WriterConfigurationError, match="file holds 4 bytes, far more than"):
        refuse_if_larger(tmp_path / "file", 3)
