import math
import zipfile

import numpy as np
import pytest
from delve_npy import has_value
from delve_npy.scalars import DamagedFileError, ScalarTable, array_name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scalars.npz"


def table_of(rows):
    table = ScalarTable()
    for epoch, row in rows.items():
        table.put(epoch, row)
    return table


def test_the_file_is_read_with_plain_numpy(path):
    table_of({0: {"a/b": 0.1}, 1: {"a/b": 0.2, "late": 3.0}}).write(path)
    with np.load(path) as scalars:
        assert scalars.files == ["epoch", "a/b", "late"]
        assert scalars["epoch"].dtype == np.int64
        np.testing.assert_array_equal(scalars["epoch"], [0, 1])
        np.testing.assert_array_equal(scalars["a/b"], [0.1, 0.2])
        np.testing.assert_array_equal(scalars["late"], [math.nan, 3.0])


@pytest.mark.parametrize("name", ["file", "allow_pickle", "kwds", "arr_0", "../up", "/root", "e/"])
def test_no_name_is_special(path, name):
    table_of({0: {name: 1.5}}).write(path)
    with np.load(path) as scalars:
        assert scalars[name] == [1.5]


def test_names_that_numpy_would_mix_up_are_told_apart(path):
    names = ["a", "a.npy", "a\0b", "a\0c", "a\ud800", array_name("a\0b")]
    rows = {0: {name: float(i) for i, name in enumerate(names)}}
    table_of(rows).write(path)
    with np.load(path) as scalars:
        assert [scalars[array_name(name)].item() for name in names] == [0, 1, 2, 3, 4, 5]


def test_a_nan_is_told_from_no_value_also_after_reading_back(path):
    table_of({0: {"a": math.nan}, 1: {"b": 1.0}}).write(path)
    ScalarTable.read(path).write(path)
    with np.load(path) as scalars:
        assert np.isnan(scalars["a"]).all()
        assert has_value(scalars["a"]).tolist() == [True, False]
        assert has_value(scalars["b"]).tolist() == [False, True]


def test_an_epoch_that_comes_again_or_late_takes_its_place(path):
    table = table_of({0: {"a": 0.0}, 2: {"a": 9.0, "b": 9.0}, 1: {"a": 1.0}})
    table.put(2, {"a": 2.0})
    table.write(path)
    with np.load(path) as scalars:
        np.testing.assert_array_equal(scalars["epoch"], [0, 1, 2])
        np.testing.assert_array_equal(scalars["a"], [0, 1, 2])


def test_replacing_an_epoch_drops_what_it_no_longer_has():
    table = ScalarTable()
    table.put(0, {"a": 1.0, "b": 2.0})
    table.put(0, {"a": 3.0})
    assert has_value(table.columns()["b"]).tolist() == [False]


@pytest.mark.parametrize("rows", [{}, {0: {}, 1: {}}, {3: {"a": 1.0}}])
def test_what_was_written_is_read(path, rows):
    table_of(rows).write(path)
    table = ScalarTable.read(path)
    assert table.epochs == sorted(rows)
    assert {name: values.tolist() for name, values in table.columns().items()} == {
        name: [value] for row in rows.values() for name, value in row.items()
    }


def test_any_changed_byte_is_harmless_or_found(path):
    rows = {epoch: {f"metric {i}": epoch + i / 7 for i in range(4)} for epoch in range(5)}
    table_of(rows).write(path)
    whole = path.read_bytes()
    original = {name: values.tolist() for name, values in ScalarTable.read(path).columns().items()}
    found = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        try:
            table = ScalarTable.read(path)
        except DamagedFileError:
            found += 1
        else:
            held = {name: values.tolist() for name, values in table.columns().items()}
            assert (table.epochs, held) == (list(range(5)), original)
    assert found > len(whole) / 3 / 2


def test_a_file_cut_short_anywhere_is_found(path):
    table_of({0: {"a": 1.0}, 1: {"a": 2.0}}).write(path)
    whole = path.read_bytes()
    for length in range(len(whole) - len(b"2 arrays")):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=r"scalars\.npz is damaged"):
            ScalarTable.read(path)


@pytest.mark.parametrize(
    ("epochs", "values"),
    [([0, 0], [1.0, 2.0]), ([1, 0], [1.0, 2.0]), ([0, 1], [1.0]), ([0, 1], [[1.0], [2.0]])],
)
def test_a_file_of_another_shape_is_found(path, epochs, values):
    np.savez(path, epoch=np.array(epochs, np.int64), a=np.array(values))
    with pytest.raises(DamagedFileError):
        ScalarTable.read(path)


def test_a_pickle_is_never_loaded(path):
    np.savez(path, epoch=np.array([0], np.int64), a=np.array([{}], dtype=object))
    with pytest.raises(DamagedFileError, match="allow_pickle"):
        ScalarTable.read(path)


def test_the_zip_file_is_sound(path):
    table_of({0: {"a": 1.0}}).write(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_steps_are_whole_numbers_beside_the_epochs(tmp_path):
    table = ScalarTable()
    table.put(0, {"loss": 0.5}, 100)
    table.put(2, {"loss": 0.25}, 2**53)
    table.put(3, {"loss": 0.25}, 2**53 + 1)
    table.put(4, {"loss": 0.125})
    table.cut(3)
    table.put(3, {"loss": 1.0})
    table.write(tmp_path / "scalars.npz")
    with np.load(tmp_path / "scalars.npz") as arrays:
        assert list(arrays) == ["epoch", "step", "loss"]
        assert arrays["step"].dtype == np.int64
        assert arrays["step"].tolist() == [100, 2**53, -1]
    read = ScalarTable.read(tmp_path / "scalars.npz")
    assert [read.step_of(epoch) for epoch in read.epochs] == [100, 2**53, None]
    assert dict(read.rows()) == dict(table.rows())


def test_a_scalar_that_users_call_step_is_no_training_step(tmp_path):
    table = ScalarTable()
    table.put(0, {"step": 7.0})
    table.write(tmp_path / "scalars.npz")
    read = ScalarTable.read(tmp_path / "scalars.npz")
    assert (read.step_of(0), dict(read.rows())) == (None, {0: {"step": 7.0}})
