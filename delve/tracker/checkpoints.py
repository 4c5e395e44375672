"""What a checkpoint taken inside an epoch holds of the tracker, and how it goes on there."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from delve.capture.gathered_states import fresh_in, with_beside, with_samples
from delve.capture.gathering import Gathering
from delve.delivery.run import SilentRun
from delve.errors import ArgumentError
from delve.numerics import processes
from delve.numerics.accumulator import Accumulator
from delve.numerics.reduction import CovarianceReducer
from delve.numerics.waiting import meet
from delve.numerics.weight_marks import marks_of
from delve.records import LayerKey, StagedEpoch
from delve.tracker.company import over_processes
from delve.tracker.old_names import OldNames
from delve.tracker.opening import settle
from delve.tracker.process_states import Content, content_for, of_all, of_process
from delve.tracker.steps import Turns

# Calls `state_dict` in every process, and keeps what the first one got, for all of them.
_KEEPS_THE_FIRST = "accelerate.checkpointing"


class Checkpoints(OldNames):
    """The tracker's state, taken and loaded, over the processes of a training."""

    _group: processes.Group
    _reducer: CovarianceReducer
    _writer: int  # the rank, within the group, of the process that writes
    _is_settled: bool  # whether the process group has said who writes
    _turns: Turns
    _gathering: Gathering

    def state_dict(self, merged: bool = False) -> dict[str, Any]:
        """What a checkpoint taken inside an epoch needs to go on exactly there.

        Made of plain values, so ``torch.load(..., weights_only=True)`` reads it back. Under
        ``torch.distributed`` each process has samples of its own, and a state says whose it is:
        each keeps its own, by ``torch.save`` or ``torch.distributed.checkpoint``.

        Args:
            merged: Whether the first process is to get the samples of all, and the others nothing:
                for checkpoints of one file, which any number of processes may load. It is
                collective then: every process calls it. So it is, by itself, where Accelerate
                calls it.
        """
        caller = sys._getframe(1).f_globals.get("__name__")
        rank, count = processes.place(self._group)
        if (merged or caller == _KEEPS_THE_FIRST) and count > 1:
            return of_all(self._epoch, self._content_of_all(), count)
        return of_process(self._epoch, self._content(), rank, count)

    def load_state_dict(self, state: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Go on from a :meth:`state_dict`, in a tracker that was made with its epoch.

        Under ``torch.distributed`` each process loads the state that it kept itself, or all load
        the merged one, of which the first takes the samples. Where the number of processes has
        changed, each loads a list of the states of all, of which it takes its share.

        Example::

            state = checkpoint["tracker"]
            tracker = SaturationTracker(..., initial_epoch=state["epoch"])
            tracker.load_state_dict(state)

        Raises:
            ArgumentError: The state is of another epoch than this tracker's current one, or
                samples of other processes are not in it.
        """
        self._check_open()
        states = [state] if isinstance(state, Mapping) else list(state)
        for one in states:
            if one["epoch"] != self._epoch:
                raise ArgumentError(
                    f"the state is of epoch {one['epoch']}, but the tracker is at epoch "
                    f"{self._epoch}; make it with initial_epoch={one['epoch']}"
                )
        content = content_for(states, *processes.place(self._group))
        if content is None:
            return
        with self._whole():
            self._hooks.load_state_dict(content["recorder"])
            staged = StagedEpoch.from_state_dict(content["staged"])
            for name, number in staged.scalars.items():
                self._log(name, number)
            self._staged.metrics |= staged.metrics
            self._staged.arrays |= staged.arrays
            self._staged.few_samples |= staged.few_samples
            self._staged.features |= staged.features
            self._staged.step = staged.step
            self._go_on(content.get("passed", 0))

    def _go_on(self, passed: int) -> None:
        """So many calls have come since the last row: gather what the next call needs."""
        self._turns.go_on(passed)
        self._hooks.is_idle = not self._turns.is_gathering

    def _content(self) -> Content:
        return {
            "staged": self._staged.state_dict(),
            "recorder": self._hooks.state_dict(),
            "passed": self._turns.passed,
        }

    def _content_of_all(self) -> Content | None:
        """The content with the samples of all processes, in the one that writes."""
        self._check_open()
        meet("state_dict(merged=True)", self._group)
        self._settle()
        content = self._content()
        covariances = self._reduced(self._hooks.held())
        beside = self._gathering.beside
        whole = beside and over_processes(beside, self._reduced, self._group)
        fresh: dict[tuple[str, str], int] = {}
        for counts in processes.gather(fresh_in(content["recorder"]), self._group):
            for key, count in counts.items():
                fresh[key] = fresh.get(key, 0) + count
        if not self._is_writing:
            return None
        recorder = with_samples(content["recorder"], covariances, fresh)
        # What nobody can put together is left out of the epoch, also of its rest.
        lost = [list(key) for key, count in fresh.items() if count and key not in covariances]
        recorder["left_out"] = [*recorder["left_out"], *lost]
        if whole:
            recorder = with_beside(recorder, [whole.tally_states()], whole.halves)
        return {**content, "recorder": recorder}

    def _reduced(
        self,
        covariances: Mapping[LayerKey, Accumulator],
        deal: bool = False,
        consume: bool = False,
    ) -> dict[LayerKey, Accumulator]:
        """The covariances over the samples of all processes, as :class:`CovarianceReducer` has it.

        Complete in the process that writes, or dealt out.
        """
        marks = marks_of(self._hooks.modules)
        layouts = self._hooks.layouts
        return self._reducer.reduce(covariances, layouts, marks, self._writer, deal, consume)

    def _settle(self) -> None:
        """Once there is a process group, have one of its processes write."""
        if not self._is_settled and processes.is_distributed(self._group):
            self._run, self._writer = settle(self._run, self._savefile, self._group)
            self._is_settled = True

    @property
    def _is_writing(self) -> bool:
        return not isinstance(self._run, SilentRun)
