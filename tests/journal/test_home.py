"""A folder that was moved goes on in its run; one that was copied becomes a run of its own."""

import json
import os
import shutil

import pytest
from torch import nn

from delve import SaturationTracker
from delve.delivery.export import export
from delve.journal import home
from delve.journal.journal import Journal
from delve.journal.reading import JOURNAL_NAME
from delve.journal.stored_run import read_run


class Remote:
    """Keeps in its state under which name it knows the run, as a writer of remote runs does."""

    def __init__(self):
        self.fed, self.run = [], None

    def start(self, run):
        self.resume_from_saved_state(0, run)

    def resume_from_saved_state(self, initial_epoch, run):
        self.run, self.found = run, dict(run.state)
        run.remember(remote=run.run_id)
        return run.first_lacking(())

    def save(self, epoch):
        self.fed.append(epoch)


def record(folder, epochs, initial_epoch=0):
    writer = Remote()
    tracker = SaturationTracker(folder, writer, nn.Linear(2, 2), initial_epoch=initial_epoch)
    for epoch in range(tracker.epoch, epochs):
        tracker.add_scalar("loss", 1 / (epoch + 1))
        tracker.save()
    tracker.close()
    return writer


@pytest.fixture
def original(tmp_path):
    record(tmp_path / "a", 4)
    return tmp_path / "a"


def identity(folder):
    return read_run(folder).run_id


def test_a_copy_becomes_a_run_of_its_own_with_the_same_epochs(original, tmp_path, caplog):
    copy = shutil.copytree(original, tmp_path / "b")
    writer = record(copy, 5, initial_epoch=2)
    assert identity(copy) not in (identity(original), "")
    assert writer.run.run_id == identity(copy)
    assert writer.run.origin.run_id == identity(original)
    assert writer.run.origin.savefile == str(original)
    assert writer.run.origin.state == {"remote": identity(original)}
    assert writer.found == {}
    assert writer.fed == [0, 1, 2, 3, 4]
    assert read_run(original).epochs == [0, 1, 2, 3]
    assert f"{copy} is a copy of the run in {original}" in caplog.text


def test_a_copy_stays_the_run_that_it_has_become(original, tmp_path, caplog):
    copy = shutil.copytree(original, tmp_path / "b")
    record(copy, 4, initial_epoch=2)
    own = identity(copy)
    caplog.clear()
    writer = record(copy, 5, initial_epoch=3)
    assert identity(copy) == own
    assert writer.found == {"remote": own}
    assert writer.run.origin.run_id == identity(original)
    assert "copy" not in caplog.text


def test_a_copy_of_a_copy_comes_from_the_copy(original, tmp_path):
    first = shutil.copytree(original, tmp_path / "b")
    record(first, 4, initial_epoch=2)
    second = shutil.copytree(first, tmp_path / "c")
    writer = record(second, 4, initial_epoch=2)
    assert writer.run.origin.run_id == identity(first)
    assert len({identity(folder) for folder in (original, first, second)}) == 3


def test_a_copy_made_while_the_original_records(tmp_path):
    tracker = SaturationTracker(tmp_path / "a", Remote(), nn.Linear(2, 2))
    tracker.add_scalar("loss", 1.0)
    tracker.save()
    copy = shutil.copytree(tmp_path / "a", tmp_path / "b")
    record(copy, 2, initial_epoch=1)
    tracker.close()
    assert identity(copy) != identity(tmp_path / "a")


def test_a_copy_put_over_another_run_as_in_population_based_training(original, tmp_path):
    record(tmp_path / "b", 2)
    shutil.rmtree(tmp_path / "b")
    shutil.copytree(original, tmp_path / "b")
    writer = record(tmp_path / "b", 5, initial_epoch="auto")
    assert writer.run.origin.run_id == identity(original)
    assert writer.fed == [0, 1, 2, 3, 4]


