"""Hyperparameters as MLflow's params: texts that never change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlflow.entities import Param

from delve.base import get_logger
from delve_mlflow import refusals, runs
from delve_mlflow.client import Client
from delve_mlflow.identity import readable
from delve_mlflow.keys import clean_key

MAX_LENGTH = 6000

logger = get_logger(__name__)


def log_params(client: Client, run_id: str, config: Mapping[str, Any]) -> None:
    """Log hyperparameters, and name those that MLflow does not take, or has otherwise."""
    params = params_of(config)
    if not params:
        return

    def held() -> dict[str, str]:
        return dict(client.get_run(run_id).data.params)

    def lacking(some: Sequence[Param]) -> list[Param]:
        there = held()
        return [param for param in some if param.key not in there]

    def is_usable() -> bool:
        return runs.active(client, run_id) is not None

    refused: dict[str, str] = {}
    new = [Param(key, value) for key, value in params.items()]
    try:
        refusals.deliver(
            new,
            lambda some: client.log_params(run_id, some),
            lacking,
            is_usable,
            True,
            refused,
        )
    except Exception as error:
        if not refusals.is_refusal(error) or not is_usable():
            raise
        # Too many to find out which are to blame: the metrics are worth more.
        refused |= dict.fromkeys((param.key for param in lacking(new)), refusals.reason(error))
    if refused:
        reasons = "; ".join(f"{key}: {reason}" for key, reason in list(refused.items())[:10])
        logger.warning(
            "MLflow does not take %d params, the others are there: %s", len(refused), reasons
        )
    there = held()
    changed = [key for key, value in params.items() if there.get(key, value) != value]
    if changed:
        logger.warning(
            "MLflow keeps the first value of a param; the run still shows the earlier one of: %s",
            ", ".join(changed),
        )


def params_of(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Hyperparameters as MLflow holds them: nested keys joined by dots, values as text."""
    params: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            params |= params_of(value, f"{prefix}{key}.")
        else:
            params[clean_key(f"{prefix}{key}")] = readable(str(value))[:MAX_LENGTH]
    return params
