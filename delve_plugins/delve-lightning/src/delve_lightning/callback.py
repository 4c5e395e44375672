"""The callback for Lightning's Trainer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from delve.base import get_logger
from delve.errors import ArgumentError
from delve.tracker import (
    Every,
    TrainersTracker,
    behind_its_row,
    forget_earlier_runs,
    name_earlier_runs,
    resolve_loggers,
    trainers_config,
)
from delve_lightning.bases import as_callback, plain
from delve_lightning.folders import folder_to_go_on_in, new_folder
from delve_lightning.loggers import go_on_in, listener, runs_of
from delve_lightning.states import gathered, own_state

# Lightning's own loggers have what belongs to its n-th training step at n - 1.
_AS_ITS_LOGGERS = -1

logger = get_logger(__name__)


class DelveCallback:
    """Records what the layers do while a Trainer of Lightning's trains.

    The x axis is the step that Lightning's own loggers have. The run lies in ``<log_dir>/delve``,
    its hyperparameters are the ``hparams`` of the module and of the data module. A training that
    goes on by ``ckpt_path`` goes on in its run, in the middle of an epoch too: the checkpoint keeps
    the state of each process.

    A mistake in the arguments is raised when the training begins at the latest. No failure of
    Delve's stops the training. With ``fast_dev_run`` nothing is recorded.

    Args:
        save_to: The writers, as for :class:`~delve.SaturationTracker`; ``"loggers"`` stands for the
            Trainer's own MLflow, W&B, TensorBoard and CSV loggers, in the runs that they have, and
            for csv where there is none of these.
        every: A row at each ``"evaluation"``, at each ``"epoch"``, or every so many training steps.
            None: at evaluations if the Trainer validates, else at epochs.
        savefile: The run's folder. By default a training that begins never takes the place of an
            earlier one: it gets ``delve-2`` and so on where ``delve`` is taken.
        gather: ``"last"`` makes rows of every so many steps of the last of these steps alone, which
            costs the others nothing; ``"window"`` of all.
        carry_scalars: Whether to record what Lightning logs too, such as ``val_loss``; its own
            loggers' runs do not get it again.
        resume_loggers: Whether Lightning's MLflow and W&B loggers go on in the runs that the run in
            ``savefile`` was recorded into, in the place of new ones.
        writer_args: Arguments for writers.
        tracker_arguments: All further arguments of :class:`~delve.SaturationTracker`.

    Raises:
        ArgumentError: An argument cannot be used.

    Example::

        trainer = Trainer(max_epochs=5, callbacks=[DelveCallback()])
    """

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """An object that is a callback of Lightning's too, whichever package is imported by now."""
        made: Self = object.__new__(as_callback(cls))
        return made

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
        self._held = TrainersTracker(every, gather, tracker_arguments, offset=_AS_ITS_LOGGERS)
        resolve_loggers(save_to, writer_args, {})  # their form
        if resume_loggers and savefile is None:
            raise ArgumentError(
                "resume_loggers=True needs savefile: Lightning's loggers begin before the "
                "checkpoint is read that tells where the run is"
            )
        self._save_to = save_to
        self._writer_args = writer_args
        self._savefile = savefile
        self._carries = carry_scalars
        self._resumes_loggers = resume_loggers
        self._named = name_earlier_runs(savefile) if resume_loggers and savefile else {}
        self._loaded: dict[str, Any] = {}  # what the checkpoint had
        self._kept: dict[str, Any] = {}  # of the end of a training that may go on
        self._number = 0  # of the training step under way, or of the last one
        self._done = 0  # training steps that are over
        self._updates = 0  # Lightning's own global_step, by which a checkpoint is known
        self._is_resumed = False
        self._row_taken_at = -1
        self._heard: dict[str, Any] = {}
        self._listener: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (plain(type(self)),), self.__dict__

    @property
    def tracker(self) -> Any:
        """The :class:`~delve.SaturationTracker`, while a training is under way."""
        return self._held.tracker

    @property
    def state_key(self) -> str:
        """What a checkpoint calls its state: two callbacks have folders of other names."""
        name = "" if self._savefile is None else f"[{Path(self._savefile).name}]"
        return f"DelveCallback{name}"

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Lightning's loggers have begun, and no checkpoint was read."""
        if stage == "fit" and "MLFLOW_RUN_ID" in self._named:
            go_on_in(trainer, self._named["MLFLOW_RUN_ID"])

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The state is restored, and the sanity check is over."""
        forget_earlier_runs(self._named)
        self._named = {}
        if trainer.fast_dev_run:
            logger.info("fast_dev_run: Delve records nothing")
            return
        kept = self._to_go_on_from(trainer)
        self._done = self._number = kept["step"] if kept else _steps_taken(trainer)
        self._updates, self._is_resumed = trainer.global_step, True
        self._heard, self._row_taken_at = {}, -1
        save_to, writer_args = self._save_to, self._writer_args
        if trainer.is_global_zero:
            found = runs_of(trainer, self._held.carried)
            save_to, writer_args = resolve_loggers(save_to, writer_args, found)
        parts = (pl_module, trainer.datamodule)
        folder, state = self._folder(trainer, kept.get("folder")), own_state(kept)
        if state:  # Lightning validates and logs after some checkpoints, and does not come back
            state = behind_its_row(state, folder, self._done + _AS_ITS_LOGGERS)
        self._held.open(
            folder,
            save_to,
            pl_module,
            writer_args=writer_args,
            config=trainers_config(*(getattr(part, "hparams_initial", None) for part in parts)),
            evaluates=bool(trainer.enable_validation),
            step=self._done,
            state=state,
        )
        if self._carries:
            self._listener = listener(trainer, self._heard.update)
            trainer.loggers = [*trainer.loggers, self._listener]

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """A batch begins: with gradient accumulation, one of several of a training step."""
        number = trainer.fit_loop.epoch_loop._batches_that_stepped + 1
        if number == self._number and not self._is_resumed:
            return
        late = self._row_taken_at == self._number
        if not late:
            self._take_what_was_heard()
        self._held.before_step(number)
        self._number, self._is_resumed = number, False
        if late:  # its row was taken for a checkpoint before Lightning logged this
            self._take_what_was_heard()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A batch is over, and with it a training step unless gradients are accumulated."""
        self._updates = trainer.global_step
        if not trainer.fit_loop._should_accumulate():
            self._done = self._number
            self._held.after_step(self._number)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """A validation is over, and was logged; outside of a training that is nothing to Delve."""
        if self._row_taken_at != self._number:
            self._take_what_was_heard()
        self._held.after_evaluation(self._number)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """An epoch is over, and was not logged yet."""
        self._held.after_epoch(self._number)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; each process of the training calls it."""
        tracker = self._held.tracker
        if tracker is None:
            return self._kept
        before = tracker.epoch
        states = gathered(self._held.state())
        if tracker.epoch != before:
            self._row_taken_at = self._number
        return {
            "step": self._done,
            "updates": self._updates,
            "folder": str(tracker.savefile.resolve()),
            "states": states,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what a checkpoint has kept, for the training that goes on from there."""
        self._loaded = state_dict

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """The training is over."""
        if self._row_taken_at == self._number:
            self._number += 1
        self._take_what_was_heard()
        if self._held.tracker is not None and self._held.tracker.epoch == 0:
            # It ended before the first validation, as by max_steps: one row is more than none.
            self._held.after_evaluation(self._number)
            self._held.after_epoch(self._number)
        self._kept = self.state_dict()
        self._held.close()
        self._tidy_up(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The training ends by an exception, which may be a good end."""
        self._take_what_was_heard()
        self._held.close(exception, self._number)
        self._tidy_up(trainer)

    def _tidy_up(self, trainer: Any) -> None:
        forget_earlier_runs(self._named)
        if self._listener is not None:
            trainer.loggers = [one for one in trainer.loggers if one is not self._listener]
            self._listener = None

    def _take_what_was_heard(self) -> None:
        """Carry what Lightning has logged at the step under way."""
        if self._heard:
            self._held.carry(dict(self._heard), self._number)
            self._heard.clear()

    def _to_go_on_from(self, trainer: Any) -> dict[str, Any]:
        """What was kept at this very point of the training, by a checkpoint or an earlier fit."""
        for state in (self._loaded, self._kept):
            if trainer.global_step and state.get("updates") == trainer.global_step:
                return state
        return {}

    def _folder(self, trainer: Any, recorded: str | None) -> Path:
        if self._savefile is not None:
            return Path(self._savefile)
        if not trainer.is_global_zero:  # the first process decides
            return Path(trainer.default_root_dir, "delve")
        return folder_to_go_on_in(trainer, recorded) if self._done else new_folder(trainer)


def _steps_taken(trainer: Any) -> int:
    """The training steps that lie behind, where no state of Delve's tells."""
    if len(trainer.optimizers) == 1:
        return int(trainer.global_step)
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def _made_again(kind: type[DelveCallback]) -> DelveCallback:
    """A callback without its state, in another process, of the packages imported there."""
    return kind.__new__(kind)
