"""A tracker in a notebook: its HTML, and one output that is brought up to date each epoch."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from delve.base.log import get_logger

logger = get_logger("delve.tracker")


class Display:
    """One output of a notebook. Whatever goes wrong with it, the training goes on."""

    def __init__(self) -> None:
        self._handle: Any = None

    @staticmethod
    def is_possible() -> bool:
        """Whether this is a notebook, or another place that IPython shows things in."""
        module = sys.modules.get("IPython")
        return module is not None and module.get_ipython() is not None

    def show(self, content: Any) -> None:
        """Show something, where the cell that calls this has its output."""
        display = import_module("IPython.display").display
        self._handle = display(content, display_id=True)

    def update(self, content: Any) -> None:
        """Show it as it is now, in the same place, if it was shown."""
        if self._handle is None:
            return
        try:
            self._handle.update(content)
        except Exception as error:
            logger.warning("display() is not brought up to date any more (%s)", error)
            self._handle = None
