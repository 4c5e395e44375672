"""The callback, in short trainings with the real Trainer of either package."""

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from delve.testing import journal_entries

pytest.importorskip("lightning.pytorch")
pytest.importorskip("delve_csv")
pytest.importorskip("delve_lightning")

import lightning.pytorch as lightning
import torch
from delve_csv import CSVWriter
from delve_lightning import DelveCallback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from delve import SaturationTracker
from delve.errors import ArgumentError, WriterNotFoundError

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has much to say


class Network(lightning.LightningModule):
    def __init__(self, lr=0.1, **more):
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

    def training_step(self, batch, index):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.net(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.hparams.lr)


def loader():
    inputs = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(inputs, torch.arange(24) % 2), batch_size=4)


def trainer(folder, *callbacks, **options):
    given = {
        "default_root_dir": folder,
        "max_epochs": 2,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return lightning.Trainer(callbacks=list(callbacks), **(given | options))


def steps(folder):
    return [entry["step"] for entry in journal_entries(folder).values()]


def test_without_any_argument_it_records_to_csv(tmp_path):
    trainer(tmp_path, DelveCallback()).fit(Network(), loader(), loader())
    assert steps(tmp_path / "delve") == [5, 11]
    header = (tmp_path / "delve" / "metrics.csv").read_text().splitlines()[0]
    assert header.startswith("epoch,step,train-saturation/net.0,")


def test_a_training_that_ends_before_its_first_validation_has_a_row(tmp_path):
    training = trainer(tmp_path, DelveCallback(), max_epochs=-1, max_steps=4)
    training.fit(Network(), loader(), loader())
    assert steps(tmp_path / "delve") == [3]


def test_the_hyperparameters_are_those_of_the_module(tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    nested = omegaconf.OmegaConf.create({"width": 3, "double": "${width}"})
    callback = DelveCallback(config={"lr": "mine"})
    trainer(tmp_path, callback).fit(Network(nested=nested, lr=0.2), loader())
    with (tmp_path / "delve" / "journal.jsonl").open() as file:
        config = json.loads(next(file))["config"]
    assert config == {"lr": "mine", "nested": {"width": 3, "double": 3}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every must be a number"),
        ({"stat": ["lsat"]}, "did you mean 'stats'"),
        ({"gather": "last"}, "needs every as a number"),
        ({"ends_well": 3}, "ends_well must be classes"),
        ({"writer_args": ["a"]}, "writer_args must be a dictionary"),
        ({"resume_loggers": True}, "resume_loggers=True needs savefile"),
    ],
)
def test_a_mistake_is_raised_at_once(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        DelveCallback(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"save_to": "csvv"}, WriterNotFoundError), ({"stats": ["lsatt"]}, ArgumentError)],
)
def test_what_only_the_run_tells_is_raised_before_the_first_step(tmp_path, arguments, error):
    training = trainer(tmp_path, DelveCallback(**arguments))
    with pytest.raises(error):
        training.fit(Network(), loader())
    assert training.global_step == 0


