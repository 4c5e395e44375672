import csv
import os
import re
from zlib import crc32

import numpy as np
import pytest
from support.journals import write_run

from delve.errors import ArgumentError
from delve.files import file_name
from delve.files.checksums import Checksums
from delve.tools import recompute, stored_covariances, write_table

LAYERS = ["conv", "a/b", "fc"]  # one whose folder has another name


def covariance(*eigenvalues, seed=0):
    """A matrix of these eigenvalues in a random basis."""
    size = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return basis @ np.diag(eigenvalues) @ basis.T


def store(run, mode, layer, epoch, matrix):
    folder = run / "npy" / f"{mode}-covariance-matrix" / file_name(layer)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"epoch{epoch:05d}.npy", matrix)


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path, [{"loss": 1.0}], layers=LAYERS)
    for epoch in (0, 1):
        for layer in reversed(LAYERS):
            for mode in ("eval", "train"):
                store(tmp_path, mode, layer, epoch, covariance(6.0, 3.0, 0.9, 0.1))
    return tmp_path


def test_covariances_come_by_epoch_and_layer_in_forward_order_and_mode(run):
    found = [(one.epoch, one.layer, one.mode) for one in stored_covariances(run)]
    assert found == [(e, x, m) for e in (0, 1) for x in LAYERS for m in ("train", "eval")]
    assert {one.epoch for one in stored_covariances(run, 1)} == {1}


def test_dimensionality_is_the_number_of_leading_eigenvalues_that_reach_the_threshold(run):
    rows = list(recompute(stored_covariances(run, 0)[:1], [0.5, 0.9, 0.95, 0.999]))
    assert [row.threshold for row in rows] == [0.5, 0.9, 0.95, 0.999]
    assert [row.intrinsic_dimensionality for row in rows] == [1, 2, 3, 4]
    assert [row.saturation for row in rows] == [0.25, 0.5, 0.75, 1]


def test_a_recorded_saturation_is_found_again_at_its_own_threshold(tmp_path):
    pytest.importorskip("delve_npy")
    import torch
    from torch import nn

    from delve import SaturationTracker
    from delve.journal.stored_run import read_run

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    options = {"stats": ["lsat", "idim", "cov"], "sat_threshold": 0.9}
    with SaturationTracker(tmp_path, "npy", model, **options) as tracker:
        for _ in range(2):
            model(torch.randn(64, 6))
            tracker.add_saturations()
    rows = list(recompute(stored_covariances(tmp_path), [0.9]))
    assert len(rows) == 4
    for row in rows:
        recorded = read_run(tmp_path).records[row.epoch].metrics
        assert row.saturation == recorded[f"{row.mode}-saturation/{row.layer}"]
        key = f"{row.mode}-intrinsic-dimensionality/{row.layer}"
        assert row.intrinsic_dimensionality == recorded[key]


