"""The NumPy writer: each array in a file of its own, all scalars in one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from delve.errors import ArgumentError
from delve.files import set_aside
from delve.log import get_logger
from delve.pace import Pace
from delve.records import Metric, RunInfo
from delve_npy.archive import write_archive
from delve_npy.arrays import ArrayFolder
from delve_npy.losses import describe, lost_arrays, shortened
from delve_npy.scalars import DamagedFileError, ScalarTable

FOLDER_NAME = "npy"
SCALARS_NAME = "scalars.npz"
DTYPES = ("float64", "float32")
CHECK_TIME = 5.0  # seconds that a resume takes to look for damaged arrays
SHARE = 0.01  # of the run's time, for writing scalars.npz again and again

logger = get_logger(__name__)


class NPYWriter:
    """Writes ``npy/<mode>-<stat>/<layer>/epoch00003.npy`` and ``npy/scalars.npz``.

    ``scalars.npz`` holds the array ``epoch`` and one array a metric, NaN where a metric has no
    value. It is written anew each time, so not each epoch: as rarely as keeps that under 2 % of
    the run's time, and at the end. Both are read with :func:`numpy.load`.

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
        self.path = Path(savepath) / FOLDER_NAME
        self._scalars_path = self.path / SCALARS_NAME
        self._archive_path = self.path.with_name(f"{FOLDER_NAME}.zip")
        self._arrays = ArrayFolder(self.path, np.dtype(dtype))
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

    def start(self, run: RunInfo) -> None:
        """Begin with an empty folder: an earlier run's arrays and scalars are removed.

        Where a run is resumed they are kept under another name instead: they may be this run's
        own, from a writer that the journal knows by another name.
        """
        self._begin()
        if run.initial_epoch and self.path.is_dir() and not self.path.is_symlink():
            kept = set_aside(self.path, "earlier")
            logger.warning("%s is of an earlier run, and kept as %s", self.path, kept.name)
        self._prepare(first=0)
        self._archive_path.unlink(missing_ok=True)
        self._write_scalars()
        self._open = True
        self._expect_arrays(run)

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Keep what is below ``initial_epoch``; answers with the first epoch without scalars."""
        self._begin()
        self._retire_archive()
        self._prepare(initial_epoch)
        self._set_damaged_aside()
        self._table = self._read_scalars()
        self._table.cut(initial_epoch)
        self._write_scalars()
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
        self._arrays.write(name, epoch, value)

    def save(self, epoch: int, run: RunInfo) -> None:
        """Take the epoch's scalars into the table, and write the file if it is time."""
        self._table.put(epoch, self._row_of(epoch))
        self._row = {}
        if epoch == self._replayed_until:
            self._write_scalars()
            self._end_replay(run)
        elif self._pace.is_due():
            self._write_scalars()

    def close(self) -> None:
        """Write all scalars, and the zip file if one is wanted."""
        if not self._open:
            return
        self._write_scalars()
        if self._zip:
            write_archive(self._archive_path, [self._scalars_path, *self._arrays.files()])
        self._open = False
        self._name_lost_arrays(self._table.epochs, self._arrays_since, self._every)

    def _row_of(self, epoch: int) -> dict[str, float]:
        """What is staged for this epoch; what an epoch left that never came to its end goes."""
        if epoch != self._staged_epoch:
            self._staged_epoch, self._row = epoch, {}
        return self._row

    def _prepare(self, first: int) -> None:
        """Have a folder with no array of epoch ``first`` or later."""
        self._arrays.cut(first)
        self.path.mkdir(parents=True, exist_ok=True)

    def _retire_archive(self) -> None:
        """Take the zip file of a run that goes on out of the way; it no longer tells all."""
        if not self._archive_path.exists():
            return
        if self._scalars_path.exists():
            self._archive_path.unlink()
        else:
            kept = set_aside(self._archive_path, "before-resume")
            logger.warning(
                "%s is gone and only its zip file is left, which is kept as %s; the arrays in it "
                "are not unpacked",
                self.path,
                kept.name,
            )

    def _set_damaged_aside(self) -> None:
        damaged, unread = self._arrays.set_damaged_aside(time.monotonic() + CHECK_TIME)
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
            return ScalarTable.read(self._scalars_path)
        except DamagedFileError as error:
            kept = set_aside(self._scalars_path, "damaged")
            logger.warning(
                "%s; it is kept as %s, and written anew from the journal", error, kept.name
            )
            return ScalarTable()

    def _write_scalars(self) -> None:
        with self._pace.measured():
            self.path.mkdir(parents=True, exist_ok=True)
            self._table.write(self._scalars_path)

    def _end_replay(self, run: RunInfo) -> None:
        """With all scalars there, tell which arrays the earlier process did not store."""
        self._replayed_until = -1
        since = run.state.get("arrays_since")
        if since is not None:
            computed = run.state.get("computed", ())
            self._name_lost_arrays(run.epochs, since, run.state["every"], computed)
            run.remember(arrays_since=None)
        self._expect_arrays(run)

    def _expect_arrays(self, run: RunInfo) -> None:
        """Note what is to come now: a process killed in its first epoch has no other chance."""
        if run.arrays:
            run.remember(
                arrays_since=run.initial_epoch, every=self._every, computed=list(run.arrays)
            )
        elif run.state.get("computed"):
            run.remember(computed=[])

    def _name_lost_arrays(
        self, epochs: Iterable[int], since: int | None, every: int, computed: Iterable[str] = ()
    ) -> None:
        if since is None:
            return
        wanted = [epoch for epoch in epochs if epoch >= since and epoch % every == 0]
        lost = lost_arrays(
            self._arrays.epochs(), wanted, self._table.columns(), self._table.epochs, computed
        )
        if lost:
            logger.warning(
                "%s: arrays that a crash or a fault took are not in the journal and stay lost: %s",
                self.path,
                describe(lost),
            )
