"""What must not be cut: epochs that a backend holds and the journal does not know."""

import pytest
from support.json_writers import JsonWriter

from delve.delivery.checked_writer import check_writer
from delve.delivery.unknown_epochs import unknown_epochs
from delve.journal.contents import read_contents
from delve.journal.journal import Journal
from delve.records import EpochRecord


def begun(folder, *epochs):
    """The contents of a run's journal that has recorded these epochs."""
    journal = Journal.create(folder, ["fc"], {})
    for epoch in epochs:
        journal.write_epoch(EpochRecord(epoch, 1, {"loss": float(epoch)}, {}), ["fc"])
    journal.close()
    with (folder / "journal.jsonl").open("rb") as file:
        return read_contents(file)


def holding(folder, *epochs, add=0.0, name="mine"):
    writer = JsonWriter(folder)
    for epoch in epochs:
        writer.add_scalar("loss", epoch + add, epoch)
        writer.save(epoch)
    return check_writer(name, JsonWriter(folder))


class Cannot:
    def held_epochs(self, run):
        raise OSError("torn in two")


def test_what_a_backend_holds_is_told_in_words(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    writers = [holding(one, 0, 1, 2, name="a"), holding(other, 0, 1, 2, name="b")]
    assert unknown_epochs(tmp_path, begun(tmp_path), writers) == ["a, b hold epochs 0-2"]
    assert unknown_epochs(tmp_path, begun(tmp_path), writers[:1]) == ["a holds epochs 0-2"]


@pytest.mark.parametrize(
    ("following", "told"),
    [(0, ["mine holds epochs 0, 2-3"]), (3, ["mine holds epoch 3"]), (4, [])],
)
def test_only_what_would_be_cut_counts(tmp_path, following, told):
    writer = holding(tmp_path, 0, 2, 3)
    assert unknown_epochs(tmp_path, begun(tmp_path), [writer], following) == told


def test_nothing_held_is_nothing_told(tmp_path):
    assert unknown_epochs(tmp_path, begun(tmp_path), [holding(tmp_path)]) == []


@pytest.mark.parametrize(("add", "told"), [(0.0, []), (5.0, ["mine holds epochs 0-1"])])
def test_what_an_earlier_run_explains_is_passed_over(tmp_path, add, told):
    begun(tmp_path, 0, 1)
    contents = begun(tmp_path)  # keeps the journal of the earlier one
    assert unknown_epochs(tmp_path, contents, [holding(tmp_path, 0, 1, add=add)]) == told


def test_a_writer_that_cannot_read_back_is_not_asked(tmp_path):
    class Saves:
        def save(self):
            pass

    assert unknown_epochs(tmp_path, begun(tmp_path), [check_writer("saves", Saves())]) == []


def test_who_has_left_no_files_and_cannot_be_read_is_no_hindrance(tmp_path):
    assert unknown_epochs(tmp_path, begun(tmp_path), [check_writer("cannot", Cannot())]) == []
