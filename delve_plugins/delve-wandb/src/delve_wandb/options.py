"""What a user may ask of the writer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delve.errors import ArgumentError
from delve_wandb.names import LONGEST_TAG, is_text

RUN_MODES = ("online", "offline", "disabled")


@dataclass(frozen=True)
class Options:
    """How to open a run of Delve's own; None leaves it to W&B's settings and environment.

    ``prefix`` and ``commit`` say how values go into a run, ``run`` is one of the user's; see
    :class:`~delve_wandb.writer.WandbWriter`.

    Raises:
        ArgumentError: W&B would refuse it.
    """

    folder: Path
    project: str | None = None
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    tags: tuple[str, ...] | None = None
    mode: str | None = None
    init_timeout: float | None = None
    prefix: str = ""
    commit: bool = False
    run: Any = None  # a wandb.Run, which is imported where it is used

    def __post_init__(self) -> None:
        if self.mode not in (None, *RUN_MODES):
            raise ArgumentError(f"mode must be one of {', '.join(RUN_MODES)}, not {self.mode!r}")
        if self.run is not None and not _is_run(self.run):
            raise ArgumentError(
                f"run must be a run of W&B's, as wandb.init() returns it, not {type(self.run)}"
            )
        timeout = 1 if self.init_timeout is None else self.init_timeout
        if not isinstance(timeout, (int, float)) or not timeout > 0:
            raise ArgumentError(f"init_timeout must be seconds, above 0, not {timeout!r}")
        if not isinstance(self.prefix, str) or "*" in self.prefix or self.prefix.startswith("_"):
            raise ArgumentError(
                "prefix must be a text such as 'fold0/', without * and not beginning with _, "
                f"not {self.prefix!r}"
            )
        for what in ("project", "entity", "name", "group", "prefix"):
            value = getattr(self, what)
            if isinstance(value, str) and not is_text(value):
                raise ArgumentError(f"{what} cannot be sent to W&B: {value!r} is no whole text")


def _is_run(given: object) -> bool:
    """Whether it is one; who has one has imported W&B."""
    wandb: Any = sys.modules.get("wandb")
    return wandb is not None and isinstance(given, wandb.Run)


def tags_of(tags: object) -> tuple[str, ...] | None:
    """A run's tags.

    Raises:
        ArgumentError: They are not a list of texts that W&B takes.
    """
    if tags is None:
        return None
    if not isinstance(tags, Sequence) or isinstance(tags, (str, bytes)):
        raise ArgumentError(
            f"tags must be a list of texts for W&B, not {tags!r}; give each writer its own, "
            'writer_args={"wandb": {"tags": [...]}}'
        )
    texts = tuple(str(tag) for tag in tags)
    for text in texts:
        if not 1 <= len(text) <= LONGEST_TAG or not is_text(text):
            raise ArgumentError(
                f"tags must have 1 to {LONGEST_TAG} characters for W&B, not {len(text)}: {text!r}"
            )
    return texts
