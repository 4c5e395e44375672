"""What a checkpoint taken inside an epoch holds of the tracker, and how it goes on there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from delve.errors import ArgumentError
from delve.records import StagedEpoch
from delve.tracker.old_names import OldNames
from delve.tracker.steps import Turns


class Checkpoints(OldNames):
    """The tracker's state, taken and loaded."""

    _turns: Turns

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint taken inside an epoch needs to go on exactly there.

        Made of tensors and plain values, so ``torch.load(..., weights_only=True)`` reads it back.
        Under ``torch.distributed`` each process has samples of its own, so each must keep its own
        state.
        """
        return {
            "epoch": self._epoch,
            "staged": self._staged.state_dict(),
            "recorder": self._hooks.state_dict(),
            "passed": self._turns.passed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`, in a tracker that was made with its epoch.

        Under ``torch.distributed`` each process loads the state that it kept itself: one state for
        all would count its samples once a process.

        Example::

            state = checkpoint["tracker"]
            tracker = SaturationTracker(..., initial_epoch=state["epoch"])
            tracker.load_state_dict(state)

        Raises:
            ArgumentError: The state is of another epoch than this tracker's current one.
        """
        self._check_open()
        if state["epoch"] != self._epoch:
            raise ArgumentError(
                f"the state is of epoch {state['epoch']}, but the tracker is at epoch "
                f"{self._epoch}; make it with initial_epoch={state['epoch']}"
            )
        with self._whole():
            self._hooks.load_state_dict(state["recorder"])
            staged = StagedEpoch.from_state_dict(state["staged"])
            for name, number in staged.scalars.items():
                self._log(name, number)
            self._staged.metrics |= staged.metrics
            self._staged.arrays |= staged.arrays
            self._staged.few_samples |= staged.few_samples
            self._staged.step = staged.step
            self._go_on(state.get("passed", 0))

    def _go_on(self, passed: int) -> None:
        """So many calls have come since the last row: gather what the next call needs."""
        self._turns.go_on(passed)
        self._hooks.is_idle = not self._turns.is_gathering
