"""Has ``torch.compile`` look at hooks that come after it, which it does not by itself.

Code that was compiled while a module had no hook is used again once it has one, also for another
model of the same class that never gets one: a teacher, the folds of a cross-validation. A switch
of the compiler's, ``skip_nnmodule_hook_guards``, has it look. It is turned here once in a process,
and what was compiled before is compiled anew.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

import torch

from delve.base.log import get_logger

_COMPILER = "torch._dynamo"
_CONFIG = f"{_COMPILER}.config"
_SWITCH = "skip_nnmodule_hook_guards"

logger = get_logger(__name__)


def heed_hooks() -> None:
    """Have hooks that were just set noticed by code that is or will be compiled.

    Nothing is imported: where nobody has imported the compiler, it is told when somebody does.
    """
    config = sys.modules.get(_CONFIG)
    if config is None:
        if not any(isinstance(finder, _Watch) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Watch())
    elif getattr(config, _SWITCH, True) or not _is_switch_enough():
        _turn_on(config)
        _compile_anew()


def _is_switch_enough() -> bool:
    """Whether the compiler can guard that there is no hook, which it cannot in torch 2.4."""
    builder = getattr(sys.modules.get(f"{_COMPILER}.guards"), "GuardBuilder", None)
    return hasattr(builder, "EMPTY_NN_MODULE_HOOKS_DICT")


class _Watch(MetaPathFinder):
    """Finds nothing, but waits for somebody to import the compiler."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002 (others give it by name)
        target: types.ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """The spec of the compiler's settings, whose switch is turned as soon as there is one."""
        if name != _CONFIG:
            return None
        with contextlib.suppress(ValueError):  # another thread has
            sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader: Any = spec and spec.loader
        if hasattr(loader, "exec_module"):
            execute = loader.exec_module

            def execute_and_turn_on(module: types.ModuleType) -> None:
                del loader.exec_module
                execute(module)
                _turn_on(module)

            loader.exec_module = execute_and_turn_on
        return spec


def _turn_on(config: types.ModuleType) -> None:
    """Turn the switch in all threads and contexts; a version that has none goes without."""
    with contextlib.suppress(AttributeError):
        setattr(config, _SWITCH, False)
    # What is set counts for this context alone since torch 2.12, and not in other threads.
    entry: Any = getattr(config, "_config", {}).get(_SWITCH)
    if getattr(entry, "default", None) is True:
        entry.default = False


def _compile_anew() -> None:
    """Throw away what was compiled; what is called again is compiled again."""
    try:
        many = _reset_compiled_code()
    except AttributeError:  # in a version of torch that keeps it elsewhere
        torch.compiler.reset()
        many = None
    if many != 0:
        logger.info(
            "torch.compile had compiled %s before layers were tracked, and would not have noticed "
            "it; what is called again is compiled anew",
            "code" if many is None else f"{many} function{'s' * (many > 1)}",
        )


def _reset_compiled_code() -> int:
    """Reset each function that has compiled code, and nothing else; tell how many they were."""
    conversion: Any = sys.modules.get(f"{_COMPILER}.convert_frame")
    if conversion is None:  # it is being imported just now
        return 0
    seen = [*conversion.input_codes.seen, *conversion.output_codes.seen]
    codes = {code for reference in seen if (code := reference()) and _is_compiled(code)}
    with conversion.compile_lock:
        for code in codes:
            torch._C._dynamo.eval_frame.reset_code(code)
    return len(codes)


def _is_compiled(code: types.CodeType) -> bool:
    evaluation = torch._C._dynamo.eval_frame
    count = getattr(evaluation, "_get_total_cache_entry_count", None)  # since torch 2.12
    return bool(count(code) if count else evaluation._debug_get_cache_entry_list(code))
