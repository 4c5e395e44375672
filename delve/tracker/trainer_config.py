"""What a trainer's callback is told: arguments for the tracker, hyperparameters, scalars."""

from __future__ import annotations

import difflib
import inspect
import numbers
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from delve.base.log import get_logger
from delve.errors import ArgumentError
from delve.tracker.arguments import check_scalar
from delve.tracker.hyperparameters import resolve
from delve.tracker.tracker import SaturationTracker

# What a callback gives itself, or has under a name of its own.
_OF_THE_CALLBACK = ("savefile", "save_to", "modules", "initial_epoch", "initial_step")

logger = get_logger("delve.tracker")


def check_names(arguments: Mapping[str, Any]) -> None:
    """Arguments of the tracker that the user gave a callback, by their names.

    Raises:
        ArgumentError: The tracker has no such argument, or the callback gives it itself.
    """
    known = [
        name
        for name in inspect.signature(SaturationTracker).parameters
        if name not in _OF_THE_CALLBACK
    ]
    for name in arguments:
        if name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
        raise ArgumentError(f"no argument for the tracker is called {name!r}; {meant}")


def trainers_config(*sources: Any) -> dict[str, Any]:
    """Hyperparameters of a trainer and of its model as plain values; the first to name one wins.

    Args:
        sources: Mappings, dataclasses, namespaces, objects of OmegaConf or pydantic, or with a
            ``to_dict``; None is passed over. So is, with a warning, a value that cannot be
            resolved: it is no argument of Delve's.
    """
    config: dict[str, Any] = {}
    for source in sources:
        config = _resolved(source) | config
    return config


def _resolved(source: Any) -> dict[str, Any]:
    """The hyperparameters of one source, without those that cannot be had."""
    if source is None:
        return {}
    try:
        return resolve(source)
    except ArgumentError as error:
        if not isinstance(source, Mapping):
            logger.warning("hyperparameters of the trainer are left out: %s", error)
            return {}
    config: dict[str, Any] = {}
    for name in source:
        try:
            config |= resolve(_One(source, name))
        except ArgumentError as error:
            logger.warning("a hyperparameter of the trainer is left out: %s", error)
    return config


class _One(Mapping[Any, Any]):
    """One item of a mapping, asked for when it is wanted."""

    def __init__(self, source: Mapping[Any, Any], name: Any) -> None:
        self._source = source
        self._name = name

    def __getitem__(self, name: Any) -> Any:
        return self._source[name]

    def __iter__(self) -> Iterator[Any]:
        return iter([self._name])

    def __len__(self) -> int:
        return 1


def as_scalar(value: Any) -> float | None:
    """A scalar of the trainer's as a float; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, torch.Tensor, np.ndarray)):
        return None
    try:
        return check_scalar("", value)
    except ArgumentError:
        return None
