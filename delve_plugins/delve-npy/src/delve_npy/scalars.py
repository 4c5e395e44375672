"""All scalars of a run: a table in memory, and the file ``scalars.npz``."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sized
from pathlib import Path

import numpy as np

from delve.files import (
    SCALARS_MARK_LENGTH,
    ends_in_digest,
    has_scalars_mark,
    open_plain,
    read_archive,
    replacing,
    scalars_mark,
    with_digest,
)
from delve.records import Metric

EPOCH = "epoch"
STEP = "step"
NO_STEP = -1  # of an epoch in a table whose other epochs have one
MAX_NAME_LENGTH = 10_000  # characters; zip allows 65,535 bytes

# A NaN of its own, as R has one, tells "no value" from "not a number"; the eye sees nan for both.
NO_VALUE = np.uint64(0x7FF8_0000_0000_07A2).view(np.float64)

_MOST_SETS = 64  # of names that are remembered

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def has_value(values: np.ndarray) -> np.ndarray:
    """Where a metric of ``scalars.npz`` has a value, be it NaN: a boolean for each epoch."""
    return np.not_equal(values.view(np.uint64), NO_VALUE.view(np.uint64))


class DamagedFileError(Exception):
    """A ``scalars.npz`` that is torn, or changed since it was written."""


class ScalarTable:
    """One row an epoch, one column a metric.

    Taking an epoch costs the same however many there are.
    """

    def __init__(self) -> None:
        self._columns: dict[str, int] = {}
        self._places: dict[tuple[str, ...], np.ndarray] = {}  # of the columns of an epoch's names
        self._steps: dict[int, int] = {}  # of the epochs that have one
        self._rows: dict[int, np.ndarray] = {}  # as wide as the table was when the row came

    @property
    def epochs(self) -> list[int]:
        """The epochs held, in rising order."""
        return sorted(self._rows)

    def put(self, epoch: int, values: Mapping[str, float], step: int | None = None) -> None:
        """Add an epoch, or replace it."""
        self._steps.pop(epoch, None)
        if step is not None:
            self._steps[epoch] = step
        names = tuple(values)
        places = self._places.get(names)
        if places is None:
            places = self._new_places(names)
        row = np.full(len(self._columns), NO_VALUE)
        row[places] = list(values.values())
        self._rows[epoch] = row

    def _new_places(self, names: tuple[str, ...]) -> np.ndarray:
        """Where the values of these names go; most epochs have the names of another one."""
        columns = self._columns
        places = [columns.setdefault(array_name(name), len(columns)) for name in names]
        if len(self._places) >= _MOST_SETS:
            self._places.clear()
        self._places[names] = np.array(places, np.intp)
        return self._places[names]

    def cut(self, epoch: int) -> None:
        """Drop this epoch and all later ones; the columns stay."""
        self._rows = {held: row for held, row in self._rows.items() if held < epoch}
        self._steps = {held: step for held, step in self._steps.items() if held < epoch}

    def step_of(self, epoch: int) -> int | None:
        """The training step of an epoch, if it has one."""
        return self._steps.get(epoch)

    def rows(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Epoch by epoch, the metrics that have a value; NaN is one."""
        names = list(self._columns)
        for epoch in self.epochs:
            row = self._rows[epoch]
            places = np.flatnonzero(has_value(row)).tolist()
            yield epoch, {names[place]: float(row[place]) for place in places}

    def columns(self) -> dict[str, np.ndarray]:
        """Each metric's values, one an epoch in the order of ``epochs``."""
        values = np.full((len(self._columns), len(self._rows)), NO_VALUE)
        for place, epoch in enumerate(self.epochs):
            row = self._rows[epoch]
            values[: len(row), place] = row
        return dict(zip(self._columns, values, strict=True))

    def write(self, path: Path) -> None:
        """Write the file anew, beside the old one, and put it in its place.

        The members are written one by one: :func:`numpy.savez` takes names as keyword arguments,
        of which it keeps some for itself.
        """
        arrays = {EPOCH: np.array(self.epochs, dtype=np.int64), **self._axis(), **self.columns()}
        with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
            for name, values in arrays.items():
                archive.writestr(_member(name), _encode(values))
            archive.comment = _comment(arrays)

    def _axis(self) -> dict[str, np.ndarray]:
        """The steps, where there are any; elsewhere a scalar of the user's may be called so."""
        if not self._steps or STEP in self._columns:
            return {}
        steps = [self._steps.get(epoch, NO_STEP) for epoch in self.epochs]
        return {STEP: np.array(steps, dtype=np.int64)}

    @classmethod
    def read(cls, path: Path) -> ScalarTable:
        """The table that a file holds; an empty one where there is no file.

        Raises:
            DamagedFileError: The file is not whole.
        """
        table = cls()
        if not path.exists():
            return table
        with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
            content = file.read()
        try:
            arrays = _decode(content)
            epochs = arrays.pop(EPOCH)
            steps = _steps_among(arrays, epochs)
            _check(epochs, arrays)
        except Exception as error:  # a damaged zip file raises whatever its bytes lead to
            raise DamagedFileError(f"{path} is damaged ({type(error).__name__}: {error})") from None
        table._columns = {name: place for place, name in enumerate(arrays)}
        table._steps = steps
        rows = np.array(list(arrays.values())).reshape(len(arrays), len(epochs)).T.copy()
        table._rows = dict(zip(epochs.tolist(), rows, strict=True))
        return table


