"""The runs that a trainer's own loggers record into: shared, and found again on a resume."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from delve.base import entry_points
from delve.base.log import get_logger
from delve.base.our_plugins import OUR_PLUGINS, how_to_install
from delve.delivery.discovery import GROUP
from delve.errors import ArgumentError, JournalError
from delve.journal.contents import Contents
from delve.journal.home import Whereabouts, whereabouts
from delve.journal.reading import contents_in, holds_run

LOGGERS = "loggers"  # in save_to: the writers of the trainer's own loggers
WITHOUT = "csv"  # where it has none

logger = get_logger("delve.tracker")


def resolve_loggers(
    save_to: Any, writer_args: Mapping[str, Any] | None, found: Mapping[str, Mapping[str, Any]]
) -> tuple[Any, dict[str, Any]]:
    """What ``save_to`` and ``writer_args`` are where ``"loggers"`` stands for the trainer's own.

    A logger whose writer is not installed is named and left out; where none is left, it is csv.

    Args:
        save_to: As the user gave it; ``"loggers"`` may be one of several.
        writer_args: As the user gave them: what they say goes before what was found.
        found: By the name of a writer, the arguments by which it records into the trainer's run:
            ``{"mlflow": {"run_id": ..., "tracking_uri": ...}, "wandb": {"run": run}}``.

    Example::

        save_to, writer_args = resolve_loggers("loggers", None, {"mlflow": {"run_id": run_id}})
    """
    if writer_args is not None and not isinstance(writer_args, Mapping):
        raise ArgumentError(
            f"writer_args must be a dictionary of constructor arguments, not {writer_args!r}"
        )
    items = list(save_to) if isinstance(save_to, (list, tuple)) else [save_to]
    if not any(_stands_for_loggers(item) for item in items):
        return save_to, dict(writer_args or {})
    shared = {name: arguments for name, arguments in found.items() if _is_installed(name)}
    selected: list[Any] = []
    for item in items:
        selected += shared if _stands_for_loggers(item) else [item]
    given = dict(writer_args or {})
    for name, arguments in shared.items():
        if arguments:
            own = given.get(name)
            given[name] = {**arguments, **(own if isinstance(own, Mapping) else {})}
    return selected or [WITHOUT], given


def _stands_for_loggers(item: object) -> bool:
    return isinstance(item, str) and item == LOGGERS


def _is_installed(name: str) -> bool:
    if name in entry_points.offers(GROUP):
        return True
    how = f". {how_to_install(name)}" if name in OUR_PLUGINS else ""
    logger.warning(
        "save_to='loggers': the trainer logs to %s, and no writer of that name is installed, so "
        "layer statistics do not go there%s",
        name,
        how,
    )
    return False


def earlier_runs(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The ids of the trainer's runs that the run in this folder was recorded into, by writer.

    None of a run that Delve began for itself, and none where the folder is a copy of another: the
    trainer's runs are that one's.

    Args:
        folder: The run's folder; it may not be there.

    Example::

        earlier_runs("out/delve")  # {"mlflow": "f3a1...", "wandb": "k2x9..."}
    """
    try:
        contents = contents_in(Path(folder))
    except (JournalError, OSError) as error:
        logger.warning("the trainer's runs are not found again: %s", error)
        return {}
    if contents is None or _is_copy(Path(folder), contents):
        return {}
    return {
        name: run_id
        for name, state in contents.states.items()
        if isinstance(run_id := state.get("run_id"), str) and run_id and not state.get("owned")
    }


def _is_copy(folder: Path, contents: Contents) -> bool:
    def holds_the_run(other: Path) -> bool:
        return holds_run(other, contents.run_id)

    home = contents.home
    return home is not None and whereabouts(folder, home, holds_the_run) is Whereabouts.COPIED


def name_earlier_runs(
    folder: str | os.PathLike[str], environment: MutableMapping[str, str] = os.environ
) -> dict[str, str]:
    """Have MLflow's and W&B's clients go on in the trainer's earlier runs, by their variables.

    To be called before the trainer starts its loggers. What the user has set stays as it is.

    Args:
        folder: The run's folder.
        environment: Where ``MLFLOW_RUN_ID``, ``WANDB_RUN_ID`` and ``WANDB_RESUME`` are set.

    Returns:
        What was set; :func:`forget_earlier_runs` takes it away again.
    """
    runs = earlier_runs(folder)
    wanted = {}
    if "mlflow" in runs and "MLFLOW_RUN_ID" not in environment:
        wanted["MLFLOW_RUN_ID"] = runs["mlflow"]
    if "wandb" in runs and "WANDB_RUN_ID" not in environment:
        wanted["WANDB_RUN_ID"] = runs["wandb"]
        if "WANDB_RESUME" not in environment:
            wanted["WANDB_RESUME"] = "allow"
    environment.update(wanted)
    for setting, value in _wandb_settings(wanted) if environment is os.environ else ():
        if getattr(_session(), setting, value) is None:
            setattr(_session(), setting, value)
    return wanted


def forget_earlier_runs(
    named: Mapping[str, str], environment: MutableMapping[str, str] = os.environ
) -> None:
    """Take away what :func:`name_earlier_runs` has set: the next training has runs of its own."""
    for name, value in named.items():
        if environment.get(name) == value:
            del environment[name]
    for setting, value in _wandb_settings(named) if environment is os.environ else ():
        if getattr(_session(), setting, None) == value:
            setattr(_session(), setting, None)


def _wandb_settings(named: Mapping[str, str]) -> list[tuple[str, str]]:
    """What W&B calls its variables once it has read them."""
    names = {"WANDB_RUN_ID": "run_id", "WANDB_RESUME": "resume"}
    return [(names[name], value) for name, value in named.items() if name in names]


def _session() -> Any:
    """What W&B has read of its variables, which it does once, be it for ``wandb.login()``.

    None where it has read nothing yet. It has no public name that does not read them.
    """
    setup = sys.modules.get("wandb.sdk.wandb_setup")
    return getattr(getattr(setup, "_singleton", None), "_settings", None)
