"""Delve shows people who train neural networks what their layers are doing.

Each name is imported when it is asked for: to look at recorded runs takes no PyTorch, and the
command's help no NumPy either.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from delve.capture.receptive_field import ReceptiveField, receptive_field
    from delve.errors import DelveError
    from delve.hookspecs import hookimpl
    from delve.journal.loading import load, load_all
    from delve.numerics.covariance import TorchCovarianceMatrix
    from delve.records import HeldEpoch, Metric, RunInfo
    from delve.tracker.legacy import CheckLayerSat
    from delve.tracker.tracker import SaturationTracker

    # What a distribution adds for a trainer, by the name of the trainer.
    accelerate: ModuleType
    keras: ModuleType
    lightning: ModuleType
    transformers: ModuleType

__version__ = "1.0.0"

__all__ = [
    "CheckLayerSat",
    "DelveError",
    "HeldEpoch",
    "Metric",
    "ReceptiveField",
    "RunInfo",
    "SaturationTracker",
    "TorchCovarianceMatrix",
    "hookimpl",
    "load",
    "load_all",
    "receptive_field",
]

# The modules that earlier versions had here and this one has elsewhere, such as delve.torch_utils,
# lie in one folder, out of the way of who reads this one.
__path__.append(str(Path(__file__).parent / "old_paths"))

_HOMES = {
    "CheckLayerSat": "delve.tracker.legacy",
    "DelveError": "delve.errors",
    "HeldEpoch": "delve.records",
    "Metric": "delve.records",
    "ReceptiveField": "delve.capture.receptive_field",
    "RunInfo": "delve.records",
    "SaturationTracker": "delve.tracker.tracker",
    "TorchCovarianceMatrix": "delve.numerics.covariance",
    "hookimpl": "delve.hookspecs",
    "load": "delve.journal.loading",
    "load_all": "delve.journal.loading",
    "receptive_field": "delve.capture.receptive_field",
}
# The modules that `import delve` alone has always had as attributes.
_PARTS = (
    "base",
    "capture",
    "delivery",
    "errors",
    "files",
    "hookspecs",
    "journal",
    "numerics",
    "records",
    "stats",
    "tracker",
)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """What is imported when it is asked for first; a trainer's name is its distribution's."""
        if name in _PARTS:
            return import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            from delve.base.entry_points import part

            return part(__name__, name)
        found = getattr(import_module(_HOMES[name]), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """All names, also those that nobody has asked for yet."""
    return sorted({*globals(), *__all__, *_PARTS})
