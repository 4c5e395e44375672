"""One tracker after the other on one folder: who runs a cell again means the new one.

The earlier one is ended where nobody refers to it any more, or where it was made by an earlier
cell of a notebook, or line of an interactive session. Two that are both in use are a mistake.
"""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from typing import Any, Protocol

from delve.base.log import get_logger

# Who refers to a tracker that its user has let go: the call at exit, and who looks here.
_OWN_REFERENCES = 3

logger = get_logger("delve.tracker")


class Closable(Protocol):
    """What there is of a tracker here."""

    _closed: bool
    epoch: Any

    def close(self, error: BaseException | None = None) -> None:
        """End the run."""


class _Open:
    """A tracker that is open, and when it was made."""

    def __init__(self, tracker: Any) -> None:
        self.tracker = weakref.ref(tracker)
        self.cell = _cell()
        self.error = getattr(sys, "last_value", None)


_open: dict[Path, _Open] = {}


def note(folder: Path, tracker: Any) -> None:
    """A tracker was made on a folder."""
    _open[folder.resolve()] = _Open(tracker)


def end_earlier(folder: Path) -> None:
    """End the tracker that was made on a folder before, unless it is in use."""
    known = _open.get(folder.resolve())
    if known is None:
        return
    tracker = known.tracker()
    if tracker is None or tracker._closed:
        del _open[folder.resolve()]
        return
    is_of_earlier_cell = known.cell != _cell()
    if not is_of_earlier_cell:
        if sys.getrefcount(tracker) > _OWN_REFERENCES:
            gc.collect()  # who refers to it may be gone but for a circle
        if sys.getrefcount(tracker) > _OWN_REFERENCES:
            return
    why = "made by an earlier cell" if is_of_earlier_cell else "that nobody refers to any more"
    logger.warning("%s: the tracker %s ends here, at epoch %d", folder, why, tracker.epoch)
    error = getattr(sys, "last_value", None)
    tracker.close(None if error is known.error else error)
    del _open[folder.resolve()]


def _cell() -> object:
    """Which cell of a notebook runs, or line of a session; the same in all of a script."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if shell is not None:
        return shell.execution_count
    return object() if hasattr(sys, "ps1") else None
