"""The CSV writer: one row an epoch, one column a metric."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delve.base import get_logger
from delve.errors import BackendLostError, RejectedError
from delve.files import open_plain, refuse_if_larger, replacing, set_aside, unfinished_name
from delve.journal import most_bytes
from delve.records import HeldEpoch, Metric, RunInfo
from delve_csv.header import EPOCH, MAX_NAME_LENGTH, STEP, encode_line, encode_row, read_header
from delve_csv.neighbours import is_taken
from delve_csv.ownership import FILE, TableFile
from delve_csv.rows import as_cell, held_in, rows_of

logger = get_logger(__name__)

if TYPE_CHECKING:
    import pandas as pd

FILE_NAME = "metrics.csv"

_MOST_WAITING = 2**20  # bytes of rows that are not written yet


class CSVWriter:
    """Writes ``metrics.csv``: the column ``epoch``, then one column a metric in first-seen order.

    Where rows have a training step, the column ``step`` stands behind ``epoch``, in whole numbers.

    An epoch is one line, appended in one write and flushed. The file comes with the first one. It
    is rewritten only where a column is new, where an epoch comes again, and on resume; then a
    temporary file replaces it. An empty cell means that the metric had no value that epoch;
    ``NaN`` that it was not a number. A file of that name that Delve did not write stays as it is:
    the table is ``metrics-delve.csv`` then.

    Args:
        savepath: The run's folder, or the path of a file that ends in ``.csv``.

    Attributes:
        path: The table's file.
    """

    def __init__(self, savepath: str | os.PathLike[str]) -> None:
        path = Path(savepath)
        self.path = path if path.suffix == ".csv" else path / FILE_NAME
        self._place = TableFile(self.path)
        self._run: RunInfo | None = None
        self._taken: Path | None = None  # a file that another program has taken over
        self._begin()

    def _begin(self) -> None:
        """Know of no row, and of no file."""
        self._columns: list[str] = [EPOCH]
        self._row: dict[str, Any] = {}  # floats, and a step, which is whole
        self._last_epoch = -1
        self._last_start = 0  # where the last row begins in the file, in bytes
        self._end = 0  # where the next row goes; 0: there is no file yet
        self._waiting = bytearray()  # rows that are still to be written, as is seen by:
        self._waiting_at = 0  # where they go; once they are there, the end lies behind that
        self._first_waiting = -1  # the epoch of the first of them
        self._is_torn = False  # whether more may lie behind, which a fault has left
        self._is_unsure = False  # whether the file was replaced, which an interrupt leaves open

    def start(self, run: RunInfo | None = None) -> None:
        """Begin without a table: an earlier run's is taken away."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path = self._place.new(run, self._taken)
        self._run = run
        self._begin()
        self._try_folder()

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Keep the rows that only the table has; asks for all that the journal has again.

        A table has no checksums: a digit that a fault changed looks like any other.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path = self._place.resumed(run, self._columns, self._taken)
        self._run = run
        self._begin()
        if self.path.exists():
            refuse_if_larger(self.path, most_bytes(run.savefile))
            self._remember()
        known = self._read_columns()
        fed_again = run.epochs
        rows = dict(self._rows(lambda epoch: epoch < initial_epoch and epoch not in fed_again))
        used = [
            place for place in range(len(known)) if any(cells[place] for cells in rows.values())
        ]
        axis = [EPOCH, STEP] if run.axis == STEP else [EPOCH]
        columns = [*axis, *run.metrics, *(known[place] for place in used)]
        self._columns = list(dict.fromkeys(columns))
        if rows:
            self._replace(self._rearranged(rows[epoch], known) for epoch in sorted(rows))
        else:
            self.path.unlink(missing_ok=True)
            self._try_folder()
        return run.first_lacking(())

    def add_scalar(self, name: str, value: float) -> None:
        """Stage a scalar of the user's."""
        _refuse_long_names([name])
        self._row[name] = value

    def add_scalars(self, value_dict: dict[Metric, float]) -> None:
        """Stage the layer metrics."""
        _refuse_long_names(value_dict)
        self._row.update(value_dict.items())

    def save(self, epoch: int, run: RunInfo | None = None, step: int | None = None) -> None:
        """Append the epoch's row; an epoch that is there already is replaced.

        Rows that come again when a run is resumed are written many at a time.

        Raises:
            BackendLostError: The file is not as it was left, or rows that waited cannot be written.
        """
        if step is not None:
            self._row = {STEP: step, **self._row}
        known = self._columns
        unknown = self._row.keys() - set(known)
        new = [name for name in self._row if name in unknown] if unknown else []
        try:
            if not self._end:
                self._columns = known + new
                self._create(epoch)
            elif new or epoch < self._last_epoch:
                self._write_waiting()
                self._check_file()
                self._columns = known + new
                self._replace(self._rows_with(epoch))
            elif run is not None and run.comes_again(epoch) and self._can_wait(epoch):
                self._first_waiting = self._first_waiting if self._still_waiting() else epoch
                self._waiting += self._line(epoch)
                self._last_epoch = epoch
            else:
                self._write_waiting()
                self._append(epoch)
        except BaseException:
            self._columns = known  # which are those in the file
            raise
        finally:
            self._row = {}

    def close(self) -> None:
        """Write what has waited."""
        self._write_waiting()

    def held_epochs(self, run: RunInfo) -> Iterable[HeldEpoch]:
        """The rows of the run's table; nothing where no table is known for Delve's."""
        path = self._place.found(run)
        return held_in(path) if path and path.exists() else ()

    def read(self) -> pd.DataFrame:
        """The table so far, with one row an epoch."""
        import pandas as pd

        return pd.read_csv(self.path)

    def _try_folder(self) -> None:
        """Find out now, and not at the end of the first epoch, whether a file can be made.

        Raises:
            OSError: It cannot.
        """
        temporary = self.path.with_name(unfinished_name(self.path.name))
        temporary.unlink(missing_ok=True)
        temporary.touch(exist_ok=False)
        temporary.unlink()

    def _create(self, epoch: int) -> None:
        """Make the file with its first row, unless another program was there first."""
        if self._is_unsure:
            raise BackendLostError(f"{self.path} may have been written when it was interrupted")
        if os.path.lexists(self.path) or is_taken(self.path):
            self.path = self._place.free()
        self._remember()
        self._replace([self._cells(epoch)])

    def _remember(self) -> None:
        """Note which file is the run's own."""
        if self._run is not None:
            label = self._place.label(self.path, self._run)
            if self._run.state.get(FILE) != label:
                self._run.remember(**{FILE: label})

    def _can_wait(self, epoch: int) -> bool:
        return epoch > self._last_epoch and len(self._still_waiting()) < _MOST_WAITING

    def _still_waiting(self) -> bytearray:
        """What waits; nothing of it does once it is written, whatever came in at that moment."""
        if self._waiting_at != self._end:
            self._waiting = bytearray()
            self._waiting_at = self._end
        return self._waiting

    def _write_waiting(self) -> None:
        """Write the rows that have waited, of which the last is replaced if its epoch comes again.

        Raises:
            BackendLostError: They cannot be written.
        """
        rows = bytes(self._still_waiting())
        if not rows:
            return
        try:
            self._check_file()
            self._write(self._end, rows, self._last_epoch)
        except OSError as error:
            raise BackendLostError(f"{error}", self._first_waiting) from error

    def _append(self, epoch: int) -> None:
        self._check_file()
        begin = self._last_start if epoch == self._last_epoch else self._end
        self._write(begin, self._line(epoch), epoch)

    def _write(self, begin: int, rows: bytes, epoch: int) -> None:
        """Put rows into the file, of which the last is that of an epoch."""
        start = begin + rows.rfind(b"\n", 0, -1) + 1
        with os.fdopen(open_plain(self.path, os.O_RDWR), "r+b", buffering=0) as file:
            self._is_torn = True  # until all is there, whatever comes between
            if file.seek(0, os.SEEK_END) != begin:
                file.truncate(begin)
                file.seek(begin)
            if file.write(rows) != len(rows):
                file.truncate(begin)  # what arrived is given again
                raise OSError(f"{self.path}: the disk took only a part of epoch {epoch}")
        self._is_torn = False
        self._last_epoch, self._last_start, self._end = epoch, start, begin + len(rows)

    def _check_file(self) -> None:
        """Have the file be as this process left it, but for what a fault of its own has torn.

        Raises:
            BackendLostError: It is not.
            OSError: The folder is gone, or cannot be looked into.
        """
        if self._is_unsure:
            raise BackendLostError(f"{self.path} may have been replaced when it was interrupted")
        try:
            size = self.path.lstat().st_size
        except FileNotFoundError:
            self.path.parent.stat()
            raise BackendLostError(f"another program has deleted {self.path}") from None
        if size < (self._last_start if self._is_torn else self._end):
            raise BackendLostError(f"another program has shortened {self.path}")
        if size > self._end and not self._is_torn:
            self._taken = self.path
            raise BackendLostError(f"another program has written into {self.path}")

    def _line(self, epoch: int) -> bytes:
        values = list(map(self._row.get, self._columns[1:]))
        is_stepped = self._columns[1:2] == [STEP] and type(values[0]) is int
        step = f"{values.pop(0)}," if is_stepped else ""
        # Floats that are none of NaN, as nearly all rows have, are spelt all at once.
        if set(map(type, values)) == {float}:
            text = repr(values)
            if "n" not in text.replace("inf", ""):
                return f"{epoch},{step}{text[1:-1].replace(', ', ',')}\n".encode()
        return encode_row(self._cells(epoch))

    def _cells(self, epoch: int) -> list[str]:
        values = map(self._row.get, self._columns[1:])
        cells = ["" if value is None else as_cell(value) for value in values]
        if type(self._row.get(STEP)) is int:
            cells[self._columns.index(STEP) - 1] = str(self._row[STEP])
        return [str(epoch), *cells]

    def _rows_with(self, epoch: int) -> Iterator[list[str]]:
        """The file's rows, in the order of their epochs, with the staged one in its place."""
        placed = False
        for other, cells in self._rows():
            if other >= epoch and not placed:
                placed = True
                yield self._cells(epoch)
            if other != epoch:
                yield cells
        if not placed:
            yield self._cells(epoch)

    def _rearranged(self, cells: list[str], columns: list[str]) -> list[str]:
        values = dict(zip(columns, cells, strict=True))
        return [values.get(column, "") for column in self._columns]

    def _rows(
        self, is_wanted: Callable[[int], bool] = lambda _: True
    ) -> Iterator[tuple[int, list[str]]]:
        return rows_of(self.path, is_wanted)

    def _read_columns(self) -> list[str]:
        if not self.path.exists():
            return [EPOCH]
        with os.fdopen(open_plain(self.path, os.O_RDONLY), "rb") as file:
            columns = read_header(file)
        if not columns:
            kept = set_aside(self.path, "damaged")
            logger.warning("%s has no readable header; it is kept as %s", self.path, kept.name)
        return columns or [EPOCH]

    def _replace(self, rows: Iterable[list[str]]) -> None:
        """Write the file anew, beside the old one, and put it in its place."""
        width = len(self._columns)
        last_epoch, last_start, end = -1, 0, 0
        self._is_unsure = True
        try:
            with replacing(self.path) as file:
                end += file.write(encode_line(self._columns))
                for cells in rows:
                    last_epoch, last_start = int(cells[0]), end
                    end += file.write(encode_row(cells + [""] * (width - len(cells))))
        except Exception:
            self._is_unsure = False  # the old one is there
            raise
        self._last_epoch, self._last_start, self._end = last_epoch, last_start, end
        self._is_torn = self._is_unsure = False


def _refuse_long_names(names: Collection[str]) -> None:
    if max(map(len, names), default=0) > MAX_NAME_LENGTH:
        long = [name for name in names if len(name) > MAX_NAME_LENGTH]
        raise RejectedError(
            long, f"a column's name of more than {MAX_NAME_LENGTH} characters cannot be read again"
        )
