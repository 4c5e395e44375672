"""A signal at a chosen bytecode of Delve's own code, as if it came from outside just then."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import delve

_CODE = str(Path(delve.__file__).parent)


class Bytecodes:
    """Counts the bytecodes of Delve's that a call runs through, and sends a signal at one of them.

    Args:
        number: The signal.
        at: At which bytecode it is sent, counted from 0; None counts alone.
    """

    def __init__(self, number: int = signal.SIGINT, at: int | None = None) -> None:
        self.count = 0
        self._number = number
        self._at = at

    def run(self, call: Callable[[], Any]) -> Any:
        """Call, with the signal coming in on the way."""
        if self._number == signal.SIGINT:  # a shell in the background has it ignored
            signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.settrace(self._enter)
        try:
            return call()
        finally:
            sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_CODE):
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            self.count += 1
            if self.count - 1 == self._at:
                sys.settrace(None)
                signal.raise_signal(self._number)
        return self._step
