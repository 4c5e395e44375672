"""The CSV writer: one row an epoch, one column a metric."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from delve.errors import BackendLostError
from delve.files import replacing, set_aside
from delve.log import get_logger
from delve.records import Metric, RunInfo

logger = get_logger(__name__)

if TYPE_CHECKING:
    import pandas as pd

FILE_NAME = "metrics.csv"
EPOCH = "epoch"


class CSVWriter:
    """Writes ``metrics.csv``: the column ``epoch``, then one column a metric in first-seen order.

    An epoch is one line, appended in one write and flushed. The file is rewritten only where a
    column is new, where an epoch comes again, and on resume; then a temporary file replaces it.
    An empty cell means that the metric had no value that epoch; ``nan`` that it was not a number.

    Args:
        savepath: The run's folder, or the path of a file that ends in ``.csv``.
    """

    def __init__(self, savepath: str | os.PathLike[str]) -> None:
        path = Path(savepath)
        self.path = path if path.suffix == ".csv" else path / FILE_NAME
        self._columns: list[str] = [EPOCH]
        self._row: dict[str, float] = {}
        self._last_epoch = -1
        self._last_start = 0  # where the last row begins in the file, in bytes
        self._end = 0  # where the next row goes; whatever lies behind was torn off by a fault

    def start(self) -> None:
        """Begin an empty table, in place of an earlier run's."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._columns, self._row = [EPOCH], {}
        self._replace(())

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Keep the rows that only the table has; asks for all that the journal has again.

        A table has no checksums: a digit that a fault changed looks like any other.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        known = self._read_columns()
        rows = {
            epoch: cells
            for epoch, cells in self._rows()
            if epoch < initial_epoch and epoch not in run.epochs
        }
        used = [
            place for place in range(len(known)) if any(cells[place] for cells in rows.values())
        ]
        columns = [EPOCH, *run.metrics, *(known[place] for place in used)]
        self._columns, self._row = list(dict.fromkeys(columns)), {}
        self._replace(self._rearranged(rows[epoch], known) for epoch in sorted(rows))
        return run.first_lacking(())

    def add_scalar(self, name: str, value: float) -> None:
        """Stage a scalar of the user's."""
        self._row[name] = value

    def add_scalars(self, value_dict: dict[Metric, float]) -> None:
        """Stage the layer metrics."""
        self._row.update(value_dict.items())

    def save(self, epoch: int) -> None:
        """Append the epoch's row; an epoch that is there already is replaced."""
        known = self._columns
        columns = set(known)
        new = [name for name in self._row if name not in columns]
        try:
            if new or epoch < self._last_epoch:
                self._columns = known + new
                self._replace(self._rows_with(epoch))
            else:
                self._append(epoch)
        except BaseException:
            self._columns = known  # which are those in the file
            raise
        finally:
            self._row = {}

    def read(self) -> pd.DataFrame:
        """The table so far, with one row an epoch."""
        import pandas as pd

        return pd.read_csv(self.path)

    def _append(self, epoch: int) -> None:
        begin = self._last_start if epoch == self._last_epoch else self._end
        line = _line(self._cells(epoch))
        with self.path.open("r+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END) < begin:
                raise BackendLostError(f"another program has shortened {self.path}")
            file.truncate(begin)
            file.seek(begin)
            if file.write(line) != len(line):
                raise OSError(f"{self.path}: the disk took only a part of epoch {epoch}")
        self._last_epoch, self._last_start, self._end = epoch, begin, begin + len(line)

    def _cells(self, epoch: int) -> list[str]:
        values = map(self._row.get, self._columns[1:])
        return [str(epoch), *("" if value is None else repr(float(value)) for value in values)]

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

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Epoch and cells of each readable row; a torn or damaged one is passed over."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            width = len(_header(file))
            for line in file:
                with contextlib.suppress(ValueError, csv.Error):
                    cells = next(csv.reader([line.decode()]), [])
                    if line.endswith(b"\n") and len(cells) == width:
                        for cell in cells:
                            float(cell or 0)
                        yield int(cells[0]), cells

    def _read_columns(self) -> list[str]:
        if not self.path.exists():
            return [EPOCH]
        with self.path.open("rb") as file:
            columns = _header(file)
        if not columns:
            kept = set_aside(self.path, "damaged")
            logger.warning("%s has no readable header; it is kept as %s", self.path, kept.name)
        return columns or [EPOCH]

    def _replace(self, rows: Iterable[list[str]]) -> None:
        """Write the file anew, beside the old one, and put it in its place."""
        width = len(self._columns)
        last_epoch, last_start, end = -1, 0, 0
        with replacing(self.path) as file:
            end += file.write(_line(self._columns))
            for cells in rows:
                last_epoch, last_start = int(cells[0]), end
                end += file.write(_line(cells + [""] * (width - len(cells))))
        self._last_epoch, self._last_start, self._end = last_epoch, last_start, end


def _header(lines: Iterable[bytes]) -> list[str]:
    """The columns of a table, read off its first lines; none where they are no whole header."""
    consumed: list[bytes] = []

    def text() -> Iterator[str]:
        for line in lines:
            consumed.append(line)
            yield line.decode()

    try:
        columns = next(csv.reader(text(), strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return []
    whole = columns[:1] == [EPOCH] and consumed[-1].endswith(b"\n")
    return columns if whole else []


def _line(cells: list[str]) -> bytes:
    text = io.StringIO()
    # A name with a line break of any kind is quoted only if the line ends in all of them.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n").encode() + b"\n"