def is_table(path: Path, is_known: Callable[[], bool]) -> bool:
    """Whether Delve wrote a file of this name, be it damaged since.

    Args:
        path: A plain file.
        is_known: Whether the run is known to have such a file: then what can no longer be read is
            taken for it, and what another program can have written is not.

    Raises:
        OSError: It cannot be read.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - SCALARS_MARK_LENGTH, 0))
        if has_scalars_mark(file.read(SCALARS_MARK_LENGTH)):
            return True
        try:
            with zipfile.ZipFile(file) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                may_be = bool(archive.comment) or any(map(Metric.parse, names))
        except Exception:  # a damaged zip file raises whatever its bytes lead to
            may_be = True
    return may_be and is_known()


def array_name(name: str) -> str:
    """A metric's name as the name of its array: the same, but where NumPy would not find it.

    Zip files end a name at a null character, and NumPy takes ``.npy`` off it.
    """
    fits = name.isprintable() and len(name) <= MAX_NAME_LENGTH
    if fits and not (name.endswith(".npy") or ends_in_digest(name)):
        return name
    return with_digest(_CONTROL.sub("_", name), name, MAX_NAME_LENGTH)


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(f"{name}.npy")
    member.external_attr = 0o644 << 16  # who unpacks the file may read what comes out
    return member


def _comment(arrays: Sized) -> bytes:
    """One changed byte in a zip file's directory can hide members without any other trace."""
    return scalars_mark(len(arrays))


def _encode(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, values, allow_pickle=False)
    return content.getvalue()


def _decode(content: bytes) -> dict[str, np.ndarray]:
    arrays, comment = read_archive(content)
    if comment not in (b"", _comment(arrays)):
        raise ValueError(f"{len(arrays)} arrays are left")
    return arrays


def _steps_among(arrays: dict[str, np.ndarray], epochs: np.ndarray) -> dict[int, int]:
    """The steps by epoch, which are taken out; an array of floats of that name is the user's."""
    if STEP not in arrays or arrays[STEP].dtype != np.int64:
        return {}
    steps = arrays.pop(STEP)
    if steps.shape != epochs.shape:
        raise ValueError(f"{STEP} is not one whole number an epoch")
    pairs = zip(epochs.tolist(), steps.tolist(), strict=True)
    return {epoch: step for epoch, step in pairs if step != NO_STEP}


def _check(epochs: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    if epochs.ndim != 1 or epochs.dtype != np.int64 or (np.diff(epochs, prepend=-1) <= 0).any():
        raise ValueError("the epochs are not rising")
    for name, values in arrays.items():
        if values.dtype != np.float64 or values.shape != epochs.shape:
            raise ValueError(f"{name} is not one float64 an epoch")
