"""The state of each process in a folder that a trainer has for its checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from delve.base.log import get_logger
from delve.files.plain import open_plain
from delve.files.whole import replacing
from delve.numerics import processes

logger = get_logger("delve.tracker")


def write_state(folder: str | os.PathLike[str], rank: int, state: Mapping[str, Any] | None) -> None:
    """Keep what :meth:`TrainersTracker.state` gave in a checkpoint, as ``delve-<rank>.pt``.

    A failure is a warning.

    Args:
        folder: That of the checkpoint.
        rank: The number of this process among those of the training.
        state: None, where there is no tracker, leaves the folder as it is.
    """
    if state is None:
        return
    path = _path(folder, rank)
    try:
        with replacing(path) as file:
            torch.save(dict(state), file)
    except OSError as error:
        logger.warning(
            "%s: the state of Delve could not be kept (%s); a training that goes on from there "
            "lacks the samples since the last row",
            path,
            error,
        )


def read_state(folder: str | os.PathLike[str], rank: int) -> dict[str, Any] | None:
    """What this process kept in a checkpoint; None where that is nothing, or cannot be read.

    Where there were more or fewer processes than now, it is what all of them kept, of which each
    takes its share.
    """
    own = _read(_path(folder, rank))
    if own is not None and own["tracker"].get("processes", 1) == processes.place()[1]:
        return own
    found = [_read(path) for path in sorted(Path(folder).glob("delve-*.pt"))]
    states = [state for state in found if state is not None]
    if not states:
        return None
    return {**states[0], "tracker": [state["tracker"] for state in states]}


def epoch_of(state: Mapping[str, Any]) -> int:
    """The epoch in which a state of :func:`read_state` was kept."""
    kept = state["tracker"]
    return int((kept if isinstance(kept, Mapping) else kept[0])["epoch"])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with open(path, "rb", opener=lambda _, flags: open_plain(path, flags)) as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # torch's own differ by what is wrong with the file
        logger.warning("%s cannot be read and is passed over: %s", path, error)
        return None
    match state:
        case {"tracker": {"epoch": int()}, "scalars": dict()}:
            return dict(state)
        case _:
            return None


def _path(folder: str | os.PathLike[str], rank: int) -> Path:
    return Path(folder) / f"delve-{rank}.pt"
