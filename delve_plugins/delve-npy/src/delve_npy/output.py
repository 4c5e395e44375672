"""The folder that a run writes into: what Delve did not write stays there as it is."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import numpy as np

from delve.base import get_logger
from delve.errors import WriterConfigurationError
from delve.files import (
    SCALARS,
    free_name,
    names_for,
    refuse_if_larger,
    refuse_unless_plain,
    set_aside,
    taken_names,
)
from delve.journal import most_bytes
from delve.records import RunInfo
from delve_npy.arrays import ArrayFolder
from delve_npy.ownership import (
    FOLDER,
    TABLE,
    known_tables,
    our_table,
    remembered_folder,
)
from delve_npy.scalars import is_table

logger = get_logger(__name__)


class OutputFolder:
    """Finds the run's own folder and files.

    A folder that holds other things is shared. Where another program's arrays have the names of
    Delve's, or the folder's name is a file's, the first of ``npy-delve``, ``npy-delve-2`` that is
    free is taken; where it has a file of scalars, ``scalars-delve.npz``.

    Args:
        wanted: The folder that was asked for.
        dtype: What arrays are stored as.

    Attributes:
        path: The folder.
        arrays: The arrays in it.
        scalars_path: The file of scalars in it.
    """

    def __init__(self, wanted: Path, dtype: np.dtype[np.floating]) -> None:
        self._wanted = wanted
        self._dtype = dtype
        self.path = wanted
        self.arrays = ArrayFolder(wanted, dtype)
        self.scalars_path = wanted / SCALARS
        self._run: RunInfo | None = None

    def begin(self, run: RunInfo) -> None:
        """Have a folder with nothing of Delve's in it: an earlier run's arrays and scalars go.

        Where a run is resumed they are kept under another name instead: they may be this run's
        own, from a writer that the journal knows by another name.

        Raises:
            WriterConfigurationError: What stands in the place of a folder or file is none.
        """
        self._refuse_link(self._wanted)
        for folder in _folders_among(taken_names(self._wanted)):
            self._use(folder, run)
            if run.initial_epoch:
                self._keep()
            else:
                self._clear()
        self._use(self._with_room(run), run)
        self._take(run, our_table(self.path / SCALARS, frozenset))

    def resume(self, first: int, run: RunInfo) -> None:
        """Have the run's folder, with no array of epoch ``first`` or later.

        Raises:
            WriterConfigurationError: What stands in the place of a folder or file is none, or a
                file is larger than the journal explains.
        """
        self._refuse_link(self._wanted)
        self._use(self._own(run) or self._with_room(run), run)
        self._refuse_link(self.path)
        self.arrays.cut(first)
        self._take(run, our_table(self.path / SCALARS, self._known))
        if self.scalars_path.exists():
            refuse_if_larger(self.scalars_path, most_bytes(run.savefile))

    def table(self, run: RunInfo) -> Path | None:
        """The run's file of scalars, if there is one; no file is changed.

        Raises:
            WriterConfigurationError: Its folder is a link.
        """
        folder = self._own(run)
        if folder is None:
            return None
        self._refuse_link(folder)
        self._use(folder, run)
        return our_table(folder / SCALARS, self._known)

    def keep_off(self) -> None:
        """Have the file of scalars be Delve's or none; what came in its place meanwhile stays.

        Raises:
            WriterConfigurationError: What stands in its place is no file.
        """
        path = self.scalars_path
        refuse_unless_plain(path)
        if self._run and path.exists() and not is_table(path, lambda: False):
            self._take(self._run, None)

    def _use(self, folder: Path, run: RunInfo) -> None:
        self.path = folder
        self._known = functools.cache(lambda: known_tables(folder, self._wanted, run))
        self.arrays = ArrayFolder(folder, self._dtype, lambda: bool(self._known()))
        self.arrays.read_checksums(most_bytes(run.savefile))

    def _take(self, run: RunInfo, table: Path | None) -> None:
        """Make the folder, and settle on the file of scalars in it."""
        self._run = run
        self.path.mkdir(parents=True, exist_ok=True)
        wanted = self.path / SCALARS
        refuse_unless_plain(wanted)
        self.scalars_path = table or free_name(wanted)
        if self.path != self._wanted and remembered_folder(self._wanted, run) != self.path:
            logger.warning(
                "%s holds what is not Delve's and stays as it is; this run's arrays are in %s",
                self._wanted,
                self.path,
            )
        if self.scalars_path != wanted and table is None:
            logger.warning(
                "%s is not Delve's and stays as it is; the scalars of this run are in %s",
                wanted,
                self.scalars_path,
            )
        facts = {FOLDER: self.path.name, TABLE: self.scalars_path.name}
        if not facts.items() <= run.state.items():
            run.remember(**facts)

    def _own(self, run: RunInfo) -> Path | None:
        """The folder that the run wrote into, or that holds arrays or scalars of Delve's."""
        remembered = remembered_folder(self._wanted, run)
        if remembered and (remembered.is_dir() or not remembered.exists()):
            return remembered
        for folder in _folders_among(taken_names(self._wanted)):
            self._use(folder, run)
            if self._holds_ours():
                return folder
        return None

    def _with_room(self, run: RunInfo) -> Path:
        """The first of the names at which nothing of anybody's is in the way."""
        for folder in names_for(self._wanted):
            if not folder.exists() and not folder.is_symlink():
                return folder
            if _is_folder(folder):
                self._use(folder, run)
                is_taken = any(self.arrays.files()) or our_table(folder / SCALARS, frozenset)
                if not is_taken:
                    return folder
        raise AssertionError("there is always another name")

    def _holds_ours(self) -> bool:
        return self.arrays.holds_ours or bool(our_table(self.path / SCALARS, self._known))

    def _clear(self) -> None:
        """Remove what is Delve's."""
        self.arrays.cut(0)
        if table := our_table(self.path / SCALARS, self._known):
            table.unlink()
        if self.path != self._wanted:
            with contextlib.suppress(OSError):  # it is not empty
                self.path.rmdir()

    def _keep(self) -> None:
        """Give the folder another name if it is all Delve's; else another is taken."""
        table = our_table(self.path / SCALARS, self._known)
        files = [file for file in self.path.rglob("*") if not _is_folder(file)]
        if files and all(file == table or self.arrays.is_listed(file) for file in files):
            kept = set_aside(self.path, "earlier")
            logger.warning("%s is of an earlier run, and kept as %s", self.path, kept.name)

    def _refuse_link(self, folder: Path) -> None:
        if folder.is_symlink():
            raise WriterConfigurationError(
                f"{folder} is a link, and Delve removes no files behind links; replace it by a "
                "folder, or name another savefile"
            )


def _folders_among(paths: list[Path]) -> list[Path]:
    return [path for path in paths if _is_folder(path)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
