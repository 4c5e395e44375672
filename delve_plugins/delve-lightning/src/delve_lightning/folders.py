"""Where a training of Lightning's keeps what belongs to it, and Delve's run among that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

_JOURNAL = "journal.jsonl"


def own_folder(trainer: Any) -> Path:
    """The folder of a training: its first logger's, in which Lightning keeps its checkpoints."""
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    first = trainer.loggers[0]
    log_dir = getattr(first, "log_dir", None)
    if log_dir is not None:
        return Path(log_dir)
    parts = (str(first.name), str(first.version))
    return Path(first.save_dir or trainer.default_root_dir, *parts)


def new_folder(trainer: Any) -> Path:
    """Where a run begins: in ``delve``, or, where a run lies there, in ``delve-2`` and so on."""
    named = own_folder(trainer) / "delve"
    return next(path for path in _numbered(named) if not (path / _JOURNAL).exists())


def folder_to_go_on_in(trainer: Any, recorded: str | None) -> Path:
    """Where a run goes on: in the folder that the checkpoint names, if it is there.

    Args:
        trainer: The trainer.
        recorded: What the checkpoint says.
    """
    if recorded is not None and (Path(recorded) / _JOURNAL).exists():
        return Path(recorded)
    named = own_folder(trainer) / "delve"
    last = named
    for path in _numbered(named):
        if not (path / _JOURNAL).exists():
            return last
        last = path
    return last


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1
