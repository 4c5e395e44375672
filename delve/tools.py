"""Statistics at other thresholds, recomputed from the covariances that the npy writer stored."""

from __future__ import annotations

import csv
import io
import math
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from delve.base.checks import check_share
from delve.errors import ArgumentError, WriterConfigurationError
from delve.files.array_archive import read_archive
from delve.files.array_file import DamagedArrayError, read_array
from delve.files.array_layout import ARRAY_SUFFIX, array_folder, array_group, scalars_file
from delve.files.checksums import Checksums
from delve.files.epoch_files import epoch_of
from delve.files.names import file_name
from delve.files.plain import is_plain, open_plain, refuse_if_larger
from delve.files.whole import replacing
from delve.journal.states import most_bytes
from delve.journal.stored_run import read_run
from delve.numerics.spectrum import Spectrum
from delve.records import MODES, Metric, enumerate_epochs
from delve.stats.functions import intrinsic_dimensionality, saturation

if TYPE_CHECKING:
    import pandas as pd

# What depends on the threshold: keys and long names.
RECOMPUTABLE = {"lsat": "saturation", "idim": "intrinsic-dimensionality"}


@dataclass(frozen=True)
class Recomputed:
    """One layer's statistics at one epoch and threshold.

    Attributes:
        epoch: The epoch.
        layer: The layer's name.
        mode: ``train`` or ``eval``.
        threshold: The share of the variance that counts as explained.
        intrinsic_dimensionality: Of the layer's outputs; NaN where these were not finite.
        saturation: The same over the layer's features.
    """

    epoch: int
    layer: str
    mode: str
    threshold: float
    intrinsic_dimensionality: int | float
    saturation: float


@dataclass(frozen=True)
class StoredCovariance:
    """Where a covariance matrix lies, of what it is, and the checksums that its file may have."""

    epoch: int
    layer: str
    mode: str
    path: Path
    checksums: frozenset[str] = frozenset()


def stored_covariances(folder: Path, epoch: int | None = None) -> list[StoredCovariance]:
    """The covariance matrices of a run by epoch, layer in forward order, and mode.

    Args:
        folder: The run's folder.
        epoch: One epoch alone; all by default.

    Raises:
        JournalError: The folder holds no run.
        ArgumentError: No covariances are stored, or none of this epoch.
    """
    layers = {file_name(layer): layer for layer in read_run(folder).layers}
    places = {name: place for place, name in enumerate(layers)}
    arrays = array_folder(folder)
    checksums = _checksums(arrays, folder)
    found = [
        StoredCovariance(
            stored,
            layers.get(path.parent.name, path.parent.name),
            mode,
            path,
            checksums.of(path.relative_to(arrays).as_posix()),
        )
        for mode in MODES
        for path in _array_files(arrays, array_group(mode, "covariance-matrix"))
        if (stored := epoch_of(path.name, path.suffix)) is not None
    ]
    if not found:
        raise ArgumentError(
            f"{folder} holds no covariances; record them with save_to='npy', stats=['cov']"
        )
    chosen = [one for one in found if epoch in (None, one.epoch)]
    if not chosen:
        held = enumerate_epochs(sorted({one.epoch for one in found}))
        raise ArgumentError(
            f"{folder} holds no covariances of epoch {epoch}; it does of these: {held}"
        )
    behind_all = len(places)

    def order(one: StoredCovariance) -> tuple[int, int, str, int]:
        name = one.path.parent.name
        return one.epoch, places.get(name, behind_all), name, MODES.index(one.mode)

    return sorted(chosen, key=order)


def recompute(
    covariances: Sequence[StoredCovariance], thresholds: Sequence[float]
) -> Iterator[Recomputed]:
    """Saturation and intrinsic dimensionality at each threshold, by one decomposition a matrix.

    Raises:
        ArgumentError: A file holds no covariance matrix.
    """
    for one in tqdm(covariances, "recomputing", delay=1, leave=False, disable=None):
        spectrum = _spectrum(one.path, one.checksums)
        for threshold in thresholds:
            yield Recomputed(
                epoch=one.epoch,
                layer=one.layer,
                mode=one.mode,
                threshold=threshold,
                intrinsic_dimensionality=_whole(intrinsic_dimensionality(spectrum, threshold)),
                saturation=saturation(spectrum, threshold),
            )