def test_a_failure_stops_no_training(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("no such luck")

    monkeypatch.setattr(SaturationTracker, "add_saturations", fail)
    training = trainer(tmp_path, DelveCallback())
    training.fit(Network(), loader())
    assert training.global_step == 12
    assert caplog.text.count("the training goes on without it") == 1


def test_a_fit_that_goes_on_with_the_same_trainer_goes_on_in_its_run(tmp_path, caplog):
    callback = DelveCallback(every=5)
    training, module = trainer(tmp_path, callback), Network()
    training.fit(module, loader())
    assert callback.tracker is None
    training.fit_loop.max_epochs = 4
    training.fit(module, loader())
    assert steps(tmp_path / "delve") == [4, 9, 14, 19]
    assert "holds no state" not in caplog.text


def test_a_checkpoint_without_delve_is_gone_on_from_too(tmp_path):
    training, module = trainer(tmp_path), Network()
    training.fit(module, loader())
    training.save_checkpoint(tmp_path / "a.ckpt")
    again = trainer(tmp_path, DelveCallback(), max_epochs=3)
    again.fit(Network(), loader(), ckpt_path=tmp_path / "a.ckpt")
    assert steps(tmp_path / "delve") == [17]


@pytest.mark.parametrize("carry_scalars", [False, True])
def test_a_checkpoint_of_before_a_validation_that_is_not_done_again(tmp_path, carry_scalars):
    options = {"savefile": tmp_path / "delve", "carry_scalars": carry_scalars}
    checkpoints = {"every_n_train_steps": 6, "save_top_k": -1, "filename": "{step}"}

    def fit(**more):
        kept = lightning.callbacks.ModelCheckpoint(tmp_path, **checkpoints)
        training = trainer(
            tmp_path,
            DelveCallback(**options),
            kept,
            enable_checkpointing=True,
            max_epochs=3,
            log_every_n_steps=2,
        )
        training.fit(Network(), loader(), loader(), **more)
        rows = journal_entries(tmp_path / "delve").values()
        return {row["step"]: (row["scalars"], row["metrics"]) for row in rows}

    whole = fit()
    assert [step for step, (_, metrics) in whole.items() if metrics] == [5, 11, 17]
    assert bool(whole[5][0]) == carry_scalars
    assert fit(ckpt_path=tmp_path / "step=6.ckpt") == whole


def test_another_version_of_the_logger_goes_on_in_the_run_of_the_checkpoint(tmp_path):
    logger = lightning.loggers.CSVLogger(tmp_path)
    first = trainer(tmp_path, DelveCallback(), logger=logger)
    first.fit(Network(), loader())
    first.save_checkpoint(tmp_path / "a.ckpt")
    logger = lightning.loggers.CSVLogger(tmp_path)
    again = trainer(tmp_path, DelveCallback(), logger=logger, max_epochs=3)
    again.fit(Network(), loader(), ckpt_path=tmp_path / "a.ckpt")
    assert steps(tmp_path / "lightning_logs/version_0/delve") == [5, 11, 17]
    assert not (tmp_path / "lightning_logs/version_1/delve").exists()


def test_two_optimizers_count_as_lightnings_loggers_count(tmp_path):
    class Two(Network):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, index):
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()

        def configure_optimizers(self):
            return [
                torch.optim.SGD(layer.parameters(), 0.1) for layer in (self.net[0], self.net[2])
            ]

    training = trainer(tmp_path, DelveCallback(every=4))
    training.fit(Two(), loader())
    assert training.global_step == 24
    assert steps(tmp_path / "delve") == [3, 7, 11]


def test_an_exception_of_the_users_fails_the_run_and_is_theirs(tmp_path):
    class Failing(Network):
        def training_step(self, batch, index):
            if self.global_step == 7:
                raise ZeroDivisionError
            return super().training_step(batch, index)

    callback = DelveCallback(every=3)
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path, callback).fit(Failing(), loader())
    assert callback.tracker is None
    assert steps(tmp_path / "delve") == [2, 5]


def test_a_callback_can_be_copied_and_pickled_and_is_lightnings():
    callback = DelveCallback(every=3, savefile="runs/a")
    assert isinstance(callback, lightning.Callback)
    assert callback.state_key == "DelveCallback[a]"
    for copied in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert type(copied) is type(callback)
        assert copied.state_key == callback.state_key


def test_the_import_costs_nothing_and_either_package_is_served():
    code = (
        "import sys, delve_lightning\n"
        "assert not {'lightning', 'pytorch_lightning'} & set(sys.modules)\n"
        "assert 'lightning.pytorch' not in sys.modules\n"
        "import pytorch_lightning\n"
        "assert isinstance(delve_lightning.DelveCallback(), pytorch_lightning.Callback)\n"
        "import lightning.pytorch\n"
        "both = delve_lightning.DelveCallback()\n"
        "assert isinstance(both, (pytorch_lightning.Callback))\n"
        "assert isinstance(both, lightning.pytorch.Callback)\n"
    )
    pytest.importorskip("pytorch_lightning")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )


# --- the table of csv, beside that of Lightning's CSVLogger ---------------------------------------


