"""``delve export``: a recorded run, replayed into further writers."""

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.journals import BEGUN, saturations, write_run
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.delivery.export import export
from delve.errors import JournalError, RunFolderInUseError, WriterConfigurationError
from delve.journal.lock import FolderLock
from delve.journal.stored_run import read_run
from delve.testing import journal_entries, journal_rows, train, train_and_die

ROWS = [
    {"loss": 1.0, **saturations({"a": 0.5})},
    {"loss": math.nan, "rare": 2.0, **saturations({"a": 0.25, "b": 1.0})},
]


class Resumable(Recorder):
    """Holds what it was given, as long as it lives."""

    def __init__(self, answer="what it lacks"):
        super().__init__()
        self.answer = answer

    def resume_from_saved_state(self, initial_epoch, run):
        super().resume_from_saved_state(initial_epoch, run)
        return run.first_lacking(self.rows) if self.answer == "what it lacks" else self.answer


class NotResumable:
    """A writer without ``resume_from_saved_state``."""

    def __init__(self):
        self.calls = []

    def start(self):
        self.calls.append("start")

    def save(self, epoch, timestamp):
        self.calls.append((epoch, timestamp))

    def close(self):
        self.calls.append("close")


def sent(folder, *writers):
    return [(outcome.epochs, outcome.error) for outcome in export(folder, list(writers))]


def test_a_writer_gets_every_epoch_with_its_values_and_its_time(tmp_path):
    writer = Resumable()
    assert sent(write_run(tmp_path, ROWS, config={"lr": 0.1}), writer) == [([0, 1], None)]
    assert repr(writer.rows) == repr({0: ROWS[0], 1: ROWS[1]})
    assert [c["timestamp"] for h, c in writer.calls if h == "save"] == [BEGUN, BEGUN + 60_000]
    run = writer.calls[0][1]["run"]
    recorded = read_run(tmp_path)
    assert (run.run_id, run.created, run.layers) == (recorded.run_id, recorded.created, ("a", "b"))
    assert (run.config, run.initial_epoch, run.epochs) == ({"lr": 0.1}, 2, (0, 1))
    assert (writer.hooks[0], writer.hooks[-1]) == ("resume_from_saved_state", "close")


def test_a_writer_that_holds_all_is_sent_nothing(tmp_path):
    writer = Resumable()
    write_run(tmp_path, ROWS)
    sent(tmp_path, writer)
    assert sent(tmp_path, writer) == [([], None)]


def test_a_writer_that_cannot_resume_gets_all_epochs_as_of_a_new_run(tmp_path):
    writer = NotResumable()
    assert sent(write_run(tmp_path, ROWS), writer) == [([0, 1], None)]
    assert writer.calls == ["start", (0, BEGUN), (1, BEGUN + 60_000), "close"]


def refuses(self, initial_epoch):
    raise NotImplementedError("no resume")


@pytest.mark.parametrize(
    "resume", [lambda self, initial_epoch: None, refuses], ids=["None", "NotImplementedError"]
)
def test_a_writer_that_cannot_tell_what_it_holds_is_sent_nothing_and_that_is_an_error(
    tmp_path, resume
):
    writer = type("Forgetful", (NotResumable,), {"resume_from_saved_state": resume})()
    ((epochs, error),) = sent(write_run(tmp_path, ROWS), writer)
    assert (epochs, error) == (
        [],
        "it cannot tell which epochs its backend holds, so it was sent nothing",
    )


def test_a_dead_writer_is_an_outcome_and_the_others_are_served(tmp_path, caplog):
    class Dead(Resumable):
        def save(self, epoch, timestamp):
            raise ConnectionError("no route to host")

    class Misconfigured(Recorder):
        def resume_from_saved_state(self, initial_epoch, run):
            raise WriterConfigurationError("wrong password")

    misconfigured, alive = Misconfigured(), Resumable()
    assert sent(write_run(tmp_path, ROWS), Dead(), misconfigured, alive) == [
        ([], "no route to host"),
        ([], "wrong password"),
        ([0, 1], None),
    ]
    assert misconfigured.calls == [("close", {"error": None})]  # it is not the run that failed
    assert "did not get epochs 0-1" in caplog.text


