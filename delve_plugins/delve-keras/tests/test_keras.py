"""The callback, in short fits with the real Keras on PyTorch."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from delve import SaturationTracker
from delve.errors import ArgumentError, WriterNotFoundError
from delve.testing import journal_entries

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
pytest.importorskip("delve_csv")
delve_keras = pytest.importorskip("delve_keras")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

IMAGES = np.random.default_rng(0).normal(size=(12, 5, 5, 1)).astype("float32")
LABELS = np.arange(12) % 2


def network(*layers):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5, 5, 1)), *layers, keras.layers.Dense(2, name="out")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    return model


def dense():
    return network(keras.layers.Flatten())


def fit(model, *callbacks, epochs=2, **options):
    given = {"batch_size": 4, "validation_data": (IMAGES[:3], LABELS[:3]), "verbose": 0}
    return model.fit(IMAGES, LABELS, epochs=epochs, callbacks=list(callbacks), **(given | options))


def callback(tmp_path, *arguments, **options):
    return delve_keras.DelveCallback(*arguments, savefile=tmp_path / "run", **options)


def metrics(tmp_path):
    entries = journal_entries(tmp_path / "run")
    return {entry.get("step", epoch): entry["metrics"] for epoch, entry in entries.items()}


def test_without_any_argument_it_records_to_csv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(dense(), delve_keras.DelveCallback())
    table = (tmp_path / "logs" / "delve" / "metrics.csv").read_text().splitlines()
    assert table[0] == "epoch,train-saturation/out,eval-saturation/out"
    assert [row.partition(",")[0] for row in table[1:]] == ["0", "1"]


def test_layers_of_many_kinds_in_either_format(tmp_path):
    block = keras.Sequential(
        [keras.layers.Conv2D(3, 2, name="deep"), keras.layers.BatchNormalization()], name="block"
    )
    model = network(
        block,
        keras.layers.Permute((3, 1, 2)),
        keras.layers.DepthwiseConv2D(2, name="first", data_format="channels_first"),
        keras.layers.Reshape((9, 3)),
        keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True), name="both"),
        keras.layers.SimpleRNN(5, name="last"),
    )
    fit(model, callback(tmp_path, stats=["n", "idim"]), epochs=1)
    (row,) = metrics(tmp_path).values()
    samples = {name: value for name, value in row.items() if name.startswith("train-samples")}
    assert samples == {
        "train-samples/block/deep": 12 * 4 * 4,
        "train-samples/first": 12 * 3 * 3,
        "train-samples/both/forward_gru": 12,
        "train-samples/both/backward_gru": 12,
        "train-samples/last": 12,
        "train-samples/out": 12,
    }
    assert row["train-intrinsic-dimensionality/block/deep"] <= 3
    assert row["train-intrinsic-dimensionality/first"] <= 3


def test_a_later_fit_goes_on_in_its_run(tmp_path):
    model = dense()
    fit(model, callback(tmp_path, stats=["n"]))
    fit(model, callback(tmp_path, stats=["n"]), epochs=4, initial_epoch=2)
    assert list(metrics(tmp_path)) == [0, 1, 2, 3]
    fit(model, callback(tmp_path, stats=["n"]), epochs=3, initial_epoch=1)
    assert list(metrics(tmp_path)) == [0, 1, 2]


def test_a_second_fit_begins_a_run_of_its_own(tmp_path):
    model, same = dense(), callback(tmp_path, every=2)
    fit(model, same)
    fit(model, same, epochs=1)
    assert list(metrics(tmp_path)) == [2]
    assert same.tracker is None


def test_passes_beside_batches_are_left_out(tmp_path):
    model = dense()

    base: Any = keras.callbacks.Callback

    class Forecast(base):
        def on_epoch_end(self, epoch, logs=None):
            model.predict(IMAGES, verbose=0)
            model(IMAGES)

    given = callback(tmp_path, stats=["n"])
    fit(model, Forecast(), given, Forecast())
    for row in metrics(tmp_path).values():
        assert row == {"train-samples/out": 12, "eval-samples/out": 3}


def test_the_hyperparameters_are_the_optimizers(tmp_path):
    fit(dense(), callback(tmp_path, config={"seed": 3}))
    header = (tmp_path / "run" / "journal.jsonl").read_text().splitlines()[0]
    assert '"optimizer": {"name": "sgd' in header.lower()
    assert '"epochs": 2' in header
    assert '"seed": 3' in header


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every must be a number"),
        ({"every": "evaluation"}, "take every='epoch'"),
        ({"stat": ["lsat"]}, "did you mean 'stats'"),
        ({"gather": "last"}, "needs every as a number"),
    ],
)
def test_a_mistake_is_raised_at_once(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        delve_keras.DelveCallback(**arguments)


def test_what_only_the_run_tells_is_raised_before_the_first_batch(tmp_path):
    model = dense()
    before = model.layers[-1].kernel.numpy().copy()
    with pytest.raises(WriterNotFoundError):
        fit(model, callback(tmp_path, "csvv"))
    assert (model.layers[-1].kernel.numpy() == before).all()


def test_a_failure_stops_no_training(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("no such luck")

    monkeypatch.setattr(SaturationTracker, "add_saturations", fail)
    history = fit(dense(), callback(tmp_path))
    assert len(history.history["loss"]) == 2
    assert caplog.text.count("the training goes on without it") == 1


def test_nothing_is_left_on_the_model(tmp_path):
    model = dense()
    fit(model, callback(tmp_path))
    assert not any(layer._forward_hooks for layer in model.layers)


def test_another_backend_is_refused():
    code = (
        "import keras, delve_keras\n"
        "keras.backend.backend = lambda: 'jax'\n"
        "delve_keras.DelveCallback()"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "set KERAS_BACKEND=torch before Keras is imported" in told.stderr


def test_the_import_costs_nothing_else():
    code = (
        "import sys, keras, delve\n"
        "before = set(sys.modules)\n"
        "import delve_keras\n"
        "print([m for m in ('mlflow', 'wandb', 'tensorboard', 'tensorflow', 'delve_csv') "
        "if m in set(sys.modules) - before])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