@pytest.fixture
def logs(tmp_path):
    """A logger that has begun, and has no table yet."""
    gc.collect()
    logger = lightning.loggers.CSVLogger(tmp_path, name="", version="a")
    logger.log_metrics({"loss": 1.0}, step=0)
    return logger


def record(folder, epochs, save_to="csv", first=0, between=lambda: None):
    with SaturationTracker(folder, save_to, nn.Linear(2, 2), initial_epoch=first) as tracker:
        for epoch in epochs:
            tracker.add_scalar("accuracy", epoch / 8)
            tracker.save()
            between()


def test_a_tracker_in_the_folder_of_a_logger_leaves_it_its_table(logs, caplog):
    folder = Path(logs.log_dir)
    record(folder, range(3), between=logs.save)
    logs.log_metrics({"other": 2.0}, step=1)
    logs.save()
    assert (folder / "metrics.csv").read_text() == "loss,other,step\n1.0,,0\n,2.0,1\n"
    assert (folder / "metrics-delve.csv").read_text().splitlines()[1:] == [
        "0,0.0",
        "1,0.125",
        "2,0.25",
    ]
    assert caplog.text.count("is left to Lightning's CSVLogger") == 1


def test_a_resume_goes_on_in_the_table_that_it_wrote(logs):
    folder = Path(logs.log_dir)
    record(folder, range(2))
    logs.save()
    record(folder, [2], first=2)
    assert len((folder / "metrics-delve.csv").read_text().splitlines()) == 4
    assert (folder / "metrics.csv").read_text() == "loss,step\n1.0,0\n"


def test_a_logger_that_takes_delves_table_away_gets_the_name(tmp_path):
    folder = tmp_path / "a"
    record(folder, range(2))
    assert (folder / "metrics.csv").exists()
    with SaturationTracker(folder, "csv", nn.Linear(2, 2), initial_epoch=2) as tracker:
        logger = lightning.loggers.CSVLogger(tmp_path, name="", version="a")
        logger.log_metrics({"loss": 1.0}, step=0)  # it deletes what it finds
        tracker.add_scalar("accuracy", 1.0)
        tracker.save()
    logger.save()
    assert (folder / "metrics.csv").read_text() == "loss,step\n1.0,0\n"
    assert len((folder / "metrics-delve.csv").read_text().splitlines()) == 4


def test_a_table_of_another_name_or_place_is_not_the_loggers(logs, tmp_path):
    record(tmp_path / "elsewhere", range(1))
    assert (tmp_path / "elsewhere" / "metrics.csv").exists()
    record(Path(logs.log_dir), range(1), CSVWriter(Path(logs.log_dir) / "mine.csv"))
    assert (Path(logs.log_dir) / "mine.csv").exists()


# --- MLflow's runs of before ----------------------------------------------------------------------


@pytest.fixture
def resuming(tmp_path, monkeypatch):
    """A run of Delve's in the run of a logger, and what makes the next training with another."""
    pytest.importorskip("delve_mlflow")
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"

    def fit(run_id=None):
        callback = DelveCallback(savefile=tmp_path / "delve", resume_loggers=True)
        logger = lightning.loggers.MLFlowLogger(tracking_uri=uri, run_id=run_id)
        trainer(tmp_path, callback, logger=logger, log_every_n_steps=2).fit(Network(), loader())
        return logger.run_id

    yield fit
    import mlflow

    mlflow.set_tracking_uri(None)


def test_the_logger_goes_on_in_the_run_of_before_and_its_empty_one_is_deleted(resuming, tmp_path):
    from mlflow import MlflowClient

    first = resuming()
    assert resuming() == first
    assert not os.environ.get("MLFLOW_RUN_ID")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiments = [one.experiment_id for one in client.search_experiments()]
    assert [run.info.run_id for run in client.search_runs(experiments)] == [first]


def test_a_run_of_before_that_is_gone_leaves_the_logger_its_own(resuming, tmp_path, caplog):
    from mlflow import MlflowClient

    first = resuming()
    MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").delete_run(first)
    assert resuming() != first
    assert "does not go on in run" in caplog.text
