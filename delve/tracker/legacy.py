"""Calls of delve 0.1 and earlier that have a better form today; each says so and works."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from delve.base.log import SPEAKER
from delve.tracker.tracker import SaturationTracker


class CheckLayerSat(SaturationTracker):
    """The tracker under its first name.

    Takes the parameters of :class:`~delve.SaturationTracker`, and the two forms of its
    time: ``CheckLayerSat("runs", layers)`` records saturation to TensorBoard, and
    ``CheckLayerSat("runs", layers, "spectrum")`` the five largest eigenvalues of each layer. All
    further parameters of those forms are given by name.

    Raises:
        TypeError: A parameter of those forms has no name, or two values.
    """

    def __init__(self, savefile: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        if args and _are_modules(args[0]):
            kwargs = _of_the_first_forms(*args, **kwargs)
            args = ()
            stats = _as_list(kwargs["stats"])
            shown = f"save_to={kwargs['save_to']!r}, modules=layers, stats={stats!r}"
        else:
            shown = "save_to=..., modules=model"
        warnings.warn(
            f"{SPEAKER}CheckLayerSat is called SaturationTracker now: "
            f"SaturationTracker({savefile!r}, {shown})",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__(savefile, *args, **kwargs)


def _of_the_first_forms(
    modules: Any,
    stats: str | Sequence[str] = "lsat",
    *nameless: Any,
    save_to: Any = "tensorboard",
    **others: Any,
) -> dict[str, Any]:
    """The parameters of today that say the same."""
    if nameless:
        raise TypeError(
            "CheckLayerSat(savefile, modules, stats) takes nothing more without a name, but got "
            f"{', '.join(map(repr, nameless))}; name each, for example log_interval=10"
        )
    return {"modules": modules, "stats": stats, "save_to": save_to, **others}


def _are_modules(value: Any) -> bool:
    """Whether a second argument is what the first versions expected there."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return bool(value) and all(isinstance(item, nn.Module) for item in value)
    return isinstance(value, nn.Module)


def _as_list(stats: str | Sequence[str]) -> list[str]:
    return [stats] if isinstance(stats, str) else list(stats)
