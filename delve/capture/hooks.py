"""Hooks on the tracked layers, which pass their outputs on to be gathered."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from delve.capture.calls import CallHooks
from delve.capture.gathering import Gatherer, Gathering
from delve.capture.hook_guards import heed_hooks
from delve.capture.layer_hook import LayerHook, registered, taken_off
from delve.capture.masks import Mask
from delve.capture.modes import PassMode
from delve.capture.outputs import tensor_in
from delve.capture.pass_masks import PassMasks
from delve.capture.remarks import Remarks
from delve.capture.root_passes import RootPasses
from delve.capture.stand_ins import is_recomputing, stands_for_data
from delve.errors import ArgumentError
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.layouts import Layouts
from delve.records import LayerKey


class LayerHooks:
    """Gathers the covariance of each layer's outputs, in training and in evaluation apart.

    Nothing is set on the modules but forward hooks, which :meth:`remove` takes away.

    Args:
        layers: The tracked modules by name.
        gathering: How much is gathered, and where.
        order: Names of layers whose forward order is known from an earlier part of the run.
        roots: For each of the modules, the model whose mode its passes have; a module that is
            missing here has its own.
        takes_masks: Whether a mask of padding that such a model is called with counts.
        layouts: How outputs are spread over processes.

    Attributes:
        is_recording: Whether passes are recorded now.
        mode: The mode of passes.
        masks: Which positions of a pass are real.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        gathering: Gathering,
        order: Iterable[str] = (),
        roots: Mapping[nn.Module, nn.Module] | None = None,
        takes_masks: bool = False,
        layouts: Layouts | None = None,
    ) -> None:
        self.is_recording = True
        self.mode = PassMode()
        self._gatherer = Gatherer(gathering, layouts)
        self.masks = PassMasks(self._gatherer)
        self._calls = CallHooks(self.masks) if takes_masks else None
        self._elsewhere: tuple[str, ...] = ()  # layers that other processes have
        self._hooked: dict[str, tuple[nn.Module, RemovableHandle]] = {}
        self._order = dict.fromkeys(name for name in order if name in layers)
        self._passes: dict[nn.Module, RootPasses] = {}
        self._called: set[str] = set()  # since the last statistics, whether or not it was recorded
        self._remarks = Remarks()
        self._lock = threading.Lock()  # DataParallel runs its replicas in threads
        self._holder: int | None = None  # the thread that has the lock
        self._is_closed = False
        for name, layer in layers.items():
            self.track(name, layer, (roots or {}).get(layer))
        self.follow((roots or {}).values())

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers in the order of their first calls; those not called yet come last."""
        return tuple(dict.fromkeys((*self._order, *self._hooked, *self._elsewhere)))

    @property
    def is_idle(self) -> bool:
        """Whether passes are none of those that the next row is made of; hooks do little then."""
        return self.masks.is_idle

    @is_idle.setter
    def is_idle(self, is_idle: bool) -> None:
        self.masks.is_idle = is_idle

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
        root = layer if root is None else root
        receive = functools.partial(self.receive, name)
        hook = LayerHook(self, name, layer, root, receive, self._passes_of(root, layer), self.masks)
        self._hooked[name] = layer, registered(layer, hook)
        heed_hooks()

    def follow(self, roots: Iterable[nn.Module]) -> None:
        """See the masks that these models, or what tracked layers are in, are called with."""
        if self._calls is not None:
            self._calls.follow(roots, self.modules.values())

    def untrack(self, name: str) -> None:
        """Take the hook off a layer, and forget what was gathered of it."""
        layer, handle = self._hooked.pop(name)
        handle.remove()
        self._let_go_of(layer)
        self._order.pop(name, None)
        self._gatherer.drop(name)

    def receive(
        self, name: str, layer: nn.Module, output: Any, mode: str, mask: Mask | None
    ) -> bool:
        """Add one forward pass of a layer, unless it is without data.

        What a function that a user registered for samples calls in turn is no pass of the model.

        Args:
            name: The layer's name.
            layer: The layer.
            output: What it returned.
            mode: The mode of its model.
            mask: Which positions are real, where it is known.

        Returns:
            Whether it is one that is recorded.
        """
        if self.is_idle:
            return False
        tensor = tensor_in(output)
        if self._is_closed or self._holder == threading.get_ident() or stands_for_data(tensor):
            return False
        if self.mode.is_off:
            return False
        self._called.add(name)
        if not self.is_recording or is_recomputing():
            return False
        key = (self.mode.of(mode), name)
        with self._lock, torch.inference_mode(False), torch.no_grad():
            self._holder = threading.get_ident()
            try:
                self._order.setdefault(name)
                self._gatherer.add(key, layer, tensor, mask)
            except (MemoryError, torch.cuda.OutOfMemoryError):  # says nothing about the layer
                raise
            except Exception as error:  # whatever a function that a user registered may raise
                self._gatherer.spoil(key)
                self._remarks.odd_output(key, layer, output, error)
            finally:
                self._holder = None
        return True

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """A block within which the modules are without hooks, for those who cannot have them."""
        hooks = [(name, held[0], taken_off(*held)) for name, held in self._hooked.items()]
        with contextlib.ExitStack() as others:
            for counted in self._passes.values():
                others.enter_context(counted.lifted())
            if self._calls is not None:
                others.enter_context(self._calls.lifted())
            try:
                yield
            finally:
                for name, layer, hook in hooks:
                    if hook is not None and self.modules.get(name) is layer and not self._is_closed:
                        self._hooked[name] = layer, registered(layer, hook)

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
        if self.is_recording:
            seen = {name for _, name in (*used, *self.fresh())} | self._called
            self._remarks.unseen(
                name
                for name in self.layers
                if name in self._hooked and name not in seen | self._gatherer.spoiled
            )
        for passes in self._passes.values():
            passes.warn_of_unseen()
        self._called.clear()
        self._gatherer.mark_used(forget)

    def remove(self) -> None:
        """Leave the modules as they were found; hooks that others have carried over do nothing."""
        self._is_closed = True
        if self._calls is not None:
            self._calls.remove()
        for layer, handle in self._hooked.values():
            handle.remove()
            self._let_go_of(layer)
        for passes in self._passes.values():
            passes.remove()

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

    def _passes_of(self, root: nn.Module, layer: nn.Module) -> RootPasses | None:
        """The passes of a layer's model; a layer that was given alone has none but its own."""
        if root is layer:
            return None
        if root not in self._passes:
            self._passes[root] = RootPasses(
                root,
                lambda: (
                    not (self.is_idle or self.mode.is_off or self._is_closed) and self.is_recording
                ),
            )
        return self._passes[root]

    def _let_go_of(self, layer: nn.Module) -> None:
        """Take off what another module's hooks have brought here, as quantisation does."""
        for number, hook in list(layer._forward_hooks.items()):
            if isinstance(hook, LayerHook) and hook.belongs_to(self):
                del layer._forward_hooks[number]
