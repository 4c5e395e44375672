"""Arrays in files that tell whether they are as they were written."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.array_file import DamagedArrayError, read_array, write_array


def written(path, array):
    with path.open("wb") as file:
        write_array(file, array)
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


def test_any_changed_bit_is_found(tmp_path):
    path = written(tmp_path / "a.npy", np.linspace(0, 1, 5))
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(DamagedArrayError, match=r"a\.npy is damaged: "):
                read_array(path)


def test_a_file_cut_short_is_found_or_holds_the_whole_array(tmp_path):
    array = np.linspace(0, 1, 5)
    path = written(tmp_path / "a.npy", array)
    whole = path.read_bytes()
    np.save(tmp_path / "plain.npy", array)
    plain = (tmp_path / "plain.npy").stat().st_size
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if size == plain:
            np.testing.assert_array_equal(read_array(path), array)
        else:
            with pytest.raises(DamagedArrayError, match=r"a\.npy is damaged: "):
                read_array(path)


def test_a_block_that_was_never_written_is_found(tmp_path):
    path = written(tmp_path / "a.npy", np.random.default_rng(0).random((64, 64)))
    size = path.stat().st_size
    for kept in (0, 4096, size - 64):
        path.write_bytes(path.read_bytes()[:kept] + bytes(size - kept))
        with pytest.raises(DamagedArrayError):
            read_array(path)


def test_what_numpy_saved_is_taken_as_it_is(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), np.eye(3))


def test_a_pickle_is_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedArrayError, match="allow_pickle=False"):
        read_array(tmp_path / "a.npy")
