"""Names that layers had in an earlier part of a run, with segments of the wrappers around them."""

from __future__ import annotations

from collections.abc import Iterable

from delve.base.log import get_logger
from delve.capture.wrappers import WRAPPER_SEGMENTS, joined
from delve.records import shortened

logger = get_logger(__name__)


def in_todays_names(recorded: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The layers that a journal knows, by the names that they have now; a change is told once.

    A name counts as another one's earlier form if today's model lacks it, and the two differ in
    nothing but what wrappers put into names. Rows that were recorded keep the names that they have:
    most backends let no point be renamed.

    Args:
        recorded: The names in the journal.
        names: The names of the layers that are tracked now.
    """
    today = dict.fromkeys(names)
    alike: dict[str, list[str]] = {}
    for name in today:
        alike.setdefault(_without_wrappers(name), []).append(name)
    now: dict[str, str] = {}
    for old in recorded:
        candidates = alike.get(_without_wrappers(old), []) if old not in today else []
        now[old] = candidates[0] if len(candidates) == 1 else old
    renamed = [f"{old} is {new}" for old, new in now.items() if old != new]
    if renamed:
        logger.info(
            "layers of this run had other names before, after what wrapped them: %s; rows that "
            "were recorded keep those, new ones have today's",
            shortened(renamed),
        )
    return tuple(dict.fromkeys(now.values()))


def _without_wrappers(name: str) -> str:
    return joined(*(part for part in name.split(".") if part not in WRAPPER_SEGMENTS))
