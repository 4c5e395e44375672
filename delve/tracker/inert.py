"""What a copy of a model gets in the place of the tracker that stands on it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self


class InertTracker:
    """A tracker that does nothing: the run stays with the one that it was copied from.

    Args:
        savefile: That one's folder.
        epoch: The epoch that it was at.
    """

    def __init__(self, savefile: str, epoch: int) -> None:
        self.savefile = savefile
        self.epoch = epoch

    def add_scalar(self, name: str, value: Any, **_: Any) -> None:
        """Do nothing."""

    def add_saturations(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def save(self, **_: Any) -> None:
        """Do nothing."""

    def saturation(self) -> None:
        """Do nothing."""

    def display(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def resume(self) -> None:
        """Do nothing."""

    def retrack(self) -> None:
        """Do nothing."""

    def is_recording(self) -> bool:
        """It never is."""
        return False

    def mode(self, _mode: str) -> contextlib.AbstractContextManager[None]:
        """A block that changes nothing."""
        return contextlib.nullcontext()

    def mask(self, _mask: Any) -> contextlib.AbstractContextManager[None]:
        """A block that changes nothing."""
        return contextlib.nullcontext()

    def state_dict(self, **_: bool) -> dict[str, Any]:
        """Nothing was gathered."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""

    def close(self, error: BaseException | None = None) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def __repr__(self) -> str:
        return f"InertTracker({self.savefile!r}, {self.epoch}), an inert copy"
