"""The base class that delve 0.1 documents for writers, and the writers that need no plugin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from tqdm.auto import tqdm

from delve.records import Metric


class AbstractWriter(ABC):
    """A base class for writers that want to be told which methods are missing.

    Not needed: any object whose methods fit :class:`delve.hookspecs.WriterSpec` is a writer. A
    subclass that was written for delve 0.1 works as it is.
    """

    @abstractmethod
    def resume_from_saved_state(self, initial_epoch: int) -> Any:
        """Hold exactly the epochs below ``initial_epoch``; see the hook specification."""

    @abstractmethod
    def add_scalar(self, name: str, value: float, **kwargs: Any) -> None:
        """Take a scalar of the user's."""

    @abstractmethod
    def add_scalars(self, prefix: str, value_dict: dict[Metric, float], **kwargs: Any) -> None:
        """Take the layer metrics of an epoch."""

    @abstractmethod
    def save(self) -> None:
        """The epoch is complete."""

    @abstractmethod
    def close(self) -> None:
        """The run has ended."""


class PrintWriter:
    """Prints one line per metric on the console as soon as it is logged."""

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        """Print a scalar of the user's."""
        _print(epoch, name, value)

    def add_scalars(self, value_dict: dict[Metric, float], global_step: int) -> None:
        """Print the layer metrics of an epoch."""
        for name, value in value_dict.items():
            _print(global_step, name, value)


def _print(epoch: int, name: str, value: float) -> None:
    tqdm.write(f"epoch {epoch:3d}  {name} = {value:.6g}")  # leaves the user's progress bars whole
