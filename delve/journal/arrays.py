"""The arrays of a run, as the npy writer has stored them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from delve.errors import ArgumentError
from delve.files.array_file import DamagedArrayError, read_array
from delve.files.array_layout import ARRAY_SUFFIX, array_folder, array_group
from delve.files.checksums import Checksums
from delve.files.epoch_files import epoch_of
from delve.files.names import file_name
from delve.files.plain import is_plain
from delve.records import MODES, enumerate_epochs
from delve.stats.registry import split_mode, stats_of_key


def read_stored_array(run: Path, stat: str, layer: str, epoch: int | None = None) -> np.ndarray:
    """An array of a layer; see :meth:`delve.journal.loaded_run.LoadedRun.array`.

    Raises:
        ArgumentError: There is no such array, or it is damaged.
    """
    base, mode = split_mode(stat)
    arrays = [one.name for one in stats_of_key(base) if one.is_array]
    name = arrays[0] if arrays else base
    root = array_folder(run)
    for one in [mode] if mode else reversed(MODES):
        place = root / array_group(one, name) / file_name(layer)
        stored = _stored(place)
        if stored:
            return _read(root, stored, epoch)
    raise ArgumentError(
        f"{run} holds no array {stat!r} of layer {layer!r}; it holds {_held(root) or 'none'}"
    )


def _stored(place: Path) -> dict[int, Path]:
    """The files of a layer, by epoch."""
    if place.is_symlink() or not place.is_dir():
        return {}
    found = {epoch_of(path.name, ARRAY_SUFFIX): path for path in place.iterdir()}
    return {epoch: found[epoch] for epoch in sorted(e for e in found if e is not None)}


def _read(root: Path, stored: dict[int, Path], epoch: int | None) -> np.ndarray:
    if epoch is not None and epoch not in stored:
        raise ArgumentError(
            f"{next(iter(stored.values())).parent} holds nothing of epoch {epoch}; it does of "
            f"these: {enumerate_epochs(list(stored))}"
        )
    path = stored[max(stored) if epoch is None else epoch]
    if not is_plain(path):
        raise ArgumentError(f"{path} is not a plain file; remove it to go on")
    checksums = Checksums(root)
    checksums.read()
    try:
        return read_array(path, checksums.of(path.relative_to(root).as_posix()))
    except (OSError, DamagedArrayError) as error:
        raise ArgumentError(f"{path} cannot be read ({error}); remove it to go on") from error


def _held(root: Path) -> str:
    if root.is_symlink() or not root.is_dir():
        return ""
    groups = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.is_symlink()]
    return "; ".join(
        f"{group.name} of {', '.join(sorted(place.name for place in group.iterdir()))}"
        for group in groups
    )
