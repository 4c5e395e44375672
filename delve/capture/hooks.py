"""Hooks on the tracked layers, which pass their outputs on to be gathered."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from delve.base.log import get_logger
from delve.capture import compiled
from delve.capture.activations import first_tensor
from delve.capture.gathering import Gatherer, Gathering
from delve.capture.modes import PassMode, mode_of
from delve.capture.stand_ins import stands_for_data
from delve.errors import ArgumentError
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.layouts import Layouts, has_spread_weights
from delve.records import LayerKey

_COMPILER = "torch._dynamo"  # where nobody has imported it, nothing is compiled

logger = get_logger(__name__)


class LayerHooks:
    """Gathers the covariance of each layer's outputs, in training and in evaluation apart.

    Nothing is set on the modules but forward hooks, which :meth:`remove` takes away.

    Args:
        layers: The tracked modules by name.
        gathering: How much is gathered, and where.
        order: Names of layers whose forward order is known from an earlier part of the run.
        roots: For each of the modules, the model whose mode its passes have; a module that is
            missing here has its own.
        layouts: How outputs are spread over processes.

    Attributes:
        is_recording: Whether passes are recorded now.
        mode: The mode of passes.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        gathering: Gathering,
        order: Iterable[str] = (),
        roots: Mapping[nn.Module, nn.Module] | None = None,
        layouts: Layouts | None = None,
    ) -> None:
        self.is_recording = True
        self.mode = PassMode()
        self._gatherer = Gatherer(gathering, layouts)
        self._elsewhere: tuple[str, ...] = ()  # layers that other processes have
        self._hooked: dict[str, tuple[nn.Module, RemovableHandle]] = {}
        self._order = dict.fromkeys(name for name in order if name in layers)
        self._called: set[str] = set()  # since the last statistics, whether or not it was recorded
        self._warned: set[str] = set()
        self._named: set[tuple[str, str]] = set()  # odd outputs, each once: the layer and what was
        self._lock = threading.Lock()  # DataParallel runs its replicas in threads
        self._holder: int | None = None  # the thread that has the lock
        self._is_closed = False
        for name, layer in layers.items():
            self.track(name, layer, (roots or {}).get(layer))

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers in the order of their first calls; those not called yet come last."""
        return tuple(dict.fromkeys((*self._order, *self._hooked, *self._elsewhere)))

    @property
    def layouts(self) -> Layouts:
        """How outputs are spread over processes."""
        return self._gatherer.layouts

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The tracked modules by name."""
        return {name: layer for name, (layer, _) in self._hooked.items()}

    def know_of(self, names: Iterable[str]) -> None:
        """Layers that other processes have: the later stages of a pipeline."""
        self._elsewhere = tuple(names)

    def track(self, name: str, layer: nn.Module, root: nn.Module | None = None) -> None:
        """Hook one layer, under a name that no other has; one that is hooked keeps its name.

        Args:
            name: Its name.
            layer: The layer.
            root: The model whose mode its passes have; None: the layer's own.

        Raises:
            ArgumentError: Another layer has the name.
        """
        if any(layer is other for other, _ in self._hooked.values()):
            return
        if name in self._hooked:
            raise ArgumentError(
                f"the {type(layer).__name__} cannot be tracked as {name!r}: another layer has that "
                "name; choose one of its own"
            )
        self._let_go_of(layer)
        hook = _Hook(self, name, layer, layer if root is None else root)
        # Before the hooks by which a parallel style makes an output local.
        is_first = has_spread_weights(layer)
        self._hooked[name] = layer, layer.register_forward_hook(hook, prepend=is_first)

    def untrack(self, name: str) -> None:
        """Take the hook off a layer, and forget what was gathered of it."""
        layer, handle = self._hooked.pop(name)
        handle.remove()
        self._let_go_of(layer)
        self._order.pop(name, None)
        self._gatherer.drop(name)

    def receive(self, name: str, layer: nn.Module, output: Any, mode: str) -> None:
        """Add one forward pass of a layer, unless it is without data.

        What a function that a user registered for samples calls in turn is no pass of the model.

        Args:
            name: The layer's name.
            layer: The layer.
            output: What it returned.
            mode: The mode of its model.
        """
        tensor = _found(output)
        if self._is_closed or self._holder == threading.get_ident() or stands_for_data(tensor):
            return
        if self.mode.is_off:
            return
        self._called.add(name)
        if not self.is_recording or _is_recomputing():
            return
        key = (self.mode.of(mode), name)
        with self._lock, torch.inference_mode(False), torch.no_grad():
            self._holder = threading.get_ident()
            try:
                self._order.setdefault(name)
                self._gatherer.add(key, layer, tensor)
            except (MemoryError, torch.cuda.OutOfMemoryError):  # says nothing about the layer
                raise
            except Exception as error:  # whatever a function that a user registered may raise
                self._leave_out(key, layer, output, error)
            finally:
                self._holder = None

    def fresh(self) -> dict[LayerKey, TorchCovarianceMatrix]:
        """What saw new samples since :meth:`mark_used`, in forward order."""
        return self._gatherer.fresh(self.layers)

    def held(self, keys: Iterable[LayerKey] | None = None) -> dict[LayerKey, TorchCovarianceMatrix]:
        """Of these, or of all, what was gathered, also if :meth:`mark_used` came since."""
        return self._gatherer.held(keys)

    def mark_used(self, forget: bool, used: Iterable[LayerKey] = ()) -> None:
        """The statistics of the fresh samples were taken.

        Args:
            forget: Whether to drop the samples too.
            used: What the statistics are of, where that is more than what is fresh here: the
                samples of other processes.
        """
        self._warn_of_unseen({name for _, name in (*used, *self.fresh())} | self._called)
        self._called.clear()
        self._gatherer.mark_used(forget)

    def remove(self) -> None:
        """Leave the modules as they were found; hooks that others have carried over do nothing."""
        self._is_closed = True
        for layer, handle in self._hooked.values():
            handle.remove()
            self._let_go_of(layer)

    def state_dict(self) -> dict[str, Any]:
        """What was gathered so far, of tensors and plain values."""
        return {
            "is_recording": self.is_recording,
            "order": list(self._order),
            **self._gatherer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`; layers that are no longer tracked are passed over."""
        self.is_recording = state.get("is_recording", self.is_recording)
        self._order = dict.fromkeys(name for name in state["order"] if name in self._hooked)
        self._gatherer.load_state_dict(state, self._hooked)

    def _let_go_of(self, layer: nn.Module) -> None:
        """Take off what another module's hooks have brought here, as quantisation does."""
        for number, hook in list(layer._forward_hooks.items()):
            if isinstance(hook, _Hook) and hook.belongs_to(self):
                del layer._forward_hooks[number]

    def _leave_out(self, key: LayerKey, layer: nn.Module, output: Any, error: Exception) -> None:
        mode, name = key
        self._gatherer.spoil(key)
        reason = traceback.format_exception_only(error)[0].partition("\n")[0]
        what = f"{_describe(output)}, which cannot be turned into samples ({reason})"
        if (name, what) not in self._named:
            self._named.add((name, what))
            logger.warning(
                "layer %s (%s) gave %s; it is left out of this epoch (%s)",
                name,
                type(layer).__name__,
                what,
                mode,
            )
        logger.debug("what went wrong in layer %s:", name, exc_info=error)

    def _warn_of_unseen(self, seen: set[str]) -> None:
        """A layer whose hook never fires while others do must not go unnoticed."""
        known = {*seen, *self._gatherer.spoiled, *self._warned}
        unseen = [name for name in self.layers if name in self._hooked and name not in known]
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

    def __init__(self, hooks: LayerHooks, name: str, layer: nn.Module, root: nn.Module) -> None:
        self._hooks = hooks
        self._name = name
        self._root = root
        self._gate = compiled.Gate(lambda output, mode: hooks.receive(name, layer, output, mode))

    def belongs_to(self, hooks: LayerHooks) -> bool:
        """Whether it is one of theirs."""
        return self._hooks is hooks

    def __call__(self, layer: nn.Module, _inputs: Any, output: Any) -> None:
        if compiled.is_exporting():  # to where there is no Delve
            return
        mode = mode_of(self._root)
        if torch.compiler.is_compiling():
            self._gate.call(output, mode)
        elif _COMPILER in sys.modules:
            # Beside a graph break the compiler would otherwise take up Delve's own code.
            receive = compiled.uncompiled(LayerHooks.receive)
            receive(self._hooks, self._name, layer, output, mode)
        else:
            self._hooks.receive(self._name, layer, output, mode)

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
