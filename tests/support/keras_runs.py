"""Fits of a Keras model on PyTorch in a process of their own, which may be killed.

``python keras_runs.py SCENARIO...`` with each scenario a JSON object; see :func:`train`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from torch import distributed

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
            time.sleep(0.5)  # W&B writes a run of the user's when it likes to
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


class AveragedSGD(keras.optimizers.SGD):
    """Averages gradients over processes, as who fits a model in several of them has to."""

    def apply(self, grads, trainable_variables=None):
        for gradient in grads:
            if distributed.is_initialized():
                distributed.all_reduce(gradient)
                gradient /= distributed.get_world_size()
        super().apply(grads, trainable_variables)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Images and their classes."""
    images = np.random.default_rng(0).normal(size=(SAMPLES, 6, 6, 1)).astype("float32")
    return images, (images.sum((1, 2, 3)) > 0).astype("int64")


def network() -> keras.Model:
    """A model with layers of several kinds."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", name="maps"),
            keras.layers.Reshape((16, 4)),
            keras.layers.LSTM(5, name="series"),
            keras.layers.Dense(6, name="head"),
            keras.layers.Dense(2, name="logits"),
        ]
    )


def train(scenario: dict[str, Any]) -> None:
    """Fit once, on this process's share of the data where there are several.

    Args:
        scenario: ``out``, the folder; ``delve``, the arguments of the callback, None for none;
            ``logged``, whether the user logs into runs of MLflow and W&B, or goes on in those of
            before; ``kill_at``, an epoch; ``policy``, of the numbers; ``accumulate``, gradients of
            so many batches; ``witness``; ``by_hand``, see :func:`train_by_hand`.
    """
    if scenario.get("by_hand"):
        train_by_hand(scenario)
        return
    rank, ranks = place()
    out = Path(scenario["out"])
    out.mkdir(exist_ok=True)
    keras.config.set_dtype_policy(scenario.get("policy", "float32"))
    images, labels = data()
    model = network()
    optimizer = AveragedSGD(0.05, gradient_accumulation_steps=scenario.get("accumulate"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    callbacks: list[Any] = [
        keras.callbacks.BackupAndRestore(str(out / f"backup-{rank}"), delete_checkpoint=False)
    ]
    if scenario.get("logged"):
        import mlflow
        import wandb

        from delve.tracker import forget_earlier_runs, name_earlier_runs

        named = name_earlier_runs(out / "delve")
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
    mine, held_out = slice(rank, None, ranks), slice(rank, HELD_OUT, ranks)
    model.fit(
        images[mine],
        labels[mine],
        batch_size=BATCH // ranks,
        epochs=EPOCHS,
        validation_data=(images[held_out], labels[held_out]),
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )
    if scenario.get("logged"):
        sys.modules["mlflow"].end_run()
        sys.modules["wandb"].finish()
        forget_earlier_runs(named)


def train_by_hand(scenario: dict[str, Any]) -> None:
    """Train as Keras's guide to several processes with PyTorch has it, with a tracker beside.

    Args:
        scenario: ``out``, the folder; ``delve``, the arguments of the tracker.
    """
    from delve_keras import layers_of

    from delve import SaturationTracker

    rank, ranks = place()
    images, labels = map(torch.from_numpy, data())
    model = torch.nn.parallel.DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"modules": layers_of(model), **scenario["delve"]}
    with SaturationTracker(Path(scenario["out"]) / "delve", **options) as tracker:
        for _ in range(EPOCHS):
            for first in range(rank, SAMPLES, BATCH):
                mine = slice(first, first - rank + BATCH, ranks)
                optimizer.zero_grad()
                loss(labels[mine], model(images[mine])).backward()
                optimizer.step()
            held_out = images[rank:HELD_OUT:ranks]
            with tracker.mode("eval"), torch.no_grad():
                for one in held_out.split(BATCH // ranks):
                    model(one)
            tracker.add_saturations()


def place() -> tuple[int, int]:
    """The number of this process, and of how many."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


if __name__ == "__main__":
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
    for text in sys.argv[1:]:
        train(json.loads(text))
    if "RANK" in os.environ:
        distributed.destroy_process_group()
