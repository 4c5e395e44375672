"""What an author overrides, and what the tests of the contract share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from delve.delivery.checked_writer import check_writer
from delve.errors import DelveError
from delve.hookspecs import HOOKS
from delve.testing.recording import Recording
from delve.testing.rows import ArrayPoint, Point, Row, array_differences, differences

Test = TypeVar("Test", bound=Callable[..., None])


class Record(Protocol):
    """Opens a recording in the test's folder; what it left open is released after the test."""

    def __call__(self, promise: str, *rows: Row, **options: Any) -> Recording:
        """Begin (or resume) a run and record the rows, if any, up to a normal end."""


def needs(*hooks: str) -> Callable[[Test], Test]:
    """Skip a test for a writer that has not all of these methods."""

    def mark(test: Test) -> Test:
        vars(test).update(needed_hooks=hooks)
        return test

    return mark


class WriterTests:
    """The overrides, fixtures and comparisons of :class:`delve.testing.WriterContract`."""

    entry_point: str | None = None
    """The writer's name in ``save_to``, if it is installed under one."""

    def make_writer(self, folder: Path) -> object:
        """The writer that records a run in this folder, which may not exist yet."""
        raise NotImplementedError("override make_writer(self, folder)")

    def read_scalars(self, folder: Path) -> Iterable[Point]:
        """Every value that the backend holds of the folder's run: (epoch, name, value)."""
        pytest.skip(f"no error; but read_scalars is not there to read {folder.name} back")

    def read_arrays(self, folder: Path) -> Iterable[ArrayPoint]:
        """Every array that the backend holds of the folder's run: (epoch, name, array)."""
        pytest.skip(f"no error; but read_arrays is not there to read {folder.name} back")

    def stored(self, value: float) -> float:
        """What the backend holds for a value: infinities clipped, or rounded to float32."""
        return value

    def abandon(self, writer: object) -> None:
        """Make the writer's process seem killed; by default it is just never called again."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A run's folder that does not exist yet, well inside the test's own."""
        return tmp_path / "runs" / "a" / "b" / "run"

    @pytest.fixture
    def record(self, folder: Path) -> Iterator[Record]:
        """Opens recordings; see :class:`Record`."""
        recordings: list[Recording] = []

        def record(promise: str, *rows: Row, **options: Any) -> Recording:
            recording = Recording(self.make_writer(folder), folder, promise, **options)
            recordings.append(recording)
            if rows:
                recording.open()
                recording.save(*rows)
                recording.close()
            return recording

        yield record
        for recording in recordings:
            recording.dispose()

    @pytest.fixture(autouse=True)
    def _only_what_is_implemented(self, request: pytest.FixtureRequest, folder: Path) -> None:
        needed = getattr(request.function, "needed_hooks", ())
        writer = self.make_writer(folder) if needed else None
        missing = [hook for hook in needed if hook not in implemented_hooks(writer)]
        if missing:
            pytest.skip(f"{type(writer).__name__} has no {', '.join(missing)}")

    def check_scalars(self, recording: Recording, rows: Iterable[Row]) -> None:
        """The backend holds exactly these rows."""
        self.check_points(self.read_scalars(recording.folder), recording, rows)

    def check_points(
        self, points: Iterable[Point], recording: Recording, rows: Iterable[Row]
    ) -> None:
        """These values are exactly those of these rows."""
        expected = {
            row.epoch: {
                name: self.stored(value) for name, value in given_values(recording, row).items()
            }
            for row in rows
        }
        found = differences(points, expected)
        assert not found, f"{recording.promise}; {found}"

    def check_arrays(self, recording: Recording, rows: Iterable[Row]) -> None:
        """The backend holds exactly the arrays of these rows."""
        expected = {
            row.epoch: {str(name): array for name, array in row.arrays.items()} for row in rows
        }
        found = array_differences(self.read_arrays(recording.folder), expected)
        assert not found, f"{recording.promise}; {found}"


def implemented_hooks(writer: object) -> set[str]:
    """The hooks that a writer implements; all, if it breaks the contract: a test will tell."""
    try:
        named = check_writer(type(writer).__name__, writer)
    except DelveError:
        return set(HOOKS)
    return {hook for hook in HOOKS if named.implements(hook)}


def given_values(recording: Recording, row: Row) -> dict[str, float]:
    """What a writer gets of a row through the methods that it has."""
    scalars = row.scalars if "add_scalar" in recording.implements else {}
    metrics = row.metrics if "add_scalars" in recording.implements else {}
    return {**scalars, **{str(metric): value for metric, value in metrics.items()}}
