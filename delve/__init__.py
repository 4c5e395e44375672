"""Delve shows people who train neural networks what their layers are doing."""

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from delve.base.entry_points import part
from delve.capture.receptive_field import ReceptiveField, receptive_field
from delve.errors import DelveError
from delve.hookspecs import hookimpl
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.records import HeldEpoch, Metric, RunInfo
from delve.tracker.legacy import CheckLayerSat
from delve.tracker.tracker import SaturationTracker

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
    "receptive_field",
]

# The modules that earlier versions had here and this one has elsewhere, such as delve.torch_utils,
# lie in one folder, out of the way of who reads this one.
__path__.append(str(Path(__file__).parent / "old_paths"))

# What a distribution adds for a trainer, by the name of the trainer.
if TYPE_CHECKING:
    accelerate: ModuleType
    keras: ModuleType
    lightning: ModuleType
    transformers: ModuleType
else:

    def __getattr__(name: str) -> ModuleType:
        """``delve.accelerate`` and the like, imported when they are asked for."""
        return part(__name__, name)
