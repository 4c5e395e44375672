"""The callback for the Trainer of Transformers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from transformers.trainer_callback import TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from delve.base import get_logger
from delve.tracker import (
    Every,
    TrainersTracker,
    behind_its_row,
    forget_earlier_runs,
    name_earlier_runs,
    of_all_or_none,
    resolve_loggers,
    trainers_config,
    write_state,
)
from delve_transformers.checkpoints import checkpoint_of, has_checkpoint, state_of
from delve_transformers.loggers import runs_of

# What the Trainer logs once, of the whole training, when it is over.
_SUMMARY = frozenset(
    {
        "train_runtime",
        "train_samples_per_second",
        "train_steps_per_second",
        "train_tokens_per_second",
        "total_flos",
        "train_loss",
    }
)

logger = get_logger(__name__)


class DelveCallback(TrainerCallback):  # type: ignore[misc]  # Transformers has no types of its own
    """Records what the layers do while a Trainer of Transformers trains.

    The x axis is the Trainer's ``global_step``. The run lies in ``<output_dir>/delve``, its
    hyperparameters are the ``TrainingArguments`` and the model's configuration. A training that
    goes on from a checkpoint goes on in its run, in the middle of an epoch too: each process keeps
    its state in the checkpoint, in ``delve-<rank>.pt``.

    A mistake in the arguments is raised when the training begins at the latest. No failure of
    Delve's stops the training.

    Args:
        save_to: The writers, as for :class:`~delve.SaturationTracker`; ``"loggers"`` stands for the
            MLflow, W&B and TensorBoard of ``report_to``, in the runs that the Trainer logs to, and
            for csv where there is none of these.
        every: A row at each ``"evaluation"``, at each ``"epoch"``, or every so many global steps.
            None: at evaluations if ``eval_strategy`` has any, else at epochs.
        savefile: The run's folder.
        gather: ``"last"`` makes rows of every so many steps of the last of these steps alone, which
            costs the others nothing; ``"window"`` of all.
        carry_scalars: Whether to record what the Trainer logs too, such as ``loss`` and
            ``eval_loss``, each at its step; it is exact after a resume, as all that Delve records.
        resume_loggers: Whether the Trainer's own MLflow and W&B go on in the runs of before where
            ``output_dir`` holds a checkpoint, in the place of new ones.
        writer_args: Arguments for writers.
        tracker_arguments: All further arguments of :class:`~delve.SaturationTracker`.

    Raises:
        ArgumentError: An argument cannot be used.

    Example::

        trainer = Trainer(model, args, train_dataset=texts, callbacks=[DelveCallback()])
    """

    def __init__(
        self,
        save_to: Any = "loggers",
        every: Every = None,
        *,
        savefile: str | os.PathLike[str] | None = None,
        gather: Literal["window", "last"] = "window",
        carry_scalars: bool = False,
        resume_loggers: bool = False,
        writer_args: Mapping[str, Any] | None = None,
        **tracker_arguments: Any,
    ) -> None:
        self._held = TrainersTracker(every, gather, tracker_arguments)
        self._save_to = save_to
        self._writer_args = writer_args
        self._savefile = savefile
        self._carries = carry_scalars
        self._resumes_loggers = resume_loggers
        self._named: dict[str, str] | None = None

    @property
    def tracker(self) -> Any:
        """The :class:`~delve.SaturationTracker`, while a training is under way."""
        return self._held.tracker

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The Trainer is made, and its loggers have not begun."""
        self._named = {}
        if self._resumes_loggers and has_checkpoint(args.output_dir):
            self._named = name_earlier_runs(self._folder(args))

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        """The state is restored, and the Trainer's loggers have begun."""
        if self._resumes_loggers and self._named is None:
            logger.warning(
                "resume_loggers: the callback was added after the Trainer was made, when it is too "
                "late to name its earlier runs; give it as Trainer(..., callbacks=[...])"
            )
        if self._named and not state.global_step:
            logger.warning(
                "resume_loggers: %s holds a checkpoint, so the Trainer's loggers go on in the runs "
                "of before, but the training begins anew",
                args.output_dir,
            )
        found = runs_of(args, self._held.carried)
        save_to, writer_args = resolve_loggers(self._save_to, self._writer_args, found)
        step = state.global_step
        kept = of_all_or_none(state_of(args, step)) if step else None
        if kept is not None:  # an epoch's evaluation comes after the checkpoint of its last step
            kept = behind_its_row(kept, self._folder(args), step)
        self._held.open(
            self._folder(args),
            save_to,
            model,
            writer_args=writer_args,
            config=trainers_config(args, getattr(model, "config", None)),
            evaluates=getattr(args.eval_strategy, "value", args.eval_strategy) != "no",
            step=step,
            state=kept,
        )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A step begins; with gradient accumulation, its first batch."""
        self._held.before_step(state.global_step + 1)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The weights were updated."""
        self._held.after_step(state.global_step)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """An epoch is over; an evaluation of it comes after this."""
        self._held.after_epoch(state.global_step)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One data set was evaluated; others may follow at this step."""
        self._held.after_evaluation(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """The Trainer logs."""
        if self._carries:
            scalars = {name: value for name, value in (logs or {}).items() if name not in _SUMMARY}
            self._held.carry(scalars, state.global_step)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A checkpoint was written."""
        kept, checkpoint = self._held.state(), checkpoint_of(args, state.global_step)
        if checkpoint.is_dir():
            write_state(checkpoint, args.process_index, kept)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The training is over, or a trial of Optuna's is about to be pruned."""
        self._held.close()
        forget_earlier_runs(self._named or {})

    def _folder(self, args: TrainingArguments) -> Path:
        return Path(self._savefile or Path(args.output_dir or "") / "delve")
