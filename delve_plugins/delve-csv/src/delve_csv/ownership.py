"""Which file is the run's table: what Delve did not write is neither replaced nor deleted."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from os.path import lexists
from pathlib import Path
from typing import Any

from delve.base import get_logger
from delve.files import free_name, is_plain, names_for, refuse_unless_plain, taken_names
from delve.journal import remembered_states
from delve.records import Metric, RunInfo
from delve.stats import is_stat_name
from delve_csv.header import EPOCH, STEP, begins_with_zeros, first_record
from delve_csv.neighbours import is_taken

FILE = "file"  # what the writer remembers

_TABLE_WRITER = re.compile(r"csv", re.IGNORECASE)  # csv, plotcsv, CSVWriter

logger = get_logger(__name__)


class TableFile:
    """Finds the file that a run writes its table to.

    That is the one that was asked for, or, where another program's file has that name, the first
    of ``metrics-delve.csv``, ``metrics-delve-2.csv`` and so on that is free. Delve's own are known
    by what the journals in the run's folder tell, and by columns that are layer metrics.

    Args:
        wanted: The file that was asked for.
    """

    def __init__(self, wanted: Path) -> None:
        self._wanted = wanted
        self._passed_over: object = None  # the state of which that was said

    def new(self, run: RunInfo | None, avoid: Path | None = None) -> Path:
        """Where a new run writes to, which is free: earlier tables of Delve's own are removed.

        Args:
            run: The run.
            avoid: A file that another program has taken over.

        Raises:
            WriterConfigurationError: What stands there is no file.
        """
        refuse_unless_plain(self._wanted)
        for path in taken_names(self._wanted):
            if path != avoid and self._is_ours(path, run):
                path.unlink()
        return self.free()

    def resumed(
        self, run: RunInfo, written: Collection[str] = (), avoid: Path | None = None
    ) -> Path:
        """Where a resumed run goes on: in the file that it wrote, or else in one that is free.

        Args:
            run: The run.
            written: The columns that this process has written.
            avoid: A file that another program has taken over.

        Raises:
            WriterConfigurationError: What stands there is no file.
        """
        return self.found(run, written, avoid) or self.free()

    def found(
        self, run: RunInfo, written: Collection[str] = (), avoid: Path | None = None
    ) -> Path | None:
        """The file that the run wrote, if any is known for it; arguments as for :meth:`resumed`."""
        remembered = self._remembered(run)
        if remembered and remembered != avoid:
            refuse_unless_plain(remembered)
            if self._is_ours(remembered, run, written):
                return remembered
            if not remembered.exists() and not is_taken(remembered):
                return remembered
        refuse_unless_plain(self._wanted)
        for path in taken_names(self._wanted):
            if path != avoid and self._is_ours(path, run, written):
                return path
        return None

    def free(self) -> Path:
        """A path at which there is nothing, nor will be; says so where it is not the one wanted."""
        path = free_name(self._wanted)
        if path == self._wanted and is_taken(path):
            path = next(name for name in names_for(path) if name != path and not lexists(name))
            logger.warning(
                "%s is left to Lightning's CSVLogger, which writes there; the table of this run "
                "is %s",
                self._wanted,
                path,
            )
        elif path != self._wanted:
            logger.warning(
                "%s is not Delve's and stays as it is; the table of this run is %s",
                self._wanted,
                path,
            )
        return path

    def label(self, path: Path, run: RunInfo) -> str:
        """How the run remembers a file: below its folder, so that this one can be moved."""
        path, folder = _located(path), run.savefile.resolve()
        return path.relative_to(folder).as_posix() if folder in path.parents else str(path)

    def _remembered(self, run: RunInfo) -> Path | None:
        """The file that the run wrote; that of a copied run only where it was copied with it."""
        state: Mapping[str, Any] = run.state
        if FILE not in state and run.origin is not None and self._is_inside(run):
            state = run.origin.state
        label = state.get(FILE)
        if label is None:
            return None
        if isinstance(label, str) and "\0" not in label:
            path = self._wanted.with_name(Path(label).name or self._wanted.name)
            if self._is_one_of_its_names(path) and self.label(path, run) == label:
                return path
        if label != self._passed_over:
            self._passed_over = label
            logger.warning("%s: the journal names %r as its file; passed over", self._wanted, label)
        return None

    def _is_one_of_its_names(self, path: Path) -> bool:
        stem, suffix = re.escape(self._wanted.stem), re.escape(self._wanted.suffix)
        return re.fullmatch(rf"{stem}(-delve(-[0-9]{{1,4}})?)?{suffix}", path.name) is not None

    def _is_inside(self, run: RunInfo | None) -> bool:
        """Whether the table lies in the run's folder, where no other run's can."""
        return run is None or run.savefile.resolve() in _located(self._wanted).parents

    def _is_ours(self, path: Path, run: RunInfo | None, written: Collection[str] = ()) -> bool:
        """Whether Delve can know a file for a table of this folder's runs."""
        if not is_plain(path):
            return False
        cells = first_record(path)
        if cells == [EPOCH] and path.stat().st_size <= len(EPOCH) + 1:
            return True  # nothing is in it
        if self._is_inside(run) and cells[:1] == [EPOCH] and any(map(_is_layer_metric, cells)):
            return True
        if run is not None and self._remembered(run) == path:
            known = {*written, *run.metrics}
            if _fits(cells, known) or begins_with_zeros(path):
                return True
        if run is not None and run.origin is not None and not self._is_inside(run):
            return False  # the copied journal names a table that the other run may still write
        return any(_fits(cells, metrics) for metrics in self._claims(path, run))

    def _claims(self, path: Path, run: RunInfo | None) -> Iterator[frozenset[str]]:
        """The metrics of each journal of the folder by which the file is a table of Delve's."""
        file = _located(path)
        for remembered in remembered_states(run.savefile if run else path.parent):
            folder, label = remembered.folder.resolve(), remembered.state.get(FILE)
            if label is None and _TABLE_WRITER.search(remembered.writer):
                # An earlier version told no name, and replaced whatever it found.
                label = self._wanted.name if folder == file.parent else None
            if isinstance(label, str) and folder / label == file:
                yield remembered.metrics


def _located(path: Path) -> Path:
    """Where a file lies, be it a link or not there."""
    return path.parent.resolve() / path.name


def _is_layer_metric(column: str) -> bool:
    """Whether a column is called as Delve's are, and not just much like it: ``train-loss/a``."""
    metric = Metric.parse(column)
    return metric is not None and is_stat_name(metric.stat)


def _fits(cells: Collection[str], metrics: Collection[str]) -> bool:
    """Whether a file that Delve wrote here can still be a table of these metrics.

    A crash may have torn its header, or a fault changed some of it.
    """
    if not cells:
        return True
    first, *columns = cells
    if first == EPOCH:
        if len(columns) > 1 and columns[0] == STEP:  # which names no metric
            del columns[0]
        return all(column in metrics for column in columns)
    return any(cell in metrics for cell in cells)
