"""Where a Trainer keeps its checkpoints, of which it tells a callback nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.training_args import TrainingArguments

from delve.tracker import read_state

_PREFIX = "checkpoint"


def has_checkpoint(output_dir: str | None) -> bool:
    """Whether a training in this folder can go on."""
    return any(path.is_dir() for path in Path(output_dir or "").glob(f"{_PREFIX}-*"))


def checkpoint_of(args: TrainingArguments, step: int) -> Path:
    """The checkpoint of this step; a trial in a search for hyperparameters has it elsewhere."""
    return Path(args.output_dir or "") / f"{_PREFIX}-{step}"


def state_of(args: TrainingArguments, step: int) -> dict[str, Any] | None:
    """What this process kept in the checkpoint that the training goes on from."""
    states = (read_state(folder, args.process_index) for folder in _candidates(args, step))
    return next((state for state in states if state is not None), None)


def _candidates(args: TrainingArguments, step: int) -> Iterator[Path]:
    named = args.resume_from_checkpoint
    if isinstance(named, str) and Path(named).name == f"{_PREFIX}-{step}":
        yield Path(named)
    yield checkpoint_of(args, step)
