"""The callback, in short trainings with the real Trainer."""

import json
import subprocess
import sys
from typing import Any

import pytest

from delve.testing import journal_entries

transformers = pytest.importorskip("transformers")
pytest.importorskip("delve_csv")
delve_transformers = pytest.importorskip("delve_transformers")

import torch  # noqa: E402 - what is skipped without Transformers comes first
from delve_transformers import DelveCallback  # noqa: E402

from delve import SaturationTracker  # noqa: E402
from delve.errors import ArgumentError, WriterNotFoundError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def trainer(folder, *callbacks, **arguments):
    """A Trainer of a tiny classifier: 6 steps, with an evaluation every second."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=8,
    )
    words = {"input_ids": torch.arange(1, 7), "attention_mask": torch.ones(6, dtype=torch.long)}
    given = {
        "max_steps": 6,
        "per_device_train_batch_size": 4,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return transformers.Trainer(
        transformers.BertForSequenceClassification(config),
        transformers.TrainingArguments(str(folder), **(given | arguments)),
        train_dataset=[{**words, "labels": n % 2} for n in range(12)],
        eval_dataset=[{**words, "labels": n % 2} for n in range(4)],
        callbacks=list(callbacks),
    )


def steps(folder):
    return [entry["step"] for entry in journal_entries(folder / "delve").values()]


def test_without_any_argument_it_records_to_csv(tmp_path):
    trainer(tmp_path, DelveCallback()).train()
    assert steps(tmp_path) == [2, 4, 6]
    header = (tmp_path / "delve" / "metrics.csv").read_text().splitlines()[0]
    assert header.startswith("epoch,step,train-saturation/bert.encoder.layer.0.")


def test_the_hyperparameters_are_the_trainers_and_the_models(tmp_path):
    trainer(tmp_path, DelveCallback(config={"seed": "mine"})).train()
    with (tmp_path / "delve" / "journal.jsonl").open() as file:
        config = json.loads(next(file))["config"]
    assert config["eval_steps"] == 2
    assert config["hidden_size"] == 8
    assert config["seed"] == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every must be a number"),
        ({"stat": ["lsat"]}, "did you mean 'stats'"),
        ({"gather": "last"}, "needs every as a number"),
        ({"ends_well": 3}, "ends_well must be classes"),
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
        training.train()
    assert training.state.global_step == 0


def test_a_failure_stops_no_training(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("no such luck")

    monkeypatch.setattr(SaturationTracker, "add_saturations", fail)
    training = trainer(tmp_path, DelveCallback())
    training.train()
    assert training.state.global_step == 6
    assert caplog.text.count("the training goes on without it") == 1


def test_a_second_training_begins_a_run_of_its_own(tmp_path):
    callback = DelveCallback(every=3)
    training = trainer(tmp_path, callback)
    training.train()
    assert callback.tracker is None
    training.train()
    assert steps(tmp_path) == [3, 6]
    assert (tmp_path / "delve/earlier/1/journal.jsonl").exists()


def test_an_evaluation_after_its_steps_checkpoint_stays(tmp_path):
    """At the end of an epoch the Trainer saves first, and goes on with the next step after that."""
    at_epochs = {"eval_strategy": "epoch", "save_strategy": "steps", "save_steps": 3}
    trainer(tmp_path, DelveCallback(stats=["n"]), **at_epochs).train()
    entries = journal_entries(tmp_path / "delve").values()
    whole = [(entry["step"], entry["metrics"]) for entry in entries]
    assert [step for step, _ in whole] == [3, 6]
    again = trainer(tmp_path, DelveCallback(stats=["n"]), **at_epochs)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    entries = journal_entries(tmp_path / "delve").values()
    assert [(entry["step"], entry["metrics"]) for entry in entries] == whole


def test_rows_of_the_last_step_alone(tmp_path):
    trainer(tmp_path, DelveCallback(every=3, gather="last", stats=["n"])).train()
    for entry in journal_entries(tmp_path / "delve").values():
        assert entry["metrics"]["train-samples/bert.pooler.dense"] == 4


def test_an_evaluation_before_the_first_step_has_a_row(tmp_path):
    trainer(tmp_path, DelveCallback(), eval_on_start=True).train()
    assert steps(tmp_path) == [0, 2, 4, 6]


def test_a_pruned_trial_ends_its_run_well(tmp_path):
    optuna = pytest.importorskip("optuna")
    ends = []
    base: Any = optuna.pruners.BasePruner

    class Ends:
        def add_scalars(self, value_dict, global_step, prefix):
            ends.append(global_step)

        def close(self, error):
            ends.append(error)

    class Pruner(base):
        def prune(self, study, trial):
            return trial.last_step >= 4

    callback = DelveCallback(save_to=Ends())
    training = trainer(tmp_path, callback)
    model = training.model
    training.model_init = lambda trial: model
    with pytest.raises(ValueError, match="No trials are completed"):  # of Optuna, at the end
        training.hyperparameter_search(
            hp_space=lambda trial: {"learning_rate": trial.suggest_float("rate", 0.1, 0.2)},
            n_trials=1,
            backend="optuna",
            pruner=Pruner(),
        )
    assert ends == [0, 1, None]


def test_the_import_costs_nothing_else():
    code = (
        "import sys, transformers.trainer_callback, delve\n"
        "import transformers.training_args, pluggy\n"
        "import delve_transformers\n"
        "print([m for m in ('mlflow', 'wandb', 'tensorboard', 'delve_csv', 'lightning', 'keras', "
        "'transformers.trainer') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_it_is_found_in_delve_itself():
    import delve

    if not hasattr(delve, "transformers"):
        pytest.skip("the distribution is not installed")
    assert delve.transformers is delve_transformers
