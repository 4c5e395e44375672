"""Where an accelerator's run lies, and the runs that its own loggers had before."""

from __future__ import annotations

import os
from pathlib import Path
from weakref import WeakKeyDictionary

from accelerate import Accelerator

from delve.errors import ArgumentError
from delve.tracker import forget_earlier_runs, name_earlier_runs

_named: WeakKeyDictionary[Accelerator, dict[str, str]] = WeakKeyDictionary()


def resume_loggers(
    accelerator: Accelerator, savefile: str | os.PathLike[str] | None = None
) -> None:
    """Have the MLflow and W&B of ``log_with`` go on in the runs that they had before.

    To be called before ``accelerator.init_trackers``, where the training is about to go on.

    Args:
        accelerator: The accelerator.
        savefile: As for :func:`track`.
    """
    if accelerator.is_main_process:
        _named[accelerator] = name_earlier_runs(folder_of(accelerator, savefile))


def forget_loggers(accelerator: Accelerator) -> None:
    """Take away what :func:`resume_loggers` has set: the next training has runs of its own."""
    forget_earlier_runs(_named.pop(accelerator, {}))


def folder_of(accelerator: Accelerator, savefile: str | os.PathLike[str] | None) -> Path:
    """The run's folder.

    Raises:
        ArgumentError: Neither the user nor the accelerator names one.
    """
    if savefile is not None:
        return Path(savefile)
    if accelerator.project_dir is None:
        raise ArgumentError(
            "track: nothing says where the run is to lie; give savefile=..., or the accelerator a "
            "project_dir"
        )
    return Path(accelerator.project_dir) / "delve"
