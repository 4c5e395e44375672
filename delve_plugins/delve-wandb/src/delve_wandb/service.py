"""W&B's service process and its settings, which all runs of this process share."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import wandb
from wandb import Run

from delve.base import get_logger
from delve.errors import WriterConfigurationError

_TOKEN = "WANDB_SERVICE"  # W&B sets it while a service runs
_HOOKS = ("exit", "excepthook")  # of sys; W&B wraps them at each start and never unwraps them
# Where W&B defines what it raises when no answer can come, and once it is torn down.
_NO_ANSWER = ("wandb.sdk.mailbox.", "wandb.sdk.lib.asyncio_manager")

_ours: list[Run] = []  # the runs of Delve's own that are open
_started_here: dict[str, dict[str, Any]] = {}  # services that Delve started: sys's hooks before

logger = get_logger(__name__)


def start() -> None:
    """Start the service if there is none, and load the user's settings.

    Raises:
        WriterConfigurationError: W&B refuses them.
    """
    found = os.environ.get(_TOKEN)
    hooks = {name: getattr(sys, name) for name in _HOOKS}
    try:
        wandb.setup()
    except ValueError as error:
        raise WriterConfigurationError(
            f"writer 'wandb': W&B refuses its settings ({error}); check the WANDB_ variables and "
            "the settings file"
        ) from error
    token = os.environ.get(_TOKEN)
    if token and token != found:
        _started_here[token] = hooks


def users_settings() -> wandb.Settings:
    """The settings that runs inherit: from the environment, files, and calls of the user's."""
    return wandb.setup().settings


@contextlib.contextmanager
def adjusted_settings(**changes: Any) -> Iterator[None]:
    """Change what all runs inherit, for a moment."""
    settings = users_settings()
    known = changes.keys() & type(settings).model_fields.keys()
    before = {name: getattr(settings, name) for name in known}
    for name in known:
        setattr(settings, name, changes[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)


def stop() -> None:
    """Stop the service if Delve started it and no run needs it."""
    if os.environ.get(_TOKEN) in _started_here and _is_idle():
        _tear_down()


def is_finished(run: Run) -> bool:
    """Whether somebody has ended the run, so that it takes nothing more.

    To ask the run anything else would then wait 30 s for an answer. W&B offers no public way.
    """
    return bool(getattr(run, "_is_finished", False))


def has_died(error: Exception) -> bool:
    """Whether an error tells that the service is gone: the server's faults are told otherwise."""
    return isinstance(error, ConnectionError) or type(error).__module__.startswith(_NO_ANSWER)


def restart() -> None:
    """Free the ids of runs that failed to open; W&B offers no other way.

    Does nothing while a run of this process is active.
    """
    if _is_idle():
        settings = users_settings()
        was_started_here = os.environ.get(_TOKEN) in _started_here
        _tear_down()
        if was_started_here:
            start()
        else:  # it came with settings that the user has made
            wandb.setup(settings)


def keep_to_ourselves(run: Run) -> None:
    """Have the user's own ``wandb.init()`` know nothing of a run of Delve's.

    W&B would return that run from it, or finish it, as notebooks do with earlier runs. Its list of
    active runs is not public: where it has changed, the run stays in it.
    """
    _ours[:] = [run, *(other for other in _ours if not is_finished(other))]
    forget = getattr(wandb.setup(), "remove_active_run", None)
    if forget:
        forget(run)


def _is_idle() -> bool:
    """Whether no run of this process is open."""
    others = getattr(wandb.setup(), "most_recent_active_run", None)
    return others is None and all(is_finished(run) for run in _ours)


def _tear_down() -> None:
    hooks = _started_here.pop(os.environ.get(_TOKEN, ""), {})
    _ours.clear()
    try:
        wandb.teardown()
    except (Exception, SystemExit) as error:  # W&B exits where its service has died
        logger.debug("W&B's service did not end in order", exc_info=error)
    for name, hook in hooks.items():
        owner = type(getattr(getattr(sys, name), "__self__", None))
        if owner.__module__.startswith("wandb."):  # nobody else has wrapped it since
            setattr(sys, name, hook)
