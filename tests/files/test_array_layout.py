"""The one place that says where a run's arrays and scalars lie."""

import numpy as np
import pytest

from delve.files import (
    SCALARS,
    SCALARS_MARK_LENGTH,
    Checksums,
    array_files,
    array_folder,
    array_group,
    array_name,
    array_place,
    has_scalars_mark,
    scalars_file,
    scalars_mark,
)
from delve.records import Metric

METRIC = Metric("train", "covariance-matrix", "layer1.0/conv")


def test_an_array_lies_by_mode_statistic_layer_and_epoch(tmp_path):
    place = array_place(METRIC)
    assert place[0] == array_group("train", "covariance-matrix") == "train-covariance-matrix"
    assert place[1].startswith("_layer1.0_conv-")  # a name that stays in its folder
    files = array_files(tmp_path)
    path = files.make_place(*place) / array_name(3)
    np.save(path, np.eye(2))
    assert path.relative_to(tmp_path).as_posix() == f"{'/'.join(place)}/epoch00003.npy"
    assert [files.in_place(found) for found in files.places()] == [{3: path}]


def test_the_folder_is_the_last_that_delve_has_marked(tmp_path):
    assert array_folder(tmp_path) == tmp_path / "npy"
    (tmp_path / "npy").mkdir()  # another program's
    assert array_folder(tmp_path) == tmp_path / "npy"
    (tmp_path / "npy-delve").mkdir()
    Checksums(tmp_path / "npy-delve").add("a", "0" * 8)
    assert array_folder(tmp_path) == tmp_path / "npy-delve"


def test_the_file_of_scalars_is_the_one_that_came_last(tmp_path):
    assert scalars_file(tmp_path) == tmp_path / SCALARS
    for name in (SCALARS, "scalars-delve.npz", "scalars-delve-2.npz"):
        (tmp_path / name).touch()
        assert scalars_file(tmp_path) == tmp_path / name


@pytest.mark.parametrize("count", [0, 1, 10**12])
def test_the_mark_of_scalars_is_found_at_the_end_alone(count):
    mark = scalars_mark(count)
    assert len(mark) <= SCALARS_MARK_LENGTH
    assert has_scalars_mark(b"PK" + mark)
    assert not has_scalars_mark(mark + b" ")
    assert not has_scalars_mark(b"an archive of arrays")
