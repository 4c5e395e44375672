import contextlib
import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.errors import WriterConfigurationError
from delve.files import (
    file_name,
    free_name,
    is_plain,
    open_plain,
    refuse_if_larger,
    refuse_unless_plain,
    replacing,
    set_aside,
    taken_names,
    unfinished_name,
)

AWKWARD = [
    "../../x",
    "a/b",
    "a\\b",
    "con",
    "CON.txt",
    ".",
    "..",
    "",
    ".hidden",
    "a\nb",
    "ü",
    "🙂",
    "x" * 300,
]


@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_name_becomes_one_plain_file(tmp_path, name):
    path = tmp_path / file_name(name)
    path.write_text("here")
    assert [path.name for path in tmp_path.iterdir()] == [path.name]
    assert path.resolve().parent == tmp_path.resolve()


DEVICES = ["con", "prn", "aux", "nul", "com1", "com9", "lpt1", "lpt9"]


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("end", ["", ".", ".txt", ".weight", ".tar.gz"])
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_what_windows_takes_for_a_device_is_no_file(name, end, case):
    """With whatever behind the first dot, and in any case."""
    stem, _, _ = file_name(case(name) + end).partition(".")
    assert stem.lower().rstrip() not in DEVICES
    assert file_name(case(name) + end).startswith(f"_{case(name)}")


@pytest.mark.parametrize(
    "name", ["console", "conv1", "com", "com10", "lpt", "null", "auxiliary.0", "layer.con", "acon"]
)
def test_what_only_looks_like_a_device_stands_as_it_is(name):
    assert file_name(name) == name


@pytest.mark.parametrize("name", ["accuracy", "layer1.0.conv1", "Linear-0"])
def test_a_plain_name_stands_as_it_is(name):
    assert file_name(name) == name


@given(st.lists(st.text(max_size=20), unique=True, min_size=2, max_size=2))
def test_two_names_never_meet_in_one_file(names):
    assert file_name(names[0]) != file_name(names[1])


@given(st.one_of(st.sampled_from(AWKWARD), st.text(max_size=20)))
def test_a_name_that_is_another_names_file_has_a_file_of_its_own(name):
    file = file_name(name)
    assert file == name or file_name(file) != file


@pytest.mark.parametrize("name", ["a-c14cddc0", "-00000000", "train-saturation-deadbeef"])
def test_a_name_that_ends_as_if_it_had_been_changed_is_changed(name):
    assert file_name(name) != name
    assert file_name(name).startswith(f"_{name}-")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_what_is_no_plain_file_is_not_opened_nor_waited_for(tmp_path, make):
    make(tmp_path / "file")
    with pytest.raises(OSError, match=r"not a plain file|Is a directory|symbolic links"):
        open_plain(tmp_path / "file", os.O_RDONLY)
    assert not (tmp_path / "elsewhere").exists()


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


def test_another_name_is_found_where_the_first_is_taken(tmp_path):
    path = tmp_path / "table.csv"
    names = ["table.csv", "table-delve.csv", "table-delve-2.csv", "table-delve-3.csv"]
    for taken, name in enumerate(names):
        assert free_name(path).name == name
        assert [one.name for one in taken_names(path)] == names[:taken]
        free_name(path).symlink_to("nowhere")
    path.unlink()
    assert free_name(path) == path
    assert [one.name for one in taken_names(path)] == names[1:]
    assert free_name(tmp_path / "npy") == tmp_path / "npy"


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


def test_what_is_set_aside_takes_no_name_that_a_link_has(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    (tmp_path / "a.damaged.csv").symlink_to("nowhere")
    assert set_aside(tmp_path / "a.csv", "damaged").name == "a.damaged-2.csv"
    assert (tmp_path / "a.damaged.csv").is_symlink()
