"""What W&B takes under which name: its own keys, and those that it cannot store."""

from __future__ import annotations

import re

# W&B fills these itself, whatever is logged under them.
_RESERVED = frozenset({"_step", "_timestamp", "_runtime", "_wandb"})
# W&B's service reads a name as a path, and these have no part.
_WITHOUT_PARTS = frozenset({"", "\\"})

LONGEST_TAG = 64  # characters


def refusal(name: str) -> str | None:
    """Why W&B does not store values under a name; None where it does."""
    if name in _RESERVED:
        return "W&B keeps this name for itself"
    if name in _WITHOUT_PARTS:
        return "W&B has no such name"
    if not is_text(name):
        return "W&B takes no half of a character (a lone surrogate)"
    return None


def is_text(text: str) -> bool:
    """Whether it can be written in UTF-8, in which all goes to W&B."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(name: str) -> str:
    """As ``define_metric`` takes a name: dots stand for nesting there, stars for anything."""
    return re.sub(r"([\\.])", r"\\\1", name)


def can_be_defined(name: str) -> bool:
    """Whether ``define_metric`` takes it for one name."""
    return "*" not in name and not name.startswith("_")  # a pattern and hidden, to W&B