def test_an_epoch_that_a_writer_may_hold_in_part_is_named_as_missing(tmp_path):
    class Old:
        """As written for delve 0.1: it cannot tell one epoch from another."""

        faults = 1

        def add_scalar(self, name, value):
            pass

        def save(self):
            if self.faults:
                self.faults -= 1
                raise ConnectionError("reset")

    assert sent(write_run(tmp_path, ROWS), Old()) == [([1], "it did not get epochs 0")]


def test_a_passing_fault_is_tried_again(tmp_path):
    class Flaky(Resumable):
        faults = 1

        def save(self, epoch, timestamp):
            if epoch == 1 and self.faults:
                self.faults -= 1
                raise ConnectionError("reset")
            super().save(epoch, timestamp)

    writer = Flaky(answer=0)
    assert sent(write_run(tmp_path, ROWS), writer) == [([0, 1], None)]
    assert repr(writer.rows[1]) == repr(ROWS[1])


def test_the_journal_keeps_its_epochs_and_no_resume_is_added(tmp_path):
    class Remembers(Resumable):
        def resume_from_saved_state(self, initial_epoch, run):
            run.remember(address="here")
            return super().resume_from_saved_state(initial_epoch, run)

    write_run(tmp_path, ROWS)
    before = (tmp_path / "journal.jsonl").read_text()
    sent(tmp_path, Remembers())
    sent(tmp_path, Remembers())
    added = (tmp_path / "journal.jsonl").read_text().removeprefix(before)
    entries = [json.loads(line) for line in added.splitlines()]
    state = {"type": "state", "writer": "Remembers", "state": {"address": "here"}}
    assert [entry | {"crc32": "", "line": 0} for entry in entries] == [
        state | {"crc32": "", "line": 0},
        state | {"opened": True, "crc32": "", "line": 0},
        state | {"crc32": "", "line": 0},
    ]


def test_a_run_that_is_being_recorded_is_refused(tmp_path):
    write_run(tmp_path, ROWS)
    lock = FolderLock(tmp_path)
    with pytest.raises(RunFolderInUseError):
        sent(tmp_path, Resumable())
    lock.release()
    sent(tmp_path, Resumable())
    FolderLock(tmp_path).release()  # export has let go of it


def test_what_holds_nothing_to_send_is_an_error_and_stays_as_it_is(tmp_path):
    with pytest.raises(JournalError, match="no journal"):
        sent(tmp_path, Resumable())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(JournalError, match="no epoch"):
        sent(write_run(tmp_path / "empty", []), Resumable())


# Real backends: what a direct recording gives


