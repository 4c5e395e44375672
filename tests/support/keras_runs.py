"""Fits of a Keras model on PyTorch in a process of their own, which may be killed.

``python keras_runs.py SCENARIO...`` with each scenario a JSON object; see :func:`train`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch

EPOCHS = 4
SAMPLES = 48
HELD_OUT = 8
BATCH = 4


class Killer(keras.callbacks.Callback):
    """Ends the process in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch
        self._at = -1

    def on_epoch_begin(self, epoch, logs=None):
        self._at = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self._at == self._epoch and batch == 5:
            os.kill(os.getpid(), signal.SIGKILL)


class UsersLogger(keras.callbacks.Callback):
    """What users write: the logs of each epoch go into the active runs; and a forecast besides."""

    def __init__(self, inputs: np.ndarray) -> None:
        super().__init__()
        self._inputs = inputs

    def on_epoch_end(self, epoch, logs=None):
        import mlflow
        import wandb

        mlflow.log_metrics(logs, step=epoch)
        wandb.log({"epoch": epoch, **logs}, step=10 * epoch)
        self.model.predict(self._inputs, verbose=0)


class Witness(keras.callbacks.Callback):
    """Keeps what the head returned, by the epoch and whether it was validation."""

    def __init__(self, model: Any, path: str) -> None:
        super().__init__()
        self._path = path
        self._place: tuple[int, str] | None = None
        self._epoch = 0
        self._seen: list[tuple[int, str, torch.Tensor]] = []
        model.get_layer("head").register_forward_hook(self._keep)

    def _keep(self, module, inputs, output):
        if self._place:
            self._seen.append((*self._place, output.detach().double()))

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self._place = self._epoch, "train"

    def on_test_begin(self, logs=None):
        self._place = self._epoch, "eval"

    def on_test_end(self, logs=None):
        self._place = None

    def on_train_end(self, logs=None):
        torch.save(self._seen, self._path)


def train(scenario: dict[str, Any]) -> None:
    """Fit once.

    Args:
        scenario: ``out``, the folder; ``delve``, the arguments of the callback, None for none;
            ``logged``, whether the user logs into runs of MLflow and W&B; ``kill_at``, an epoch;
            ``policy``, of the numbers; ``accumulate``, gradients of so many batches; ``witness``.
    """
    out = Path(scenario["out"])
    out.mkdir(exist_ok=True)
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(scenario.get("policy", "float32"))
    images = np.random.default_rng(0).normal(size=(SAMPLES, 6, 6, 1)).astype("float32")
    labels = (images.sum((1, 2, 3)) > 0).astype("int64")
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", name="maps"),
            keras.layers.Reshape((16, 4)),
            keras.layers.LSTM(5, name="series"),
            keras.layers.Dense(6, name="head"),
            keras.layers.Dense(2, name="logits"),
        ]
    )
    optimizer = keras.optimizers.SGD(0.05, gradient_accumulation_steps=scenario.get("accumulate"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    callbacks: list[Any] = [
        keras.callbacks.BackupAndRestore(str(out / "backup"), delete_checkpoint=False)
    ]
    if scenario.get("logged"):
        import mlflow
        import wandb

        mlflow.start_run()
        mlflow.log_param("name", scenario["name"])
        wandb.init(project="fits", config={"name": scenario["name"]})
        callbacks.append(UsersLogger(images))
    if (options := scenario.get("delve")) is not None:
        from delve_keras import DelveCallback

        callbacks.append(DelveCallback(savefile=out / "delve", **options))
    if "kill_at" in scenario:
        callbacks.append(Killer(scenario["kill_at"]))
    if scenario.get("witness"):
        callbacks.append(Witness(model, scenario["witness"]))
    model.fit(
        images,
        labels,
        batch_size=BATCH,
        epochs=EPOCHS,
        validation_data=(images[:HELD_OUT], labels[:HELD_OUT]),
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )
    if scenario.get("logged"):
        sys.modules["mlflow"].end_run()
        sys.modules["wandb"].finish()


if __name__ == "__main__":
    for text in sys.argv[1:]:
        train(json.loads(text))
