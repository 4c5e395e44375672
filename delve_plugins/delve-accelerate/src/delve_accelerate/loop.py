"""A tracker in a training loop of Accelerate's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from accelerate import Accelerator
from torch import nn

from delve.tracker import (
    SaturationTracker,
    TrainersTracker,
    behind_its_row,
    in_all_processes,
    of_all_or_none,
    read_state,
    resolve_loggers,
    trainers_config,
    write_state,
)
from delve_accelerate.checkpoints import Checkpoint, forget_row, note_row, step_of_row
from delve_accelerate.earlier import folder_of, forget_loggers
from delve_accelerate.trackers import Listener, runs_of


def track(
    accelerator: Accelerator,
    model: nn.Module,
    save_to: Any = "loggers",
    *,
    savefile: str | os.PathLike[str] | None = None,
    carry_scalars: bool = False,
    writer_args: Mapping[str, Any] | None = None,
    **tracker_arguments: Any,
) -> LoopTracker:
    """Record what the layers of a model do in a loop of Accelerate's.

    To be called in each process, once the model is prepared and before ``load_state``. The tracker
    itself is made at ``accelerator.load_state``, or at the model's first forward pass.

    - ``accelerator.save_state`` and ``load_state`` take it along, each process's state in a file of
      its own, ``delve-<rank>.pt``, so that a training goes on in its run, in mid-epoch too.
    - ``accelerator.end_training`` ends the run.

    Args:
        accelerator: The accelerator.
        model: The model, as ``accelerator.prepare`` returned it.
        save_to: The writers, as for :class:`~delve.SaturationTracker`; ``"loggers"`` stands for the
            MLflow, W&B and TensorBoard of ``log_with``, in the runs that these trackers log to, and
            for csv where there is none of these.
        savefile: The run's folder; ``<project_dir>/delve`` by default.
        carry_scalars: Whether to record what ``accelerator.log`` is given too: of each name the
            last value before a row.
        writer_args: Arguments for writers.
        tracker_arguments: All further arguments of :class:`~delve.SaturationTracker`.

    Raises:
        ArgumentError: An argument cannot be used; what only the model or the folder tells is
            raised when the tracker is made. Later failures of Delve's stop no training.

    Example::

        tracker = delve.accelerate.track(accelerator, model)
        for epoch in range(epochs):
            train(model)
            evaluate(model)
            tracker.add_saturations(step=step)
        accelerator.end_training()
    """
    return LoopTracker(
        accelerator,
        model,
        save_to,
        folder_of(accelerator, savefile),
        carry_scalars,
        writer_args,
        tracker_arguments,
    )


class LoopTracker:
    """The tracker of one loop, see :func:`track`; its calls are those of the tracker.

    Its run ends with ``accelerator.end_training``, or as that of a
    :class:`~delve.SaturationTracker` does: by ``close``, or at the end of ``with``.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        save_to: Any,
        folder: Path,
        carries: bool,
        writer_args: Mapping[str, Any] | None,
        arguments: dict[str, Any],
    ) -> None:
        self._held = TrainersTracker(arguments=arguments, has_rows_of_scalars=False)
        self._accelerator = accelerator
        self._model = model
        self._save_to = save_to
        self._folder = folder
        self._writer_args = writer_args
        self._is_open = False  # or was
        self._is_over = False
        self._saved: Checkpoint | None = None  # the last one, until a row is taken
        self._loaded: Checkpoint | None = None  # where it has its row already
        self._first = model.register_forward_pre_hook(self._before_the_first_pass)
        self._hooks = (
            accelerator.register_save_state_pre_hook(self._keep),
            accelerator.register_load_state_pre_hook(self._go_on),
        )
        self._listener = Listener(self.close, self._carry if carries else None)
        accelerator.trackers.append(self._listener)

    @property
    def tracker(self) -> SaturationTracker | None:
        """The tracker itself, while there is one."""
        return self._held.tracker

    @property
    def savefile(self) -> Path:
        """The run's folder."""
        return self._folder

    def add_scalar(self, name: str, value: Any) -> None:
        """Log a number of your own for the row to come, see the tracker's."""
        if (tracker := self._opened()) is not None:
            tracker.add_scalar(name, value)

    def add_saturations(self, *, step: int | None = None) -> None:
        """Take a row of all that came since the last one, in each process.

        One that is taken after ``save_state`` and before the next training pass belongs to that
        checkpoint: a training that goes on from there keeps it, whether or not the loop comes to
        this call again.

        Args:
            step: The training step at which it is taken; all rows of a run have one, or none has.
        """
        if self._comes_again():
            return
        saved = self._saved if self._accelerator.is_main_process else None
        checkpoint = saved.folder if saved is not None and saved.is_last else None
        self._let_go()
        if checkpoint is None:
            self._held.row(step)
            return
        note_row(checkpoint, step)
        before = self._row_number
        self._held.row(step)
        if self._row_number == before:  # not every call records one
            forget_row(checkpoint)

    def mode(
        self, mode: Literal["train", "eval", "off"]
    ) -> contextlib.AbstractContextManager[None]:
        """See :meth:`delve.SaturationTracker.mode`."""
        tracker = self._opened()
        return contextlib.nullcontext() if tracker is None else tracker.mode(mode)

    def mask(self, mask: Any) -> contextlib.AbstractContextManager[None]:
        """See :meth:`delve.SaturationTracker.mask`."""
        tracker = self._opened()
        return contextlib.nullcontext() if tracker is None else tracker.mask(mask)

    def close(self, error: BaseException | None = None) -> None:
        """End the run; a second call does nothing."""
        self._is_open = self._is_over = True
        self._first.remove()
        self._let_go()
        for hook in self._hooks:
            hook.remove()
        self._held.close(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(error)

    def _opened(self) -> SaturationTracker | None:
        """The tracker, made if it was not yet; None where that failed, or after the end."""
        if not self._is_open:
            self._open(step=0)
            self._held.before_step(1)
        return self._held.tracker

    def _before_the_first_pass(self, model: nn.Module, inputs: Any) -> None:
        self._opened()

    def _keep(self, models: Any, weights: Any, output_dir: str) -> None:
        if self._accelerator.is_main_process:
            forget_row(output_dir)
        write_state(output_dir, self._accelerator.process_index, self._held.state())
        self._let_go()
        self._saved = Checkpoint(output_dir, self._model)

    def _go_on(self, models: Any, input_dir: str) -> None:
        if self._is_over:
            return
        self._let_go()
        kept = of_all_or_none(read_state(input_dir, self._accelerator.process_index))
        state = kept and behind_its_row(kept, self._folder, step_of_row(input_dir))
        self._open(step=None, state=state)
        if state is kept:
            self._held.before_step(1)
        else:
            self._loaded = Checkpoint(input_dir, self._model, lambda: self._held.before_step(1))

    def _comes_again(self) -> bool:
        """Whether the loop has come to the row that its checkpoint has already. Collective."""
        loaded = self._loaded
        is_so = loaded is not None and in_all_processes(loaded.is_last)
        if is_so:
            self._let_go()
        return is_so

    def _let_go(self) -> None:
        """The loop stands at no checkpoint any more."""
        for checkpoint in (self._saved, self._loaded):
            if checkpoint is not None:
                checkpoint.leave()
        self._saved = self._loaded = None

    def _open(self, step: int | None, state: Mapping[str, Any] | None = None) -> None:
        self._is_open = True
        self._first.remove()
        accelerator = self._accelerator
        forget_loggers(accelerator)  # they have begun
        found = runs_of(accelerator, self._held.carried)
        save_to, writer_args = resolve_loggers(self._save_to, self._writer_args, found)
        own = {
            "mixed_precision": accelerator.mixed_precision,
            "gradient_accumulation_steps": accelerator.gradient_accumulation_steps,
            "num_processes": accelerator.num_processes,
        }
        self._held.open(
            self._folder,
            save_to,
            self._model,
            writer_args=writer_args,
            config=trainers_config(self._listener.config, own),
            step=step,
            state=state,
        )

    @property
    def _row_number(self) -> int | None:
        return None if self._held.tracker is None else self._held.tracker.epoch

    def _carry(self, values: Mapping[str, Any]) -> None:
        self._held.carry(values, 0)
