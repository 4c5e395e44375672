"""The callback for Keras 3 on PyTorch."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import keras
from torch import distributed

from delve.errors import ArgumentError
from delve.tracker import (
    Every,
    TrainersTracker,
    of_all_or_none,
    read_state,
    resolve_loggers,
    trainers_config,
    write_state,
)
from delve_keras.layers import layers_of

_FOLDER = "logs/delve"  # beside what Keras's own TensorBoard callback writes by default


class DelveCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Records what the layers do while a Keras model is fitted, on the PyTorch backend.

    A row stands for an epoch of Keras's, after its validation, or for so many batches. A ``fit``
    that begins at a later epoch (``initial_epoch``, or ``BackupAndRestore``) goes on in its run;
    one that begins at epoch 0 begins a run. Validation is what lies between ``on_test_begin`` and
    ``on_test_end``, whatever mode Keras has the layers in, and passes beside batches, such as those
    of ``predict``, are left out.

    A mistake in the arguments is raised at the first epoch at the latest. No failure of Delve's
    stops the training.

    Args:
        save_to: The writers, as for :class:`~delve.SaturationTracker`; ``"loggers"`` stands for the
            MLflow and W&B runs that are active when the first epoch begins, and for csv where there
            is none.
        every: ``"epoch"``, or a number of batches of training: then their count is the x axis.
        savefile: The run's folder.
        gather: ``"last"`` makes rows of every so many batches of the last of these batches alone.
        carry_scalars: Whether to record the logs of each epoch too, such as ``val_loss``.
        writer_args: Arguments for writers.
        tracker_arguments: All further arguments of :class:`~delve.SaturationTracker`.

    Raises:
        ArgumentError: An argument cannot be used, or Keras is on another backend.

    Example::

        model.fit(x, y, validation_data=(x_val, y_val), callbacks=[DelveCallback()])
    """

    def __init__(
        self,
        save_to: Any = "loggers",
        every: Every = None,
        *,
        savefile: str | os.PathLike[str] = _FOLDER,
        gather: Literal["window", "last"] = "window",
        carry_scalars: bool = False,
        writer_args: Mapping[str, Any] | None = None,
        **tracker_arguments: Any,
    ) -> None:
        super().__init__()
        if keras.backend.backend() != "torch":
            raise ArgumentError(
                f"Keras is on the backend {keras.backend.backend()!r}, and Delve looks into layers "
                "of PyTorch's: set KERAS_BACKEND=torch before Keras is imported"
            )
        if every == "evaluation":
            raise ArgumentError(
                "every='evaluation': Keras evaluates at the end of an epoch; take every='epoch'"
            )
        self._counts_batches = every not in (None, "epoch")
        self._held = TrainersTracker(
            "epoch" if every is None else every,
            gather,
            tracker_arguments,
            "step" if self._counts_batches else "epoch",
        )
        self._save_to = save_to
        self._writer_args = writer_args
        self._savefile = Path(savefile)
        self._carries = carry_scalars
        self._is_open = False
        self._batches = 0

    @property
    def tracker(self) -> Any:
        """The :class:`~delve.SaturationTracker`, while a ``fit`` is under way."""
        return self._held.tracker

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """A ``fit`` begins; at which epoch is told by the first of them."""
        self._held.close()  # where an exception has ended the last one
        self._is_open = False

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """An epoch begins: the first of a ``fit`` tells where the run goes on."""
        if not self._is_open:
            self._open(epoch)
        if not self._counts_batches:
            self._held.before_step(epoch + 1)

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """A batch of training begins."""
        if self._counts_batches:
            self._held.before_step(self._batches + 1)
        self._held.mode("train")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """A batch of training is over."""
        self._held.mode("off")
        self._batches += 1
        if self._counts_batches:
            self._held.after_step(self._batches)

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """A validation begins."""
        self._held.mode("eval")

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """A validation is over."""
        self._held.mode("off")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """An epoch and its validation are over."""
        done = self._batches if self._counts_batches else epoch + 1
        if self._carries:
            self._held.carry(logs or {}, done)
        self._held.after_epoch(done)
        if self._counts_batches:
            self._keep(epoch + 1)
        else:
            self._held.flush()  # a checkpoint may be written right now

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """The ``fit`` is over."""
        self._held.close()
        self._is_open = False

    def _open(self, epoch: int) -> None:
        self._is_open = True
        found = _active_runs(self._held.carried)
        save_to, writer_args = resolve_loggers(self._save_to, self._writer_args, found)
        state: Mapping[str, Any] | None = None
        if epoch and self._counts_batches:
            state = of_all_or_none(read_state(self._place(epoch), _rank()))
        self._batches = epoch * int((self.params or {}).get("steps") or 0)
        behind: int | None = epoch
        if self._counts_batches and epoch:
            behind = self._batches or None
        self._held.open(
            self._savefile,
            save_to,
            layers_of(self.model),
            writer_args=writer_args,
            config=trainers_config(_config(self.model), self.params),
            evaluates=False,
            step=behind,
            state=state,
        )
        self._held.mode("off")

    def _keep(self, epoch: int) -> None:
        """Keep the state of an epoch's end, and of the one before, as Keras keeps none for us."""
        state = self._held.state()
        if state is None:
            return
        place = self._place(epoch)
        place.mkdir(parents=True, exist_ok=True)
        write_state(place, _rank(), state)
        before = self._place(epoch - 2)
        (before / f"delve-{_rank()}.pt").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds more, or another process was quicker
            before.rmdir()

    def _place(self, epoch: int) -> Path:
        return self._savefile / "states" / f"epoch-{epoch}"


def _rank() -> int:
    """Which of the processes this is, where the user has begun several."""
    is_one_of_several = distributed.is_available() and distributed.is_initialized()
    return distributed.get_rank() if is_one_of_several else 0


def _config(model: Any) -> dict[str, Any]:
    """The hyperparameters of a compiled model."""
    optimizer = getattr(model, "optimizer", None)
    return {} if optimizer is None else {"optimizer": optimizer.get_config()}


def _active_runs(carried: Collection[str]) -> dict[str, dict[str, Any]]:
    """By the name of a writer, the arguments by which it records into the run that is active."""
    found: dict[str, dict[str, Any]] = {}
    mlflow, wandb = sys.modules.get("mlflow"), sys.modules.get("wandb")
    if mlflow is not None and (active := mlflow.active_run()):
        found["mlflow"] = {"run_id": active.info.run_id, "leave_out": carried}
    if wandb is not None and wandb.run is not None:
        found["wandb"] = {"run": wandb.run, "leave_out": carried}
    return found
