"""Several writers given as one, which are fed apart all the same."""

import csv

import numpy as np
import pytest
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError, WriterContractError
from delve.writers import CompositWriter, PrintWriter


@pytest.fixture
def csv_and_npy():
    """Makes the writers of two plugins for a folder, as a user of delve 0.1 does."""
    table, arrays = pytest.importorskip("delve_csv"), pytest.importorskip("delve_npy")
    return lambda folder: [table.CSVWriter(str(folder)), arrays.NPYWriter(str(folder))]


def losses_of_csv(folder):
    with (folder / "metrics.csv").open() as file:
        return {int(row["epoch"]): float(row["loss"]) for row in csv.DictReader(file)}


def losses_of_npy(folder):
    with np.load(folder / "npy" / "scalars.npz") as scalars:
        return dict(zip(scalars["epoch"].tolist(), scalars["loss"].tolist(), strict=True))


def train(folder, save_to, first, last):
    with SaturationTracker(folder, save_to, nn.Linear(2, 2), initial_epoch=first) as tracker:
        for epoch in range(first, last):
            tracker.add_scalar("loss", 1 / (epoch + 1))
            tracker.save()


@pytest.mark.parametrize("fails_first", [True, False])
def test_of_two_writers_in_a_composite_one_fails_and_the_other_gets_all(
    csv_and_npy, tmp_path, caplog, fails_first
):
    """And the one that failed gets what it missed by itself, when its backend is back."""
    folder = tmp_path / "run"
    table, kept = folder / "metrics.csv", folder / "kept.csv"
    order = slice(None, None, 1 if fails_first else -1)
    composite = CompositWriter(csv_and_npy(folder)[order])
    with SaturationTracker(folder, composite, nn.Linear(2, 2)) as tracker:
        for epoch in range(4):
            tracker.add_scalar("loss", 1 / (epoch + 1))
            tracker.save()
            if epoch == 1:
                table.rename(kept)
                table.mkdir()
    wanted = {epoch: 1 / (epoch + 1) for epoch in range(4)}
    assert losses_of_npy(folder) == wanted
    assert "writer 'CSVWriter' did not get epochs 2-3" in caplog.text
    assert "NPYWriter" not in caplog.text
    table.rmdir()
    kept.rename(table)
    train(folder, CompositWriter(csv_and_npy(folder)[order]), 4, 5)
    wanted[4] = 1 / 5
    assert losses_of_csv(folder) == losses_of_npy(folder) == wanted


def test_a_composite_stands_for_its_writers_wherever_it_stands(tmp_path):
    class Remembers(Recorder):
        def start(self, run):
            run.remember(number=self.number)  # type: ignore[attr-defined]

        def resume_from_saved_state(self, run):
            self.found = run.state

    inner = [Remembers() for _ in range(3)]
    for number, writer in enumerate(inner):
        writer.number = number  # type: ignore[attr-defined]
    first, *others = inner
    save_to = [first, CompositWriter([others[0], CompositWriter([others[1], first])]), "print"]
    train(tmp_path / "run", save_to, 0, 2)
    assert [writer.hooks.count("save") for writer in inner] == [2, 2, 2]  # none of them twice
    train(tmp_path / "run", save_to, 2, 3)
    assert [writer.found for writer in inner] == [{"number": n} for n in range(3)]


def test_a_composite_keeps_its_writers_as_delve_01_has_it():
    writers = (Recorder(), PrintWriter())
    assert CompositWriter(writers).writers == list(writers)
    assert CompositWriter(writers=list(writers)).writers == list(writers)


def test_a_composite_with_hooks_of_its_own_is_refused(tmp_path):
    class Mine(CompositWriter):
        def save(self, epoch):
            pass

    with pytest.raises(WriterContractError, match=r"'Mine': .* methods of its own \(save\), but"):
        SaturationTracker(tmp_path / "run", Mine([Recorder()]), nn.Linear(2, 2))
    assert not (tmp_path / "run").exists()


def test_an_empty_composite_names_no_writer(tmp_path):
    with pytest.raises(ArgumentError, match="name at least one writer"):
        SaturationTracker(tmp_path / "run", CompositWriter([]), nn.Linear(2, 2))
