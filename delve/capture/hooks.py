"""Hooks on the tracked layers, and the covariance that each gathers in each mode."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from delve.base.log import get_logger
from delve.capture import compiled
from delve.capture.samples import SamplingMethods, first_tensor, stands_for_data, to_samples
from delve.errors import ArgumentError
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.records import MODES, LayerKey

_COMPILER = "torch._dynamo"  # where nobody has imported it, nothing is compiled

logger = get_logger(__name__)


@dataclass(frozen=True)
class Gathering:
    """How much is gathered, and where.

    Attributes:
        methods: How outputs become samples.
        device: Where to accumulate; None stays on the device of the activations.
        interval: Use every so many calls of each layer.
        most: Stop at so many samples per layer, mode and epoch; None never does. Each process of
            ``torch.distributed`` counts its own.
        keep_samples: Whether to keep the first samples themselves.
    """

    methods: SamplingMethods = field(default_factory=SamplingMethods)
    device: torch.device | None = None
    interval: int = 1
    most: int | None = None
    keep_samples: bool = False


class LayerRecorder:
    """Gathers the covariance of each layer's outputs, in training and in evaluation apart.

    Nothing is set on the modules but forward hooks, which :meth:`remove_hooks` takes away.

    Args:
        layers: The tracked modules by name.
        gathering: How much is gathered, and where.
        order: Names of layers whose forward order is known from an earlier part of the run.
    """

    def __init__(
        self, layers: Mapping[str, nn.Module], gathering: Gathering, order: Iterable[str] = ()
    ) -> None:
        self.is_recording = True
        self._names: dict[str, None] = {}
        self._hooked: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._order = dict.fromkeys(name for name in order if name in layers)
        self._gathering = gathering
        self._covariances: dict[LayerKey, TorchCovarianceMatrix] = {}
        self._calls: Counter[LayerKey] = Counter()
        self._fresh: Counter[LayerKey] = Counter()  # samples since the last statistics
        self._called: set[str] = set()  # since then, whether or not that was recorded
        self._unusable: dict[str, None] = {}
        self._warned: set[str] = set()
        self._lock = threading.Lock()  # DataParallel runs its replicas in threads
        self._holder: int | None = None  # the thread that has the lock
        self._hooks: list[RemovableHandle] = []
        for name, layer in layers.items():
            self.track(name, layer)

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers in the order of their first calls; those not called yet come last."""
        return tuple(dict.fromkeys((*self._order, *self._names)))

    def track(self, name: str, layer: nn.Module) -> None:
        """Hook one layer, under a name that no other has; one that is hooked keeps its name.

        Raises:
            ArgumentError: Another layer has the name.
        """
        if layer in self._hooked:
            return
        if name in self._names:
            raise ArgumentError(
                f"the {type(layer).__name__} cannot be tracked as {name!r}: another layer has that "
                "name; choose one of its own"
            )
        self._names[name] = None
        self._hooked.add(layer)
        self._hooks.append(layer.register_forward_hook(_Hook(self, name, layer)))

    def record(self, name: str, layer: nn.Module, output: Any, mode: str) -> None:
        """Add one forward pass of a layer, unless it is without data.

        What a function that a user registered for samples calls in turn is no pass of the model.
        """
        tensor = _found(output)
        if self._holder == threading.get_ident() or stands_for_data(tensor):
            return
        self._called.add(name)
        if not self.is_recording or name in self._unusable or _is_recomputing():
            return
        with self._lock, torch.inference_mode(False), torch.no_grad():
            self._holder = threading.get_ident()
            try:
                self._add((mode, name), layer, tensor)
            except (MemoryError, torch.cuda.OutOfMemoryError):  # says nothing about the layer
                raise
            except Exception as error:  # whatever a function that a user registered may raise
                self._leave_out(name, layer, output, error)
            finally:
                self._holder = None

    def fresh(self) -> dict[LayerKey, TorchCovarianceMatrix]:
        """What saw new samples since :meth:`mark_used`, in forward order."""
        return {
            key: self._covariances[key]
            for mode in MODES
            for name in self.layers
            if (key := (mode, name)) in self._fresh
        }

    def held(self, keys: Iterable[LayerKey]) -> dict[LayerKey, TorchCovarianceMatrix]:
        """Of these, what was gathered at all, also if :meth:`mark_used` came since."""
        return {
            key: self._covariances[key]
            for key in keys
            if key in self._covariances and key[1] not in self._unusable
        }

    def mark_used(self, forget: bool, used: Iterable[LayerKey] = ()) -> None:
        """The statistics of the fresh samples were taken.

        Args:
            forget: Whether to drop the samples too.
            used: What the statistics are of, where that is more than what is fresh here: the
                samples of other processes.
        """
        self._warn_of_unseen({name for _, name in (*used, *self._fresh)} | self._called)
        self._called.clear()
        self._fresh.clear()
        if forget:
            self._covariances.clear()

    def remove_hooks(self) -> None:
        """Leave the modules as they were found."""
        for hook in self._hooks:
            hook.remove()

    def state_dict(self) -> dict[str, Any]:
        """What was gathered so far, of tensors and plain values."""
        return {
            "is_recording": self.is_recording,
            "left_out": list(self._unusable),
            "order": list(self._order),
            "calls": [[*key, calls] for key, calls in self._calls.items()],
            "covariances": [
                [*key, self._fresh[key], covariance.state_dict()]
                for key, covariance in self._covariances.items()
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`; layers that are no longer tracked are passed over."""
        self.is_recording = state.get("is_recording", self.is_recording)
        self._unusable = self._tracked(state.get("left_out", ()))
        self._order = self._tracked(state["order"])
        self._calls = Counter({(mode, name): calls for mode, name, calls in state["calls"]})
        self._covariances, self._fresh = {}, Counter()
        for mode, name, fresh, covariance_state in state["covariances"]:
            if name in self._names:
                covariance = self._covariance((mode, name))
                covariance.load_state_dict(covariance_state)
                if fresh:
                    self._fresh[mode, name] = fresh

    def _tracked(self, names: Iterable[str]) -> dict[str, None]:
        return dict.fromkeys(name for name in names if name in self._names)

    def _add(self, key: LayerKey, layer: nn.Module, output: Any) -> None:
        self._order.setdefault(key[1])
        is_empty = isinstance(output, Tensor) and not output.numel()
        if self._is_due(key) and not is_empty:
            self._gather(key, to_samples(layer, output, self._gathering.methods))

    def _is_due(self, key: LayerKey) -> bool:
        """Count a call of a layer, and tell whether its samples are wanted."""
        self._calls[key] += 1
        most = self._gathering.most
        is_full = most is not None and self._fresh[key] >= most
        return not is_full and (self._calls[key] - 1) % self._gathering.interval == 0

    def _gather(self, key: LayerKey, rows: Tensor) -> None:
        if not rows.is_floating_point() or rows.dim() not in (2, 3):
            raise TypeError("samples are rows of floating-point numbers")
        if not rows.numel():
            return
        most, count = self._gathering.most, rows.numel() // rows.shape[-1]
        if most is not None and self._fresh[key] + count > most:
            count = most - self._fresh[key]
            rows = rows.reshape(-1, rows.shape[-1])[:count]
        self._covariance(key).update(rows)
        self._fresh[key] += count

    def _covariance(self, key: LayerKey) -> TorchCovarianceMatrix:
        if key not in self._covariances:
            self._covariances[key] = TorchCovarianceMatrix(
                device=self._gathering.device, save_data=self._gathering.keep_samples
            )
        return self._covariances[key]

    def _leave_out(self, name: str, layer: nn.Module, output: Any, error: Exception) -> None:
        self._unusable[name] = None
        for mode in MODES:
            del self._fresh[mode, name]
        logger.warning(
            "layer %s (%s) gave %s, which cannot be turned into samples (%s); it is left out",
            name,
            type(layer).__name__,
            _describe(output),
            traceback.format_exception_only(error)[0].partition("\n")[0],
        )
        logger.debug("what went wrong in layer %s:", name, exc_info=error)

    def _warn_of_unseen(self, seen: set[str]) -> None:
        """A layer whose hook never fires while others do must not go unnoticed."""
        known = {*seen, *self._unusable, *self._warned}
        unseen = [name for name in self.layers if name not in known]
        if unseen and self.is_recording:
            self._warned.update(unseen)
            logger.warning(
                "these layers saw nothing in this epoch: %s. Were they not called, called without "
                "their hooks (the tracker was made after the first call of a compiled model, or "
                "another module uses their weights directly, as nn.TransformerEncoder does in "
                "evaluation), called inside torch.func.vmap alone, or is their model a copy of the "
                "tracked one?",
                ", ".join(unseen),
            )


class _Hook:
    """One layer's forward hook. A copied or pickled model gets an inert one in its place."""

    def __init__(self, recorder: LayerRecorder, name: str, layer: nn.Module) -> None:
        self._recorder = recorder
        self._name = name
        self._gate = compiled.Gate(lambda output, mode: recorder.record(name, layer, output, mode))

    def __call__(self, layer: nn.Module, _inputs: Any, output: Any) -> None:
        if compiled.is_exporting():  # to where there is no Delve
            return
        mode = "train" if layer.training else "eval"
        if torch.compiler.is_compiling():
            self._gate.call(output, mode)
        elif _COMPILER in sys.modules:
            # Beside a graph break the compiler would otherwise take up Delve's own code.
            record = compiled.uncompiled(LayerRecorder.record)
            record(self._recorder, self._name, layer, output, mode)
        else:
            self._recorder.record(self._name, layer, output, mode)

    def __reduce__(self) -> tuple[Any, ...]:
        # Takes three arguments, does nothing and returns None, as an inert hook must; and it comes
        # with Python, so that a saved model can be loaded where there is no Delve.
        return getattr, (contextlib.nullcontext(), "__exit__")


def _is_recomputing() -> bool:
    """Whether this forward pass is activation checkpointing's second one, inside backward."""
    current = getattr(torch._C, "_current_graph_task_id", None)
    return current is not None and current() != -1


def _found(output: Any) -> Any:
    """The first tensor; None where an object of the user's does not let itself be looked into."""
    try:
        return first_tensor(output)
    except Exception:  # of a property or an iterator, which may raise anything
        return None


def _describe(output: Any) -> str:
    tensor = _found(output)
    if isinstance(tensor, PackedSequence):
        tensor = tensor.data
    if not isinstance(tensor, Tensor):
        return f"a {type(output).__name__}"
    return f"{str(tensor.dtype).removeprefix('torch.')} of {_shape(tensor)}"


def _shape(tensor: Tensor) -> str:
    try:
        return f"shape {tuple(tensor.shape)}"
    except RuntimeError:  # of a nested tensor: its sequences differ
        return "more than one shape"
