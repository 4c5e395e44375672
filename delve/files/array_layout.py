"""Where a run's arrays and scalars lie that the npy writer stores: all who look for them ask here.

``npy/<mode>-<stat>/<layer>/epoch00003.npy`` for arrays, with ``npy/checksums.jsonl`` beside them,
and ``npy/scalars.npz`` for all scalars. Where another program's files have these names, Delve's
are called ``npy-delve`` or ``scalars-delve.npz``, and so on as :func:`names_for` has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from delve.files.checksums import FILE_NAME as CHECKSUMS
from delve.files.epoch_files import EpochFiles, epoch_file_name
from delve.files.names import file_name, taken_names
from delve.files.plain import is_plain
from delve.records import Metric

ARRAYS = "npy"
SCALARS = "scalars.npz"
ARRAY_SUFFIX = ".npy"

SCALARS_MARK_LENGTH = 64  # bytes, at most

_DEPTH = 2  # a folder for mode and statistic, and one for the layer in it
_SCALARS_MARK = re.compile(rb"[0-9]+ arrays\Z")


def array_group(mode: str, stat: str) -> str:
    """The folder of a statistic's arrays, below that of all."""
    return file_name(f"{mode}-{stat}")


def array_place(metric: Metric) -> tuple[str, str]:
    """The folders, one in the other, that a metric's arrays lie in below that of all."""
    return array_group(metric.mode, metric.stat), file_name(metric.layer)


def array_name(epoch: int) -> str:
    """The name of an epoch's file in its place."""
    return epoch_file_name(epoch, ARRAY_SUFFIX)


def array_files(folder: Path, is_ours: Callable[[Path], bool] | None = None) -> EpochFiles:
    """All arrays below a folder, as :class:`EpochFiles`, whose ``is_ours`` it is."""
    return EpochFiles(folder, ARRAY_SUFFIX, depth=_DEPTH, is_ours=is_ours)


def array_folder(run: Path) -> Path:
    """The folder of a run's arrays, whether it is there or not: the last that Delve has marked."""
    wanted = run / ARRAYS
    marked = [folder for folder in taken_names(wanted) if is_plain(folder / CHECKSUMS)]
    return marked[-1] if marked else wanted


def scalars_file(folder: Path) -> Path:
    """The file of scalars in a folder, whether it is there or not; Delve's own comes last."""
    wanted = folder / SCALARS
    return [wanted, *taken_names(wanted)][-1]


def scalars_mark(arrays: int) -> bytes:
    """What stands at the end of a file of scalars: how many arrays it holds."""
    return b"%d arrays" % arrays


def has_scalars_mark(end: bytes) -> bool:
    """Whether a file that ends in these bytes is one of scalars that Delve wrote."""
    return _SCALARS_MARK.search(end) is not None
