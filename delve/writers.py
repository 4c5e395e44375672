"""The writers that need no plugin, and the names that delve 0.1 documents, found in the plugins.

The writers of the plugins are imported when their names are first used, and not before.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path
from typing import Any

from tqdm import tqdm

from delve.base.log import get_logger
from delve.base.our_plugins import how_to_install
from delve.base.printable import printable
from delve.delivery.checked_writer import not_a_hook
from delve.delivery.composite import CompositWriter
from delve.delivery.left_out import LeftOut
from delve.errors import WriterNotFoundError
from delve.records import Metric

# Each documented name, its module, and the plugin that the module comes with.
_ELSEWHERE = {
    "CSVWriter": ("delve_csv", "csv"),
    "NPYWriter": ("delve_npy", "npy"),
    "TensorBoardWriter": ("delve_tensorboard", "tensorboard"),
    "MLflowWriter": ("delve_mlflow", "mlflow"),
    "WandbWriter": ("delve_wandb", "wandb"),
    "PlotWriter": ("delve_plot", "plot"),
    "CSVandPlottingWriter": ("delve_plot", "plot"),
    "extract_layer_stat": ("delve_plot", "plot"),
    "plot_stat": ("delve_plot", "plot"),
    "plot_stat_level_from_results": ("delve_plot", "plot"),
    "plot_scatter_from_results": ("delve_plot", "plot"),
}

__all__ = [
    "AbstractWriter",
    "CompositWriter",
    "LeftOut",
    "PrintWriter",
    "how_to_install",
    *_ELSEWHERE,
]

logger = get_logger(__name__)


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, plugin = _ELSEWHERE[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise WriterNotFoundError(
            f"{__name__}.{name} comes with a plugin that is not installed. {how_to_install(plugin)}"
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_ELSEWHERE})


class AbstractWriter(ABC):
    """A base class for writers that want to be told which methods are missing.

    Not needed: any object whose methods fit :class:`delve.hookspecs.WriterSpec` is a writer. A
    subclass that was written for delve 0.1 works as it is.
    """

    def _check_savestate_ok(self, savepath: str | os.PathLike[str]) -> bool:
        """Whether a state to resume from is there; says so where it is not."""
        if Path(savepath).exists():
            return True
        logger.warning(
            "%s does not exist, so %s has nothing to resume from", savepath, type(self).__name__
        )
        return False

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

    @not_a_hook
    def resume_from_saved_state(self, initial_epoch: int) -> None:
        """Do nothing: what was printed stays."""

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        """Print a scalar of the user's."""
        _print(epoch, name, value)

    def add_scalars(self, value_dict: dict[Metric, float], global_step: int) -> None:
        """Print the layer metrics of an epoch."""
        for name, value in value_dict.items():
            _print(global_step, name, value)

    @not_a_hook
    def save(self) -> None:
        """Do nothing: all was printed as it came."""

    @not_a_hook
    def close(self) -> None:
        """Do nothing: there is no file."""


def _print(epoch: int, name: str, value: float) -> None:
    # Not print, which would break the user's progress bars.
    tqdm.write(f"epoch {epoch:3d}  {printable(name)} = {value:.6g}")