@pytest.fixture
def backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """MLflow in a file of this test, W&B offline, nothing of the user's; MLflow's address."""
    address = f"sqlite:///{tmp_path}/mlflow.db"
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    variables = {
        "MLFLOW_TRACKING_URI": address,
        "HOME": str(home),
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_PROJECT": "tests",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CONFIG_DIR": str(home / "config"),
        "WANDB_CACHE_DIR": str(home / "cache"),
        "WANDB_DATA_DIR": str(home / "data"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for plugin in ("csv", "tensorboard", "mlflow", "wandb"):
        pytest.importorskip(f"delve_{plugin}")
    yield address
    import wandb

    wandb.teardown()


def record_twice(direct: Path, plain: Path, epochs: int) -> None:
    """One training, recorded by two trackers: into all backends, and into a table alone."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    config = {"lr": 0.1, "optimizer": "SGD"}
    everywhere = ["csv", "tensorboard", "mlflow", "wandb"]
    with (
        SaturationTracker(direct, everywhere, model, config=config) as one,
        SaturationTracker(plain, "csv", model, config=config) as other,
    ):
        for epoch in range(epochs):
            model.train()(torch.randn(32, 6))
            model.eval()(torch.randn(32, 6))
            for tracker in (one, other):
                tracker.add_scalar("accuracy", epoch / 10)
                if epoch % 2:
                    tracker.add_scalar("rare/score", math.nan if epoch == 3 else float(epoch))
                tracker.add_saturations()


def in_mlflow(folder: Path, address: str) -> dict:
    """What MLflow's own client tells of the run of this folder."""
    from mlflow import MlflowClient

    client = MlflowClient(address)
    run_id = read_run(folder).run_id
    (run,) = client.search_runs(["0"], f"tags.`delve.run_id` = '{run_id}'")
    times = {epoch: entry["time"] for epoch, entry in journal_entries(folder).items()}
    points = {
        key: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }
    for key in run.data.metrics:
        for point in client.get_metric_history(run.info.run_id, key):
            assert point.timestamp == times[point.step]
    return {"points": points, "params": run.data.params, "status": run.info.status}


def in_tensorboard(folder: Path) -> list:
    from tensorboard_runs import accumulator, read_points

    held = accumulator(folder / "tensorboard")
    times = [round(1000 * event.wall_time) for event in held.Scalars("accuracy")]
    assert times == [entry["time"] for entry in journal_entries(folder).values()]
    return sorted(read_points(folder))


def in_wandb(folder: Path) -> tuple:
    """What `wandb sync` would send of the run of this folder."""
    from wandb_files import read_run_file, run_files

    kept = [file for file in run_files(folder) if not file.with_suffix(".wandb.synced").exists()]
    (contents,) = map(read_run_file, kept)
    rows = {epoch: sorted(row.items()) for epoch, row in contents.rows.items()}
    config = {
        key: value
        for key, value in contents.config.items()
        if not key.startswith(("_", "delve."))  # the run's own identity
    }
    return rows, config, contents.step_metrics, contents.exit_code


def test_a_run_recorded_with_csv_alone_gives_in_each_backend_what_a_direct_recording_gives(
    tmp_path, backends
):
    direct, plain = tmp_path / "direct", tmp_path / "plain"
    record_twice(direct, plain, epochs=5)
    assert repr(journal_rows(direct)) == repr(journal_rows(plain))
    table = (plain / "metrics.csv").read_bytes()
    for _ in range(2):  # and the second time changes nothing
        outcomes = list(export(plain, ["tensorboard", "mlflow", "wandb", "csv"]))
        assert [outcome.error for outcome in outcomes] == [None] * 4
        assert repr(in_tensorboard(plain)) == repr(in_tensorboard(direct))
        assert repr(in_mlflow(plain, backends)) == repr(in_mlflow(direct, backends))
        assert repr(in_wandb(plain)) == repr(in_wandb(direct))
        assert (plain / "metrics.csv").read_bytes() == table
        assert table == (direct / "metrics.csv").read_bytes()
    assert outcomes[0].epochs == []
    assert in_wandb(plain)[0].keys() == {0, 1, 2, 3, 4}


def test_a_run_that_failed_has_still_failed_after_an_export(tmp_path, backends):
    tracker = SaturationTracker(tmp_path, "mlflow", nn.Linear(6, 8))
    tracker.add_scalar("loss", 1.0)
    tracker.save()
    tracker.close(RuntimeError("diverged"))
    assert [outcome.error for outcome in export(tmp_path, "mlflow")] == [None]
    assert in_mlflow(tmp_path, backends)["status"] == "FAILED"


def test_a_crashed_run_is_exported_and_can_be_resumed_with_the_new_writer(tmp_path):
    pytest.importorskip("delve_csv")
    train_and_die(tmp_path, "print", range(4))
    assert [outcome.error for outcome in export(tmp_path, "csv")] == [None]
    train(tmp_path, "csv", range(3, 6))
    import pandas as pd

    table = pd.read_csv(tmp_path / "metrics.csv").set_index("epoch")
    rows = journal_rows(tmp_path)
    assert list(table.index) == [0, 1, 2, 3, 4, 5] == sorted(rows)
    for epoch, row in rows.items():
        assert table.loc[epoch].dropna().to_dict() == row
    assert read_run(tmp_path).resumes == (3,)


def test_nothing_is_logged_where_all_goes_well(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        sent(write_run(tmp_path, ROWS), Resumable(), NotResumable())
    assert caplog.records == []
