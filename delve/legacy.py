"""Calls of delve 0.1 and earlier that have a better form today; each says so and works."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from delve.tracker import SaturationTracker


class CheckLayerSat(SaturationTracker):
    """The tracker under its first name.

    Takes the parameters of :class:`~delve.tracker.SaturationTracker`, and the two forms of its
    time: ``CheckLayerSat("runs", layers)`` records saturation to TensorBoard, and
    ``CheckLayerSat("runs", layers, "spectrum")`` the five largest eigenvalues of each layer.
    """

    def __init__(self, savefile: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        if args and _are_modules(args[0]):
            modules, *rest = args
            stats = rest[0] if rest else kwargs.pop("stats", "lsat")
            kwargs |= {"save_to": "tensorboard", "modules": modules, "stats": stats}
            args = ()
            shown = f"save_to='tensorboard', modules=layers, stats={_as_list(stats)!r}"
        else:
            shown = "save_to=..., modules=model"
        warnings.warn(
            f"CheckLayerSat is called SaturationTracker now: SaturationTracker({savefile!r}, "
            f"{shown})",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__(savefile, *args, **kwargs)


def _are_modules(value: Any) -> bool:
    """Whether a second argument is what the first versions expected there."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return bool(value) and all(isinstance(item, nn.Module) for item in value)
    return isinstance(value, nn.Module)


def _as_list(stats: str | Sequence[str]) -> list[str]:
    return [stats] if isinstance(stats, str) else list(stats)