def reconstruct_csv_from_npy_data(
    npywriter_out_path: str | os.PathLike[str],
    savefile: str | os.PathLike[str] | None = None,
    thresh: float | None = None,
    stats: Sequence[str] = ("lsat", "idim"),
) -> pd.DataFrame:
    """Rebuild a run's table from what the npy writer stored.

    Args:
        npywriter_out_path: The run's ``npy`` folder.
        savefile: Where to write the table as CSV; None writes nothing.
        thresh: Take ``stats`` at this threshold from the stored covariances, instead of the
            recorded values.
        stats: Of ``lsat`` and ``idim``, which to take.

    Returns:
        One row an epoch, indexed by ``epoch``, and one column a metric: the recorded ones, but of
        saturation and intrinsic dimensionality only what ``stats`` names.

    Raises:
        ArgumentError: Nothing is stored there, or no covariance where a threshold is given.
        ImportError: pandas is not installed.
    """
    import pandas as pd

    folder = Path(npywriter_out_path)
    wanted = _recomputable(stats)
    table = pd.DataFrame(_recorded_scalars(folder)).set_index("epoch")
    ours = [metric for name in table if (metric := Metric.parse(str(name)))]
    table = table.drop(
        columns=[
            metric
            for metric in ours
            if metric.stat in RECOMPUTABLE.values()
            and (thresh is not None or metric.stat not in wanted)
        ]
    )
    if thresh is not None:
        for row in recompute(stored_covariances(folder.parent), [check_share("thresh", thresh)]):
            values = (row.saturation, row.intrinsic_dimensionality)
            for stat, value in zip(RECOMPUTABLE.values(), values, strict=True):
                if stat in wanted:
                    table.loc[row.epoch, Metric(row.mode, stat, row.layer)] = float(value)
    if savefile is not None:
        table.to_csv(savefile)
    return table


def _recomputable(stats: Sequence[str]) -> list[str]:
    unknown = [stat for stat in stats if stat not in RECOMPUTABLE]
    if unknown:
        raise ArgumentError(f"stats: {unknown[0]!r} is not one of {', '.join(RECOMPUTABLE)}")
    return [RECOMPUTABLE[stat] for stat in stats]


def _array_files(arrays: Path, group: str) -> list[Path]:
    """The files of a statistic's arrays, of all layers.

    Raises:
        ArgumentError: One of the folders is a link.
    """
    _refuse_link(arrays)
    _refuse_link(arrays / group)
    files: list[Path] = []
    if (arrays / group).is_dir():
        for place in sorted((arrays / group).iterdir()):
            _refuse_link(place)
            files += place.glob(f"*{ARRAY_SUFFIX}") if place.is_dir() else []
    return files


def _checksums(arrays: Path, run: Path) -> Checksums:
    checksums = Checksums(arrays)
    if is_plain(checksums.path):
        try:
            refuse_if_larger(checksums.path, most_bytes(run))
        except WriterConfigurationError as error:
            raise ArgumentError(str(error)) from error
    checksums.read()
    return checksums


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise ArgumentError(
            f"{folder} is a link, which Delve does not follow; put the folder itself in its place"
        )


def _recorded_scalars(folder: Path) -> dict[str, np.ndarray]:
    path = scalars_file(folder)
    try:
        with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
            refuse_if_larger(path, most_bytes(folder.parent))
            arrays, _ = read_archive(file.read())
            return arrays
    except (OSError, ValueError, zipfile.BadZipFile, WriterConfigurationError) as error:
        raise ArgumentError(
            f"{path} cannot be read ({error}); name the npy folder of a run that was recorded "
            "with save_to='npy'"
        ) from error


def write_table(rows: Iterable[Recomputed], path: Path) -> None:
    """Write rows as a CSV file, whose columns are the attributes' names.

    Raises:
        ArgumentError: The folder to write into is not there.
        OSError: The file cannot be written.
    """
    if not path.parent.is_dir():
        raise ArgumentError(f"{path} cannot be written: there is no folder {path.parent}; make it")
    columns = [field.name for field in fields(Recomputed)]
    lines = ({name: _spelt(value) for name, value in asdict(row).items()} for row in rows)
    # A name may hold half of a surrogate pair, which no UTF-8 does.
    with (
        replacing(path) as file,
        io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="") as text,
    ):
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _spelt(value: object) -> object:
    """A value as all readers of CSV take it: to many of them ``nan`` is a word."""
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def _whole(count: float) -> int | float:
    """A count as a whole number, if it is one."""
    return int(count) if count.is_integer() else count


def _spectrum(path: Path, checksums: frozenset[str]) -> Spectrum:
    if not is_plain(path):  # a link leads elsewhere, and a pipe would be waited for
        raise ArgumentError(f"{path} is not a plain file; remove it to go on")
    try:
        matrix = read_array(path, checksums)
    except (OSError, DamagedArrayError) as error:
        raise ArgumentError(f"{path} cannot be read ({error}); remove it to go on") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype.kind != "f":
        raise ArgumentError(f"{path} holds no covariance matrix; remove it to go on")
    # PyTorch takes numbers of this machine's byte order alone, and none of more than 64 bits.
    dtype = np.float64 if matrix.dtype.itemsize > 8 else matrix.dtype.newbyteorder("=")
    return Spectrum.of_matrix(torch.from_numpy(matrix.astype(dtype)))
