"""Which W&B run is this run's: a folder may be a copy, or come from somebody else.

What a run's folder remembers is a hint where to look. That a W&B run was begun for this run is
shown by its id, which is derived from the run's own, and said by its configuration.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from wandb import Run

from delve.base import get_logger
from delve.records import RunInfo

MARK = "delve.run_id"  # in the configuration of a W&B run of Delve's own
COPIED_FROM = "delve.copied_from"

_LENGTH = 16  # hexadecimal digits of an id: nobody can look for a run that has somebody's

# What is remembered of a W&B run before it is opened.
_NOTHING_KNOWN: dict[str, Any] = {
    "key": None,  # what its id was derived with
    "begun_at": None,  # by which folder
    "online": False,  # whether a server may hold some of it
    "segments": {},  # by name: the first epoch of the process that added it
    "project": None,
    "entity": None,
    "address": None,
    "attempt": 0,  # how often epochs became void that it keeps
    "attempt_first": 0,  # the first that did so last
    "config": [],  # the names of what Delve added to the configuration of a user's run
}

logger = get_logger(__name__)


def new_id(run: RunInfo) -> str:
    """The id of a new W&B run for this run; remembered, so that it is found again."""
    key = secrets.token_hex(4)
    run_id = _derived(run, key)
    remember(run, run_id=run_id, owned=True, key=key, begun_at=_here(run))
    return run_id


def is_begun_here(run: RunInfo) -> bool:
    """Whether the known run was begun in this folder, so that no other one records into it."""
    return bool(run.state.get("begun_at") == _here(run))


def _here(run: RunInfo) -> str:
    return f"{platform.node()}:{run.savefile.resolve()}"


def known_id(run: RunInfo) -> str | None:
    """The W&B run that Delve began for this run, in this process or an earlier one."""
    state = run.state
    if not state.get("owned") or not isinstance(state.get("key"), str):
        return None
    run_id = _derived(run, state["key"])
    return run_id if state.get("run_id") == run_id else None


def _derived(run: RunInfo, key: str) -> str:
    return hashlib.sha256(f"{run.run_id}\n{key}".encode(errors="replace")).hexdigest()[:_LENGTH]


def mark(run: RunInfo) -> dict[str, Any]:
    """What the configuration of a W&B run of Delve's own says of it."""
    origin = run.state.get("copied_from") or (run.origin and _name_of_origin(run))
    return {MARK: run.run_id} | ({COPIED_FROM: origin} if origin else {})


def _name_of_origin(run: RunInfo) -> str:
    assert run.origin
    state: Any = run.origin.state
    run_id = state.get("run_id") if isinstance(state, Mapping) else None
    return run_id if isinstance(run_id, str) and run_id else run.origin.run_id


def is_marked(opened: Run, run: RunInfo) -> bool:
    """Whether a W&B run says that it was begun for this run."""
    config: Any = opened.config
    return bool(config.get(MARK) == run.run_id)


def remember(run: RunInfo, **state: Any) -> None:
    """Keep what a resume needs; another W&B run's is dropped."""
    if state.get("run_id", run.state.get("run_id")) != run.state.get("run_id"):
        state = _NOTHING_KNOWN | state
    if any(run.state.get(name) != value for name, value in state.items()):
        run.remember(**state)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_numbers_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


_SHAPES: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(
        ("run_id", "key", "project", "entity", "address", "copied_from", "begun_at"), _is_text
    ),
    **dict.fromkeys(("owned", "online"), _is_flag),
    **dict.fromkeys(("attempt", "attempt_first"), _is_number),
    "segments": _is_numbers_by_name,
    **dict.fromkeys(("config", "left_out"), _is_texts),
}


def pass_over_unusable(run: RunInfo) -> None:
    """Take out of a run's state what is not of the shape that Delve writes; said once."""
    unusable = [
        name
        for name, is_usable in _SHAPES.items()
        if run.state.get(name) is not None and not is_usable(run.state[name])
    ]
    if unusable:
        logger.warning(
            "what %s remembers of W&B is not of Delve's making (%s) and is passed over",
            run.savefile,
            ", ".join(unusable),
        )
    for name in unusable:
        del run.state[name]


def remember_page(opened: Run, run: RunInfo) -> None:
    """Note the address of the run's page; a run that is offline has none until it is synced."""
    url = None
    with contextlib.suppress(Exception):  # of a service that has just died
        url = None if opened.offline else opened.url
    page = {"url": url} if url else None
    if run.state.get("page") != page:
        run.remember(page=page)
