"""A forward hook of Delve's own: what others meet on a module that is tracked."""

from __future__ import annotations

import contextlib
from typing import Any

from torch import nn

from delve.errors import ArgumentError


class ScriptingError(ArgumentError, AttributeError):
    """``torch.jit.script`` was called on a model that is tracked."""


class ModelHook:
    """Not copied, not pickled and not scripted with its module.

    A copied or pickled model gets an inert one in its place.
    """

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """One call of the module is over."""
        raise NotImplementedError

    @property
    def __name__(self) -> str:
        """What ``torch.jit.script`` asks of a hook first; for all others there is none."""
        raise ScriptingError(
            "torch.jit.script compiles a model's hooks too, which it cannot with those of Delve; "
            "script the model within `with tracker.untracked():`, or before it is tracked (a copy "
            "of a tracked model: after `module._forward_hooks.clear()` and "
            "`module._forward_pre_hooks.clear()` of its modules)"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Takes three arguments, does nothing and returns None, as an inert hook must; and it comes
        # with Python, so that a saved model can be loaded where there is no Delve.
        return getattr, (contextlib.nullcontext(), "__exit__")
