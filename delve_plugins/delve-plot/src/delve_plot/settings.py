"""Matplotlib's settings while a figure is made: a style of Delve's own, or the user's."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from typing import Any, Literal, get_args

from delve.errors import ArgumentError

Style = Literal["delve", "user"]

# They are about windows, dates and messages, and not about what a figure looks like.
_NOT_OF_STYLE = frozenset(
    {
        "backend",
        "backend_fallback",
        "date.epoch",
        "docstring.hardcopy",
        "figure.max_open_warning",
        "figure.raise_window",
        "interactive",
        "savefig.directory",
        "timezone",
        "tk.window_focus",
        "toolbar",
    }
)
_lock = threading.RLock()


@contextlib.contextmanager
def drawn_in(style: Style) -> Iterator[None]:
    """Make and render figures in this style: Matplotlib's defaults, or the settings in force.

    What the user has set for their own figures, LaTeX for all text or a font that is not there,
    can make a figure fail or look as nobody has tried.

    Matplotlib has one set of settings for all threads. So only those are changed that differ from
    the defaults, none where the user has changed none; each is put back unless somebody has
    changed it meanwhile; and only one thread at a time draws here. A figure that another thread
    of the user's draws at the same moment may come out in the defaults.
    """
    from matplotlib import rcParams

    with _lock:
        ours = _to_change(rcParams) if style == "delve" else {}
        theirs = {key: dict.get(rcParams, key) for key in ours}
        # Without the checks of Matplotlib, which would refuse to put back what it once let pass.
        dict.update(rcParams, ours)
        try:
            yield
        finally:
            untouched = [key for key, value in ours.items() if dict.get(rcParams, key) is value]
            dict.update(rcParams, {key: theirs[key] for key in untouched})


def check_style(style: object) -> None:
    """Raise an error unless it is the name of a style.

    Raises:
        ArgumentError: It is not.
    """
    if style not in get_args(Style):
        raise ArgumentError(
            f"style must be 'delve', or 'user' for your own Matplotlib settings, not {style!r}"
        )


def _to_change(current: dict[Any, Any]) -> dict[Any, Any]:
    """The defaults of what is set otherwise."""
    from matplotlib import rcParamsDefault

    # Read as they are stored: to ask Matplotlib for the backend would choose one.
    held = dict(dict.items(current))
    return {
        key: copy.copy(value)
        for key, value in dict.items(rcParamsDefault)
        if key in held and key not in _NOT_OF_STYLE and not _same(held[key], value)
    }


def _same(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays, which compare one by one
        return False