def test_a_table_holds_a_line_for_each_epoch_layer_mode_and_threshold(run, tmp_path):
    path = tmp_path / "table.csv"
    write_table(recompute(stored_covariances(run), [0.9, 0.99]), path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 2 * 2
    assert rows[1] == {
        "epoch": "0",
        "layer": "conv",
        "mode": "train",
        "threshold": "0.99",
        "intrinsic_dimensionality": "3",
        "saturation": "0.75",
    }


def test_a_table_for_a_folder_that_is_not_there_is_refused_before_anything_is_computed(tmp_path):
    def rows():
        pytest.fail("computed in vain")
        yield

    with pytest.raises(ArgumentError, match=f"there is no folder {tmp_path}/no; make it"):
        write_table(rows(), tmp_path / "no" / "table.csv")


def test_a_layer_that_the_journal_does_not_know_comes_last_under_its_folders_name(run):
    store(run, "train", "another", 0, np.eye(2))
    assert stored_covariances(run, 0)[-1].layer == "another"


def test_outputs_that_were_not_finite_give_nan(run):
    store(run, "train", "conv", 0, np.full((3, 3), np.nan))
    (row,) = recompute(stored_covariances(run, 0)[:1], [0.9])
    assert np.isnan([row.saturation, row.intrinsic_dimensionality]).all()


def test_what_is_not_a_number_is_spelt_as_every_reader_takes_it(run, tmp_path):
    store(run, "train", "conv", 0, np.full((3, 3), np.nan))
    write_table(recompute(stored_covariances(run, 0)[:1], [0.9]), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines()[1] == "0,conv,train,0.9,NaN,NaN"


def test_the_folder_is_found_where_another_programs_had_the_name(tmp_path):
    """Whose covariances they are the list of checksums tells."""
    write_run(tmp_path, [{"loss": 1.0}], layers=LAYERS)
    store(tmp_path, "train", "conv", 0, np.eye(2))
    (tmp_path / "npy").rename(tmp_path / "npy-delve")
    store(tmp_path, "train", "conv", 0, np.eye(3))
    path = tmp_path / "npy-delve/train-covariance-matrix/conv/epoch00000.npy"
    checksums = Checksums(tmp_path / "npy-delve")
    checksums.add("train-covariance-matrix/conv/epoch00000.npy", f"{crc32(path.read_bytes()):08x}")
    (one,) = stored_covariances(tmp_path)
    assert one.path == path
    (row,) = recompute([one], [0.4])
    assert row.saturation == 0.5


def test_a_damaged_covariance_is_named(run):
    path = run / "npy/train-covariance-matrix/conv/epoch00000.npy"
    name = path.relative_to(run / "npy").as_posix()
    Checksums(run / "npy").add(name, f"{crc32(path.read_bytes()):08x}")
    list(recompute(stored_covariances(run, 0), [0.9]))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"conv/epoch00000\.npy is damaged"):
        list(recompute(stored_covariances(run, 0), [0.9]))


def test_a_pipe_in_the_place_of_a_covariance_is_named(run):
    path = run / "npy/train-covariance-matrix/conv/epoch00000.npy"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ArgumentError, match="plain file"):
        list(recompute(stored_covariances(run, 0), [0.9]))


def test_other_files_are_passed_over(run):
    before = stored_covariances(run)
    folder = run / "npy" / "train-covariance-matrix" / "conv"
    for name in ("epoch00007.npy.bak", ".epoch00007.npy.tmp", "notes.npy", "epoch7.npy"):
        (folder / name).write_bytes(b"")
    assert stored_covariances(run) == before


@pytest.mark.parametrize("content", [b"", b"no array", None], ids=["empty", "text", "vector"])
def test_a_file_that_holds_no_covariance_is_named(run, content):
    path = run / "npy" / "train-covariance-matrix" / "conv" / "epoch00000.npy"
    np.save(path, np.zeros(3))
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"conv/epoch00000\.npy"):
        list(recompute(stored_covariances(run), [0.9]))


def test_without_covariances_the_error_says_how_to_store_them(tmp_path, run):
    with pytest.raises(ArgumentError, match=r"save_to='npy', stats=\['cov'\]"):
        stored_covariances(write_run(tmp_path / "other", [{"loss": 1.0}]))
    with pytest.raises(ArgumentError, match="of epoch 5; it does of these: 0-1"):
        stored_covariances(run, 5)


@pytest.mark.parametrize(
    "name",
    [
        "npy",
        "npy/train-covariance-matrix",
        "npy/train-covariance-matrix/conv",
        "npy/train-covariance-matrix/conv/epoch00000.npy",
    ],
)
def test_a_link_to_somebody_elses_covariances_is_not_followed(name, run, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("private") / "kept"
    path = run / name
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(
        ArgumentError, match=rf"{re.escape(str(path))} is (a link|not a plain file)"
    ):
        list(recompute(stored_covariances(run), [0.9]))


def test_a_list_of_checksums_that_is_far_too_large_is_not_read(run):
    with (run / "npy/checksums.jsonl").open("wb") as file:
        file.truncate(1 << 40)  # which takes no disk
    with pytest.raises(ArgumentError, match=r"checksums\.jsonl holds 1099511627776 bytes"):
        stored_covariances(run)
