"""Arrays in files that tell whether they are as they were written."""

import io
import os
import zlib

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.files.array_file import (
    DamagedArrayError,
    is_remnant,
    is_whole,
    is_written_by_delve,
    may_lack_values,
    read_array,
    write_array,
)


def written(path, array):
    with path.open("wb") as file:
        write_array(file, array)
    return path


def written_by_an_earlier_version(path, array):
    """With its checksum behind it, as a second array."""
    content = io.BytesIO()
    np.save(content, array)
    checksum = np.array(zlib.crc32(content.getvalue()), dtype="<u4")
    np.save(content, checksum)
    path.write_bytes(content.getvalue())
    return path


@given(
    array=arrays.arrays(
        st.sampled_from(["<f8", "<f4", ">f8", "<i8", "?"]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    ),
    order=st.sampled_from("CF"),
)
def test_what_was_written_is_read_also_by_numpy(tmp_path_factory, array, order):
    path = written(tmp_path_factory.mktemp("arrays") / "a.npy", np.asarray(array, order=order))
    for read in (read_array(path), np.load(path, allow_pickle=False), np.load(path, mmap_mode="r")):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_nothing_stands_behind_the_array(tmp_path, dtype):
    array = np.arange(35, dtype=dtype).reshape(5, 7)
    path = written(tmp_path / "a.npy", array)
    assert path.read_bytes().endswith(array.tobytes())
    with path.open("rb") as file:
        np.lib.format.read_array(file)
        assert file.read() == b""


def test_the_checksum_is_that_of_the_file(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        checksum = write_array(file, np.eye(3))
    assert checksum == f"{zlib.crc32(path.read_bytes()):08x}"
    np.testing.assert_array_equal(read_array(path, ["00000000", checksum]), np.eye(3))
    with pytest.raises(DamagedArrayError, match="its checksum is not that of its content"):
        read_array(path, ["00000000"])


WRITERS = [written, written_by_an_earlier_version]


@pytest.mark.parametrize("write", WRITERS)
def test_any_changed_bit_is_found(tmp_path, write):
    path = write(tmp_path / "a.npy", np.linspace(0, 1, 5))
    whole = path.read_bytes()
    checksums = [f"{zlib.crc32(whole):08x}"] if write is written else []
    assert is_written_by_delve(path)
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(DamagedArrayError, match=r"a\.npy is damaged: "):
                read_array(path, checksums)


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_cut_short_is_found_or_holds_the_whole_array(tmp_path, write):
    array = np.linspace(0, 1, 5)
    path = write(tmp_path / "a.npy", array)
    whole = path.read_bytes()
    np.save(tmp_path / "plain.npy", array)
    plain = (tmp_path / "plain.npy").stat().st_size
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if size == plain and write is not written:
            np.testing.assert_array_equal(read_array(path), array)
        else:
            with pytest.raises(DamagedArrayError, match=r"a\.npy is damaged: "):
                read_array(path)


def test_a_block_that_was_never_written_is_found(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        checksum = write_array(file, np.random.default_rng(0).random((64, 64)))
    size = path.stat().st_size
    for kept in (size - 64, 4096, 0):
        path.write_bytes(path.read_bytes()[:kept] + bytes(size - kept))
        with pytest.raises(DamagedArrayError):
            read_array(path, [checksum])
    assert is_remnant(path)


@pytest.mark.parametrize("kept", range(257))
def test_what_breaks_off_within_a_header_of_ours_is_a_remnant(tmp_path, kept):
    content = written(tmp_path / "a.npy", np.eye(3)).read_bytes()
    np.save(tmp_path / "theirs.npy", np.eye(3))
    theirs = (tmp_path / "theirs.npy").read_bytes()
    for behind in (b"", bytes(500)):
        (tmp_path / "a.npy").write_bytes(content[:kept] + behind)
        assert is_remnant(tmp_path / "a.npy") == (kept < 256)
        (tmp_path / "a.npy").write_bytes(theirs[:kept] + behind)
        assert is_remnant(tmp_path / "a.npy") == (kept <= 8)  # nothing but NumPy's mark


@pytest.mark.parametrize(("first", "last", "lacks"), [(0, 0, 0), (512, 1024, 1), (1500, None, 1)])
def test_zeros_where_a_power_cut_leaves_them_are_seen(tmp_path, first, last, lacks):
    path = written(tmp_path / "a.npy", np.random.default_rng(0).random((15, 15)))
    content = bytearray(path.read_bytes())
    content[first:last] = bytes(len(content[first:last]))
    path.write_bytes(content)
    assert may_lack_values(path) == lacks


def test_an_array_of_an_earlier_version_is_sound(tmp_path):
    path = written_by_an_earlier_version(tmp_path / "a.npy", np.eye(3))
    np.testing.assert_array_equal(read_array(path), np.eye(3))
    assert is_written_by_delve(path)
    assert not is_whole(path)


@pytest.mark.parametrize(
    "array",
    [np.eye(3), np.zeros((0, 2)), np.zeros((2,) * 20), np.zeros(3, "f4"), np.zeros(9, "f8,i4,u2")],
)
def test_what_numpy_saves_bears_no_mark(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    assert not is_written_by_delve(tmp_path / "a.npy")
    assert is_whole(tmp_path / "a.npy")


@pytest.mark.parametrize("content", [b"", b"theirs", bytes(300), b"\x93NUMPY\x01\x00", b"x" * 500])
def test_what_is_no_array_bears_no_mark(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    assert not is_written_by_delve(tmp_path / "a.npy")
    assert not is_whole(tmp_path / "a.npy")


def test_an_array_of_very_many_dimensions_is_written_too(tmp_path):
    array = np.zeros((1,) * 60 + (2,) * 4)
    path = written(tmp_path / "a.npy", array)
    assert np.load(path).shape == read_array(path).shape == array.shape


def test_a_file_larger_than_its_header_says_is_not_read(tmp_path):
    path = written(tmp_path / "a.npy", np.eye(3))
    os.truncate(path, 1 << 40)
    with pytest.raises(DamagedArrayError, match="it holds 1099511627776 bytes instead of 328"):
        read_array(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_read_nor_waited_for(tmp_path, make):
    make(tmp_path / "a.npy")
    for read in (read_array, is_written_by_delve, is_whole, is_remnant, may_lack_values):
        with pytest.raises(OSError, match=r"not a plain file|Is a directory|symbolic links"):
            read(tmp_path / "a.npy")


def test_what_numpy_saved_is_taken_as_it_is(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), np.eye(3))


def test_a_pickle_is_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedArrayError, match="allow_pickle=False"):
        read_array(tmp_path / "a.npy")
