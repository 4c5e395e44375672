"""Drives a writer through a run as the tracker does, with a journal, and with faults on demand."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delve.delivery.checked_writer import check_writer
from delve.delivery.delivery import Delivery
from delve.errors import WriterConfigurationError
from delve.hookspecs import HOOKS, hookimpl
from delve.journal.clock import now_in_ms
from delve.journal.journal import Journal
from delve.journal.stored_run import read_run
from delve.records import EpochRecord, RunInfo
from delve.testing.rows import LAYERS, Row

CONFIG = {"lr": 0.1, "model": {"width": 64}}


class BackendDownError(ConnectionError):
    """A fault that a test ordered."""


@dataclass(frozen=True)
class Fault:
    """The backend's connection fails in some calls of one hook.

    Attributes:
        hook: The hook's name.
        calls: Which of its calls, counted from 0.
        reached: True loses the backend's answer: the writer did its work, and the core does not
            know. False never reaches the writer.
    """

    hook: str
    calls: Container[int]
    reached: bool


class Recording:
    """One process's part of a run, recorded by one writer.

    Whatever the writer raises by itself becomes an AssertionError that begins with ``promise``.

    Args:
        writer: The writer, newly made.
        folder: The run's folder.
        promise: What the writer has to do here, in words.
        initial_epoch: 0 begins a new run, N > 0 resumes the folder's.
        layers: The tracked layers in forward order.
        faults: What goes wrong.
        config: The hyperparameters.
    """

    def __init__(
        self,
        writer: object,
        folder: Path,
        promise: str,
        initial_epoch: int = 0,
        layers: Sequence[str] = LAYERS,
        faults: Sequence[Fault] = (),
        config: Mapping[str, Any] = CONFIG,
    ) -> None:
        self.writer = writer
        self.folder = folder
        self.promise = promise
        self.layers = tuple(layers)
        self._named = check_writer(type(writer).__name__, writer)
        self.implements = {hook for hook in HOOKS if self._named.implements(hook)}
        self._watch = _Watch(self.implements, faults)
        self._named.manager.register(self._watch)
        folder.mkdir(parents=True, exist_ok=True)
        if initial_epoch == 0:
            self._journal = Journal.create(folder, self.layers, config)
        else:
            self._journal = Journal.resume(folder, initial_epoch, self.layers, config)
        self._run = RunInfo(
            savefile=folder,
            run_id=self._journal.run_id,
            created=self._journal.created,
            layers=self._journal.layers,
            config=config,
            initial_epoch=initial_epoch,
            epochs=tuple(self._journal.epochs),
            metrics=self._journal.metrics,
        )
        self._delivery = Delivery([self._named], self._journal, self._run)
        self._time = 0

    @property
    def answer(self) -> Any:
        """What the writer answered last when it was resumed."""
        return self._watch.answers["resume_from_saved_state"]

    @property
    def takes_epoch(self) -> bool:
        """Whether the writer is told the epoch, so that it can be fed one again."""
        return any(self._named.arguments(hook) & {"epoch", "global_step"} for hook in HOOKS)

    def open(self) -> None:
        """Start or resume, and feed the writer what it lacks."""
        with self._promised():
            self._delivery.open()

    def stage(self, row: Row) -> None:
        """Log an epoch's scalars, and stop short of saving it."""
        with self._promised():
            for name, value in row.scalars.items():
                self._delivery.add_scalar(name, value, row.epoch, self._now())

    def save(self, *rows: Row) -> None:
        """Record whole epochs."""
        for row in rows:
            self.stage(row)
            record = EpochRecord(row.epoch, self._now(), row.scalars, row.metrics)
            with self._promised():
                self._journal.write_epoch(record, self.layers)
                self._delivery.save(record, row.arrays, self.layers)

    def close(self, error: BaseException | None = None) -> None:
        """End the run; may be called again, and without :meth:`open`."""
        with self._promised():
            self._delivery.close(error)
        self._journal.close()

    def dispose(self) -> None:
        """Release what the writer still holds, whatever the state it was left in."""
        self._watch.heal()
        with contextlib.suppress(Exception):
            self._named.hook.close(error=None, run=self._run)
        self._journal.close()

    @contextlib.contextmanager
    def _promised(self) -> Iterator[None]:
        with contextlib.suppress(WriterConfigurationError):
            yield
        for hook, error in self._watch.failures:
            raise AssertionError(
                f"{self.promise}; {hook} raised {type(error).__name__}: {error}"
            ) from error

    def _now(self) -> int:
        """The time; never the same twice, so that a repeated value can be told from a new one."""
        self._time = max(now_in_ms(), self._time + 1)
        return self._time


def run_id(folder: Path) -> str:
    """The identity of the run that a folder's journal holds, for backends that hold many runs."""
    return read_run(folder).run_id


class _Watch:
    """Stands around a writer's hooks: notes failures and answers, and lets calls go wrong."""

    def __init__(self, hooks: set[str], faults: Sequence[Fault]) -> None:
        self.failures: list[tuple[str, Exception]] = []
        self.answers: dict[str, Any] = {}
        self._faults = faults
        self._calls: Counter[str] = Counter()
        for hook in hooks:
            setattr(self, hook, hookimpl(self._around(hook), wrapper=True))

    def heal(self) -> None:
        """From now on nothing goes wrong any more."""
        self._faults = ()

    def _around(self, hook: str) -> Callable[[], Generator[None, Any, Any]]:
        # Takes no arguments: what a hook takes says what the writer can do.
        def around() -> Generator[None, Any, Any]:
            fault = self._next_fault(hook)
            if fault and not fault.reached:
                raise BackendDownError(f"{hook} did not reach the backend")
            try:
                answer = yield
            except Exception as error:
                self.failures.append((hook, error))
                raise
            self.answers[hook] = answer
            if fault:
                raise BackendDownError(f"the backend's answer to {hook} got lost")
            return answer

        return around

    def _next_fault(self, hook: str) -> Fault | None:
        number = self._calls[hook]
        self._calls[hook] += 1
        return next((f for f in self._faults if f.hook == hook and number in f.calls), None)
