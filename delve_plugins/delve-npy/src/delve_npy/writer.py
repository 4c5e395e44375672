"""The NumPy writer: each array in a file of its own, all scalars in one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from delve.base import get_logger
from delve.errors import ArgumentError
from delve.files import ARRAYS, Pace, set_aside, sync
from delve.records import HeldEpoch, Metric, RunInfo, shortened
from delve_npy.archive import archive_name, our_archive, write_archive
from delve_npy.losses import Expected, describe, lost_arrays
from delve_npy.output import OutputFolder
from delve_npy.ownership import recalled
from delve_npy.scalars import DamagedFileError, ScalarTable

DTYPES = ("float64", "float32")
CHECK_TIME = 5.0  # seconds that a resume takes to look for damaged arrays
SHARE = 0.01  # of the run's time, for writing scalars.npz again and again

logger = get_logger(__name__)


class NPYWriter:
    """Writes ``npy/<mode>-<stat>/<layer>/epoch00003.npy`` and ``npy/scalars.npz``.

    ``scalars.npz`` holds the array ``epoch``, where rows have a training step the array ``step``,
    and one array a metric, NaN where a metric has no value. It is written anew each time, so not
    each epoch: as rarely as keeps that under 2 % of the run's time, and at the end. Both are read
    with :func:`numpy.load`. What another program has under these names stays as it is: then the
    run's are in ``npy-delve``, or called ``scalars-delve.npz``.

    Args:
        savepath: The run's folder.
        zip: Whether to pack all of it into ``npy.zip`` at the end; the folder stays.
        dtype: What arrays are stored as: ``float64``, or ``float32`` in half the space.
        every: Store the arrays of every so many epochs, those that this number divides.

    Raises:
        ArgumentError: An argument cannot be used.
    """

    def __init__(
        self,
        savepath: str | os.PathLike[str],
        zip: bool = False,  # noqa: A002 - the name that delve 0.1 documents
        dtype: str = "float64",
        every: int = 1,
    ) -> None:
        if dtype not in DTYPES:
            raise ArgumentError(f"dtype must be {' or '.join(DTYPES)}, not {dtype!r}")
        if not isinstance(every, int) or every < 1:
            raise ArgumentError(f"every must be a number of epochs, at least 1, not {every!r}")
        self._wanted, self._dtype = Path(savepath) / ARRAYS, np.dtype(dtype)
        self._output = OutputFolder(self._wanted, self._dtype)
        self._zip = zip
        self._every = every
        self._begin()

    def _begin(self) -> None:
        """Know of no epoch, whatever an earlier run of the same object has left."""
        self._table = ScalarTable()
        self._staged_epoch = -1
        self._row: dict[str, float] = {}
        self._arrays_since: int | None = None  # the first epoch that came with an array
        self._replayed_until = -1
        self._pace = Pace(SHARE)
        self._open = False

    @property
    def path(self) -> Path:
        """The folder that is written into."""
        return self._output.path

    def start(self, run: RunInfo) -> None:
        """Begin with nothing: an earlier run's arrays and scalars are removed."""
        self._begin()
        self._output.begin(run)
        if archive := our_archive(self._archive_path, self.path.name):
            archive.unlink()
        self._write_scalars()
        self._open = True
        self._expect_arrays(run)

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Keep what is below ``initial_epoch``; answers with the first epoch without scalars."""
        self._begin()
        self._output.resume(initial_epoch, run)
        self._retire_archive()
        self._set_damaged_aside()
        self._table = self._read_scalars()
        self._table.cut(initial_epoch)
        self._write_scalars()
        for path in (self._output.scalars_path, self.path):
            sync(path)  # a power cut must not bring back what is void
        self._open = True
        lacking = run.first_lacking(self._table.epochs)
        if lacking < initial_epoch:
            self._replayed_until = max(run.epochs)
        else:
            self._end_replay(run)
        return lacking

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        """Stage a scalar of the user's."""
        self._row_of(epoch)[name] = value

    def add_scalars(self, value_dict: dict[Metric, float], global_step: int) -> None:
        """Stage the layer metrics."""
        self._row_of(global_step).update(value_dict.items())

    def add_array(self, name: Metric, value: np.ndarray, epoch: int, run: RunInfo) -> None:
        """Store an array."""
        if epoch % self._every:
            return
        if self._arrays_since is None:
            self._arrays_since = epoch
            if run.state.get("arrays_since") is None:
                run.remember(arrays_since=epoch, every=self._every)
        self._output.arrays.write(name, epoch, value)

    def save(self, epoch: int, run: RunInfo, step: int | None = None) -> None:
        """Take the epoch's scalars into the table, and write the file if it is time."""
        self._table.put(epoch, self._row_of(epoch), step)
        self._row = {}
        if epoch == self._replayed_until:
            self._rewrite_scalars()
            self._end_replay(run)
        elif self._pace.is_due():
            self._rewrite_scalars()

    def close(self) -> None:
        """Write all scalars, and the zip file if one is wanted."""
        if not self._open:
            return
        _at_most_twice(self._rewrite_scalars)
        if self._zip:
            _at_most_twice(self._write_archive)
        self._open = False
        expected = Expected(self._arrays_since, self._every)
        self._name_lost_arrays(self._table.epochs, expected)

    def held_epochs(self, run: RunInfo) -> Iterable[HeldEpoch]:
        """The epochs of ``scalars.npz``; of those for which it was not written yet nobody knows.

        Raises:
            DamagedFileError: The file is not whole.
        """
        path = OutputFolder(self._wanted, self._dtype).table(run)
        table = ScalarTable.read(path) if path else ScalarTable()
        return (
            HeldEpoch(epoch, values, step=table.step_of(epoch)) for epoch, values in table.rows()
        )

    def _row_of(self, epoch: int) -> dict[str, float]:
        """What is staged for this epoch; what an epoch left that never came to its end goes."""
        if epoch != self._staged_epoch:
            self._staged_epoch, self._row = epoch, {}
        return self._row

    @property
    def _archive_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.zip")

    def _write_archive(self) -> None:
        files = [self._output.scalars_path, *self._output.arrays.files()]
        write_archive(archive_name(self._archive_path, self.path.name), files)

    def _retire_archive(self) -> None:
        """Take the zip file of a run that goes on out of the way; it no longer tells all."""
        archive = our_archive(self._archive_path, self.path.name)
        if archive is None:
            return
        if self._output.scalars_path.exists():
            archive.unlink()
        else:
            kept = set_aside(archive, "before-resume")
            logger.warning(
                "%s is gone and only its zip file is left, which is kept as %s; the arrays in it "
                "are not unpacked",
                self.path,
                kept.name,
            )

    def _set_damaged_aside(self) -> None:
        damaged, unread = self._output.arrays.set_damaged_aside(time.monotonic() + CHECK_TIME)
        if damaged:
            logger.warning(
                "%s: %d arrays are damaged, and the journal holds no arrays; they are kept as %s",
                self.path,
                len(damaged),
                shortened([str(file.relative_to(self.path)) for file in sorted(damaged)]),
            )
        if unread:
            logger.info("%s: no time to look for damage in the %d oldest arrays", self.path, unread)

    def _read_scalars(self) -> ScalarTable:
        try:
            return ScalarTable.read(self._output.scalars_path)
        except DamagedFileError as error:
            kept = set_aside(self._output.scalars_path, "damaged")
            logger.warning(
                "%s; it is kept as %s, and written anew from the journal", error, kept.name
            )
            return ScalarTable()

    def _write_scalars(self) -> None:
        with self._pace.measured():
            self.path.mkdir(parents=True, exist_ok=True)
            self._table.write(self._output.scalars_path)

    def _rewrite_scalars(self) -> None:
        """Write all of them again, over nothing that another program wrote meanwhile."""
        self._output.keep_off()
        self._write_scalars()

    def _end_replay(self, run: RunInfo) -> None:
        """With all scalars there, tell which arrays the earlier process did not store."""
        self._replayed_until = -1
        if recalled(run).get("arrays_since") is not None:
            self._name_lost_arrays(run.epochs, self._expected_before(run))
            run.remember(arrays_since=None)
        self._expect_arrays(run)

    def _expected_before(self, run: RunInfo) -> Expected:
        try:
            return Expected.read(recalled(run))
        except ValueError:
            logger.warning(
                "%s: what the journal says of arrays cannot be used and is passed over; arrays "
                "that a crash took are not named",
                self.path,
            )
            return Expected(since=None)

    def _expect_arrays(self, run: RunInfo) -> None:
        """Note what is to come now: a process killed in its first epoch has no other chance."""
        if run.arrays:
            run.remember(
                arrays_since=run.initial_epoch, every=self._every, computed=list(run.arrays)
            )
        elif recalled(run).get("computed"):
            run.remember(computed=[])

    def _name_lost_arrays(self, epochs: Iterable[int], expected: Expected) -> None:
        since, every = expected.since, expected.every
        if since is None:
            return
        wanted = [epoch for epoch in epochs if epoch >= since and epoch % every == 0]
        stored, table = self._output.arrays.epochs(), self._table
        lost = lost_arrays(stored, wanted, table.columns(), table.epochs, expected.computed)
        if lost:
            logger.warning(
                "%s: arrays that a crash or a fault took are not in the journal and stay lost: %s",
                self.path,
                describe(lost),
            )


def _at_most_twice(action: Callable[[], None]) -> None:
    """Do what is done last a second time where it fails: there is no later one."""
    try:
        action()
    except OSError as error:
        logger.debug("a first try failed", exc_info=error)
        action()
