import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.files import (
    file_name,
    free_name,
    taken_names,
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
