"""Passes of a compiled model that its layers did not see, by comparison with its own.

``torch.compile`` may run code that was compiled while there were no hooks. Delve has it look
(:mod:`delve.capture.hook_guards`), but a user may tell it not to look at modules, and ahead-of-time
compiled code never does. In a model that is compiled as a whole, a pass that none of its layers saw
is one of those: layers that are called now and then, such as experts, leave the others.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from delve.base.log import get_logger
from delve.capture import compiled
from delve.capture.model_hook import ModelHook
from delve.capture.modes import mode_of
from delve.capture.stand_ins import stands_for_data
from delve.records import shortened

_COMPILER = "torch._dynamo"  # where nobody has imported it, nothing is compiled

logger = get_logger(__name__)


class RootPasses(ModelHook):
    """Counts the passes of one model since the last statistics, and those that its layers saw.

    Where the model itself is called from compiled code nothing is counted, and nothing compared.

    Args:
        root: The model.
        is_counting: Whether passes are data now.
    """

    def __init__(self, root: nn.Module, is_counting: Callable[[], bool]) -> None:
        self._is_counting = is_counting
        self._compiled: dict[str, None] = {}  # the layers that compiled code has called
        self._is_mixed = False  # whether others were called from elsewhere
        self._is_seen = False  # by any layer, in the pass under way
        self._passes: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._warned: set[str] = set()
        self._root: nn.Module | None = root
        self._handle: RemovableHandle = root.register_forward_hook(self)

    def __call__(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        """One pass of the model is over."""
        if torch.compiler.is_compiling() or _COMPILER not in sys.modules:
            return
        if self._is_counting():
            compiled.uncompiled(RootPasses.count)(self, mode_of(module), output)
        else:
            self._is_seen = False

    def count(self, mode: str, output: Any) -> None:
        """One pass is over."""
        is_seen, self._is_seen = self._is_seen, False
        if not stands_for_data(output):
            self._passes[mode] += 1
            self._seen[mode] += is_seen

    def saw(self, layer: str, is_compiled: bool) -> None:
        """A layer was called, in whatever pass of the model is under way.

        Args:
            layer: Its name.
            is_compiled: Whether compiled code called it.
        """
        self._is_seen = True
        if is_compiled:
            self._compiled[layer] = None
        else:
            self._is_mixed = True

    def warn_of_unseen(self) -> None:
        """Name the layers that did not see all passes since the last call; each mode once."""
        for mode, passes in self._passes.items():
            seen = self._seen[mode]
            if self._compiled and not self._is_mixed and seen < passes and mode not in self._warned:
                self._warned.add(mode)
                logger.warning(
                    "layers %s saw %d of the model's %d passes (%s): code that was compiled "
                    "without their hooks ran in the others. Compile the model after the tracker is "
                    "made, and with guards on its modules",
                    shortened(list(self._compiled)),
                    seen,
                    passes,
                    mode,
                )
        self._passes.clear()
        self._seen.clear()
        self._compiled.clear()
        self._is_mixed = False

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """A block within which the model is without this hook."""
        self._handle.remove()
        try:
            yield
        finally:
            if self._root is not None:  # it was not removed meanwhile
                self._handle = self._root.register_forward_hook(self)

    def remove(self) -> None:
        """Leave the model as it was found."""
        self._root = None
        self._handle.remove()


compiled.leave_alone(RootPasses.__call__)
compiled.leave_alone(mode_of)