def test_a_copy_of_hard_links_is_a_copy(original, tmp_path):
    shutil.copytree(original, tmp_path / "b", copy_function=os.link)
    journal = tmp_path / "b" / JOURNAL_NAME
    content = journal.read_bytes()
    journal.unlink()
    journal.write_bytes(content)  # both would be appended to
    assert record(tmp_path / "b", 5, initial_epoch=4).run.origin.run_id == identity(original)


def test_an_export_of_a_copy_sends_a_run_of_its_own(original, tmp_path):
    copy = shutil.copytree(original, tmp_path / "b")
    writer = Remote()
    list(export(copy, writer))
    assert writer.run.run_id == identity(copy) != identity(original)
    assert writer.found == {}


def test_looking_at_a_copy_changes_nothing(original, tmp_path):
    copy = shutil.copytree(original, tmp_path / "b")
    before = (copy / JOURNAL_NAME).read_bytes()
    read_run(copy)
    assert (copy / JOURNAL_NAME).read_bytes() == before


def test_a_moved_folder_goes_on_in_its_run(original, tmp_path, caplog):
    own = identity(original)
    (tmp_path / "elsewhere").mkdir()
    moved = original.rename(tmp_path / "elsewhere" / "b")
    writer = record(moved, 5, initial_epoch=4)
    assert (identity(moved), writer.run.run_id) == (own, own)
    assert writer.found == {"remote": own}
    assert writer.run.origin is None
    assert not writer.run.may_be_copy
    assert "copy" not in caplog.text


def test_a_copy_of_a_moved_folder_is_told_from_it(original, tmp_path):
    moved = original.rename(tmp_path / "b")
    record(moved, 4, initial_epoch=4)
    copy = shutil.copytree(moved, tmp_path / "c")
    assert record(copy, 4, initial_epoch=4).run.origin.run_id == identity(moved)


def test_a_folder_reached_by_a_link_is_the_same(original, tmp_path):
    (tmp_path / "link").symlink_to(original)
    assert record(tmp_path / "link", 5, initial_epoch=4).run.origin is None


def test_a_folder_restored_in_its_place_goes_on(original, tmp_path):
    own = identity(original)
    backup = shutil.copytree(original, tmp_path / "backup")
    shutil.rmtree(original)
    shutil.copytree(backup, original)
    writer = record(original, 5, initial_epoch=4)
    assert (writer.run.run_id, writer.run.may_be_copy) == (own, False)


@pytest.mark.parametrize("where", ["a", "b"])
def test_a_folder_from_another_machine_may_be_a_copy(
    where, original, tmp_path, monkeypatch, caplog
):
    own = identity(original)
    shutil.copytree(original, tmp_path / "brought")
    shutil.rmtree(original)
    (tmp_path / "filler").mkdir()  # so that the number of the folder does not come again
    shutil.copytree(tmp_path / "brought", tmp_path / where)
    monkeypatch.setattr(home.platform, "node", lambda: "another")
    writer = record(tmp_path / where, 4, initial_epoch=4)
    assert (writer.run.run_id, writer.run.may_be_copy) == (own, True)
    assert caplog.text.count("cannot be seen from here") == 1
    again = record(tmp_path / where, 5, initial_epoch=4)
    assert again.run.may_be_copy
    assert again.found == {"remote": own}


@pytest.mark.parametrize(
    "noted", [None, {}, {"path": 3}, {"path": "/x", "host": "h", "inode": "1"}]
)
def test_a_journal_that_does_not_say_where_it_lay_goes_on(noted, original, tmp_path):
    path = original / JOURNAL_NAME
    header, *rest = path.read_text().splitlines()
    entry = json.loads(header)
    del entry["crc32"]
    entry["home"] = noted
    path.write_text("\n".join([json.dumps(entry), *rest, ""]))
    writer = record(original, 5, initial_epoch=4)
    assert writer.run.origin is None
    copy = shutil.copytree(original, tmp_path / "b")
    assert Journal.reopen(copy).origin("Remote").savefile == str(original)
