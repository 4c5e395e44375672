"""Records a run of Delve in one SQLite file."""

from __future__ import annotations

import io
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from delve import Metric, RunInfo

TABLES = {
    "epochs": "epoch INTEGER PRIMARY KEY, timestamp INTEGER",
    "metrics": "epoch INTEGER, name TEXT, mode TEXT, stat TEXT, layer TEXT, value REAL, "
    "PRIMARY KEY (epoch, name)",
    "arrays": "epoch INTEGER, name TEXT, npy BLOB, PRIMARY KEY (epoch, name)",
}


class SQLiteWriter:
    """Writes ``metrics.sqlite``: one row a value, one transaction an epoch.

    Args:
        savepath: The run's folder.
        filename: The file's name in it.
    """

    def __init__(self, savepath: str | os.PathLike[str], filename: str = "metrics.sqlite") -> None:
        self.path = Path(savepath) / filename
        self._database: sqlite3.Connection | None = None
        self._metrics: list[tuple[str, str | None, str | None, str | None, float]] = []
        self._arrays: list[tuple[str, bytes]] = []

    def start(self) -> None:
        """A new run: hold nothing."""
        self._hold_below(0)

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Hold the epochs below; each was committed whole or not at all."""
        self._hold_below(initial_epoch)
        with self._transaction() as database:
            return run.first_lacking({e for (e,) in database.execute("SELECT epoch FROM epochs")})

    def add_scalar(self, name: str, value: float) -> None:
        """Stage a scalar of the user's."""
        self._metrics.append((name, None, None, None, value))

    def add_scalars(self, value_dict: dict[Metric, float]) -> None:
        """Stage the layer metrics."""
        self._metrics += [(m, m.mode, m.stat, m.layer, value) for m, value in value_dict.items()]

    def add_array(self, name: Metric, value: np.ndarray) -> None:
        """Stage an array, in NumPy's own format."""
        np.save(file := io.BytesIO(), value, allow_pickle=False)
        self._arrays.append((name, file.getvalue()))

    def save(self, epoch: int, timestamp: int) -> None:
        """Commit what was staged, in place of what there was of this epoch."""
        metrics, arrays = self._metrics, self._arrays
        self._metrics, self._arrays = [], []  # also if the commit fails: all of it comes again
        with self._transaction() as database:
            for table in TABLES:
                database.execute(f"DELETE FROM {table} WHERE epoch = ?", (epoch,))
            database.execute("INSERT INTO epochs VALUES (?, ?)", (epoch, timestamp))
            # OR REPLACE, because a name that is logged twice in an epoch is staged twice.
            into = f"INSERT OR REPLACE INTO metrics VALUES ({epoch}, ?, ?, ?, ?, ?)"
            database.executemany(into, metrics)
            database.executemany(f"INSERT INTO arrays VALUES ({epoch}, ?, ?)", arrays)

    def close(self) -> None:
        """Let go of the file."""
        if self._database:
            self._database.close()
        self._database = None

    def _hold_below(self, epoch: int) -> None:
        self.close()  # this may be the second attempt
        self._metrics, self._arrays = [], []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Delve makes one call at a time, but not always from the same thread.
        self._database = sqlite3.connect(self.path, timeout=5, check_same_thread=False)
        with self._transaction() as database:
            for table, columns in TABLES.items():
                database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
                database.execute(f"DELETE FROM {table} WHERE epoch >= ?", (epoch,))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        assert self._database, "start or resume_from_saved_state comes first"
        try:
            with self._database:
                yield self._database
        except sqlite3.Error as error:
            raise OSError(f"{self.path}: {error}") from error
