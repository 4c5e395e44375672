"""The opening of a run: by rank zero, which tells the other ranks where it goes on.

A run that was opened before there was a process group is settled once there is one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from delve.base import signals
from delve.base.log import get_logger
from delve.capture.earlier_names import in_todays_names
from delve.delivery.checked_writer import NamedWriter
from delve.delivery.discovery import make_writers
from delve.delivery.run import Run, SilentRun
from delve.errors import DelveError
from delve.numerics import processes
from delve.records import Axis
from delve.tracker.arguments import check_initial_epoch, check_savefile
from delve.tracker.settings import Settings
from delve.tracker.steps import check_initial_step, check_step_of_resume
from delve.tracker.succession import end_earlier

logger = get_logger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a run goes on.

    Attributes:
        folder: The run's folder.
        epoch: The index of the next row.
        order: The forward order of the layers, as far as an earlier part of the run recorded it.
        axis: What the x axis of the run is; None before the first row.
        step: The training step of its last row, if rows have steps.
        passed: How many training steps have passed since, where the run is resumed by a step.
    """

    folder: Path
    epoch: int
    order: tuple[str, ...] = ()
    axis: Axis | None = None
    step: int | None = None
    passed: int = 0


def open_run(
    savefile: str | os.PathLike[str],
    save_to: str | object | Sequence[str | object],
    writer_args: Mapping[str, Any] | None,
    initial_epoch: int | Literal["auto"],
    initial_step: int | None,
    settings: Settings,
    undo: contextlib.ExitStack,
    group: processes.Group = None,
) -> tuple[Run | SilentRun, Place]:
    """Open the run in rank zero, and have every rank know its place.

    Collective where a process group is there. Without one, each process looks for itself; the one
    that writes is known by its environment.

    Args:
        savefile: The run's folder, as the user gave it.
        save_to: The writers, as the user gave them.
        writer_args: Their arguments, as the user gave them.
        initial_epoch: The first row, as the user gave it.
        initial_step: The training step up to which rows stay, as the user gave it.
        settings: All that has been checked already.
        undo: What closes the run again, if the tracker cannot be made after all.
        group: The processes that train the model together.

    Raises:
        DelveError: It cannot be opened; raised in all ranks.
    """

    def first_epoch(folder: Path, writers: Sequence[NamedWriter] = ()) -> int:
        if initial_step is None:
            return check_initial_epoch(initial_epoch, folder, writers)
        return check_initial_step(initial_step, initial_epoch, folder, writers)

    def open_here() -> tuple[Run | SilentRun, Place]:
        folder = check_savefile(savefile)
        if not processes.is_rank_zero(group):
            _say_why_silent(folder)
            return SilentRun(), Place(folder, first_epoch(folder))
        writers = make_writers(save_to, folder, writer_args)
        end_earlier(folder)
        epoch, step = first_epoch(folder, writers), check_step_of_resume(initial_step)
        with signals.held():
            run = _open(folder, epoch, writers, settings, step, layers)
            undo.push(lambda _kind, error, _traceback: run.close(error))
        order = in_todays_names(run.order, settings.layers)
        passed = 0 if step is None else step - run.last_step_of_layers
        return run, Place(folder, epoch, order, run.axis, run.last_step, passed)

    layers = processes.union(settings.layers, group)
    if not processes.is_distributed(group):
        return open_here()
    opened = processes.raise_in_all_ranks(
        lambda: open_here() if processes.is_rank_zero(group) else None, group
    )
    run, place = opened or (SilentRun(), None)
    return run, processes.from_rank_zero(place, group)


def settle(
    run: Run | SilentRun, folder: Path, group: processes.Group
) -> tuple[Run | SilentRun, int]:
    """Have one process write: the first, or if that has no run open, the first of those that have.

    Collective. Where trackers were made before the process group, each looked for itself.

    Args:
        run: This process's.
        folder: Its folder.
        group: The processes that train the model together.

    Returns:
        What this process has from now on, and the rank within the group of the one that writes.

    Raises:
        DelveError: None has a run open.
    """
    if not processes.is_distributed(group):
        return run, 0
    writers = [
        rank for rank, is_open in enumerate(processes.gather(_is_open(run), group)) if is_open
    ]
    if not writers:
        raise DelveError(
            f"{folder}: no process of this training records it, since each took itself for another "
            "than the first one by its environment; make the tracker after init_process_group()"
        )
    own, _ = processes.place(group)
    if own in writers[1:]:
        logger.warning(
            "%s: the tracker was made before the process group, in which rank %d records; this "
            "process, of rank %d, records no more. Make the tracker after init_process_group()",
            folder,
            writers[0],
            own,
        )
        run.close(None)
        run = SilentRun()
    return run, writers[0]


def _is_open(run: Run | SilentRun) -> bool:
    return not isinstance(run, SilentRun)


def _say_why_silent(folder: Path) -> None:
    variable = None if processes.has_group() else processes.not_first()
    if variable is None:
        return
    say = logger.warning if processes.is_of_batch_system(variable) else logger.info
    say(
        "%s: this process records nothing, since %s=%s tells that it is not the first one of its "
        "training; if it trains a model of its own, unset that variable",
        folder,
        variable,
        os.environ[variable],
    )


def _open(
    folder: Path,
    epoch: int,
    writers: Sequence[NamedWriter],
    settings: Settings,
    step: int | None,
    layers: Sequence[str],
) -> Run:
    return Run(
        folder,
        epoch,
        tuple(layers),
        settings.config,
        writers,
        images=settings.images,
        raise_errors=settings.raise_errors,
        arrays=settings.statistics.arrays,
        array_groups=settings.statistics.array_groups,
        patience=settings.patience,
        initial_step=step if epoch else None,
        overwrite=settings.overwrite,
    )
