"""Which of Lightning's packages the user trains with: a callback has to be of its class."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

# The package, and the module of it that a Trainer comes with. Their classes are not the same.
_PACKAGES = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}

_made: dict[tuple[type, ...], type] = {}


def as_callback(kind: type) -> type:
    """A class with the callback class of each package of Lightning's that is imported.

    Where none is, the first that is installed is imported.

    Raises:
        ImportError: None is installed.
    """
    bases = _callback_classes()
    if issubclass(kind, bases):
        return kind
    parts = (kind, *bases)
    if parts not in _made:
        made = type(kind.__name__, parts, {"__module__": kind.__module__, "__doc__": kind.__doc__})
        made.__qualname__ = kind.__qualname__
        _made[parts] = made
    return _made[parts]


def plain(kind: type) -> type:
    """The class that :func:`as_callback` was given."""
    return next((parts[0] for parts, made in _made.items() if made is kind), kind)


def _callback_classes() -> tuple[type, ...]:
    imported = [module for module in _PACKAGES.values() if module in sys.modules]
    if not imported:
        imported = [_PACKAGES[name] for name in _PACKAGES if find_spec(name) is not None][:1]
    if not imported:
        raise ImportError(
            "delve-lightning needs Lightning, and neither lightning nor pytorch_lightning is "
            "installed: pip install lightning"
        )
    return tuple(import_module(f"{module}.callbacks").Callback for module in imported)


def logger_class(trainer: Any) -> type:
    """The class of loggers of the package that a Trainer is of."""
    modules = [kind.__module__ for kind in type(trainer).__mro__]  # it may be the user's own
    ours = [
        package
        for module in modules
        for package in _PACKAGES.values()
        if module.startswith(f"{package}.")
    ]
    found: type = import_module(f"{ours[0]}.loggers.logger").Logger
    return found
