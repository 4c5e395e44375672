"""A run from its folder's lock to its writers, and what stays when it cannot be opened."""

import pytest
from support.writers import Recorder

from delve.delivery.checked_writer import check_writer
from delve.delivery.run import Run, SilentRun
from delve.errors import RunFolderInUseError, WriterConfigurationError
from delve.journal.stored_run import read_run
from delve.records import Metric, StagedEpoch

FC = Metric("train", "saturation", "fc")


def run_of(folder, *writers, first=0, **options):
    named = [check_writer(f"writer-{number}", one) for number, one in enumerate(writers)]
    return Run(folder, first, ["fc"], {"lr": 0.1}, named, **options)


def staged(value):
    return StagedEpoch({"loss": value}, {FC: value / 2})


def test_an_epoch_is_in_the_journal_before_a_writer_gets_it(tmp_path):
    class Looks(Recorder):
        def save(self, epoch, timestamp):
            self.held = read_run(tmp_path).epochs

    looks = Looks()
    run = run_of(tmp_path, looks)
    run.save(0, staged(1.0), ["fc"])
    assert list(looks.held) == [0]
    run.save(1, staged(2.0), ["fc"])
    assert list(looks.held) == [0, 1]
    run.close(None)


def test_an_interrupted_epoch_is_recorded_and_fed_again(tmp_path):
    class Interrupted(Recorder):
        times = 0

        def save(self, epoch, timestamp):
            self.times += 1
            if self.times == 1:
                raise KeyboardInterrupt
            super().save(epoch, timestamp)

    first, last = Interrupted(), Recorder()
    run = run_of(tmp_path, first, last)
    with pytest.raises(KeyboardInterrupt):
        run.save(0, staged(1.0), ["fc"])
    run.close(None)
    assert first.rows == last.rows == {0: {"loss": 1.0, FC: 0.5}}
    assert first.hooks[-2:] == last.hooks[-2:] == ["save", "close"]


def test_one_that_cannot_be_opened_gives_the_folder_back(tmp_path):
    class Misconfigured(Recorder):
        def start(self, run):
            raise WriterConfigurationError("no password")

    first = Recorder()
    with pytest.raises(WriterConfigurationError, match="no password"):
        run_of(tmp_path, first, Misconfigured())
    ((_, told),) = [call for call in first.calls if call[0] == "close"]
    assert isinstance(told["error"], WriterConfigurationError)
    run_of(tmp_path, Recorder()).close(None)


def test_a_folder_is_one_runs_until_it_is_closed(tmp_path):
    run = run_of(tmp_path, Recorder())
    with pytest.raises(RunFolderInUseError):
        run_of(tmp_path, Recorder())
    run.close(None)
    run_of(tmp_path, Recorder()).close(None)


def test_a_resumed_run_tells_what_is_recorded(tmp_path):
    run = run_of(tmp_path, Recorder())
    assert run.order == ()
    run.save(0, staged(1.0), ["b", "a"])
    run.close(None)
    writer = Recorder()
    run = run_of(tmp_path, writer, first=1)
    assert run.order == ("b", "a")
    assert run.writers == ("writer-0",)
    run.close(None)
    told = writer.calls[0][1]["run"]
    assert (told.epochs, told.metrics, told.initial_epoch) == ((0,), ("loss", FC), 1)


def test_statistics_that_nobody_stores_are_named(tmp_path, caplog):
    class Stores(Recorder):
        def add_array(self, name, value):
            pass

    run_of(tmp_path / "a", Recorder(), arrays=["cov", "embed"]).close(None)
    assert "no selected writer stores arrays" in caplog.text
    assert "cov, embed; npy does" in caplog.text
    caplog.clear()
    run_of(tmp_path / "b", Recorder(), Stores(), arrays=["cov"]).close(None)
    assert not caplog.messages


def test_the_other_processes_write_nothing(tmp_path):
    silent = SilentRun()
    silent.add_scalar("loss", 1.0, 0)
    silent.save(0, staged(1.0), ["fc"])
    silent.close(None)
    assert (silent.order, silent.writers, silent.is_feeding) == ((), (), False)
    assert not list(tmp_path.iterdir())
