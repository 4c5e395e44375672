"""The runs that a Trainer's own MLflow and W&B record into, once they have begun."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from transformers.training_args import TrainingArguments


def runs_of(args: TrainingArguments, carried: Collection[str]) -> dict[str, dict[str, Any]]:
    """By the name of a writer, the arguments by which it records into the Trainer's run.

    Args:
        args: Those of the Trainer.
        carried: The names of the Trainer's scalars that Delve is given too: its own runs have them.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in args.report_to or ()}
    # Neither is imported before the Trainer has done so.
    mlflow, wandb = sys.modules.get("mlflow"), sys.modules.get("wandb")
    if "mlflow" in found and mlflow is not None and (active := mlflow.active_run()):
        found["mlflow"] = {"run_id": active.info.run_id, "leave_out": carried}
    if "wandb" in found and wandb is not None and wandb.run is not None:
        found["wandb"] = {"run": wandb.run, "leave_out": carried}
    return found
