"""What the calls of a model say of the padding in their batch: the masks among their arguments."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from delve.capture import compiled
from delve.capture.model_hook import ModelHook
from delve.capture.pass_masks import Call, PassMasks
from delve.capture.usable_masks import usable

_COMPILER = "torch._dynamo"  # where nobody has imported it, nothing is compiled


@dataclass(frozen=True)
class _Words:
    """How the arguments of a call are named.

    Attributes:
        inputs: The sequences, of which the first that is there counts.
        mask: The mask, (batch x time).
        is_padding: Whether it is true of padding, not of what is real.
    """

    inputs: tuple[str, ...]
    mask: str
    is_padding: bool = False


# The sequences that a model reads, and those that it writes where it has a decoder of its own; as
# Transformers and as torch.nn.Transformer name them.
_READ = (
    _Words(("input_ids", "inputs_embeds"), "attention_mask"),
    _Words(("src",), "src_key_padding_mask", is_padding=True),
)
_WRITTEN = (
    _Words(("decoder_input_ids", "decoder_inputs_embeds"), "decoder_attention_mask"),
    _Words(("tgt",), "tgt_key_padding_mask", is_padding=True),
)
_MASKS = frozenset(words.mask for words in (*_READ, *_WRITTEN))
_INPUTS = frozenset(name for words in (*_READ, *_WRITTEN) for name in words.inputs)
# What has no tokens: a mask that an outer call was given is not for it.
_OTHERS = frozenset({"pixel_values", "pixel_values_videos", "input_features", "input_values"})
_NO_TOKENS = frozenset({"labels", "position_ids", "token_type_ids", *_MASKS})


class CallHooks:
    """Hooks on what gets masks: the models, and those parts of them that get masks of their own.

    Args:
        masks: Where they are left for the layers inside.
    """

    def __init__(self, masks: PassMasks) -> None:
        self._masks = masks
        self._hooked: dict[nn.Module, list[RemovableHandle]] = {}
        self._is_removed = False

    def follow(self, roots: Iterable[nn.Module], layers: Iterable[nn.Module]) -> None:
        """Hook what is not hooked yet, and let go of what is no longer there.

        Args:
            roots: The models.
            layers: The tracked layers: what holds none of them stays as it is.
        """
        tracked = set(layers)
        wanted = {
            module: names
            for root in set(roots) - tracked
            for module in _holders(root, tracked)
            if _is_told_of_padding(names := _parameters(module)) or module is root
        }
        for module in [module for module in self._hooked if module not in wanted]:
            self._let_go_of(module)
        for module, names in wanted.items():
            if module not in self._hooked:
                self._hook(module, names)

    def remove(self) -> None:
        """Leave the modules as they were found."""
        self._is_removed = True
        for module in list(self._hooked):
            self._let_go_of(module)

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """A block within which the modules are without these hooks."""
        lifted = list(self._hooked)
        for module in lifted:
            self._let_go_of(module)
        try:
            yield
        finally:
            for module in lifted:
                if not self._is_removed and module not in self._hooked:
                    self._hook(module, _parameters(module))

    def _let_go_of(self, module: nn.Module) -> None:
        for handle in self._hooked.pop(module):
            handle.remove()

    def _hook(self, module: nn.Module, names: tuple[str, ...]) -> None:
        begin = _Begin(self._masks, names, _is_time_first(module))
        self._hooked[module] = [
            module.register_forward_pre_hook(begin, with_kwargs=True),
            module.register_forward_hook(_End(self._masks, begin), always_call=True),
        ]


class _Begin(ModelHook):
    """What is run before a call."""

    def __init__(self, masks: PassMasks, names: tuple[str, ...], is_time_first: bool) -> None:
        self._masks = masks
        self._names = names
        self._is_time_first = is_time_first
        self._is_pair = any(n in names for words in _WRITTEN for n in (*words.inputs, words.mask))
        self._is_pair &= any(name in names for words in _READ for name in words.inputs)

    def __call__(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # First, for these are the steps between rows; the compiler must not look at the flag.
        if not torch.compiler.is_compiling() and self._masks.is_idle:
            return
        # A trace would hold what is asked of shapes here, and warn of it.
        if compiled.is_exporting() or compiled.is_tracing():
            return
        if torch.compiler.is_compiling():
            self._masks.begin_traced(self._call(args, kwargs, self._masks.traced_around(self)))
        elif _COMPILER in sys.modules:
            compiled.uncompiled(_Begin._begin)(self, args, kwargs)
        else:
            self._begin(args, kwargs)

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._masks.begin(self._call(args, kwargs, self._masks.current))

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None) -> Call:
        """What this call says, or as much as the outer one where it says nothing."""
        named = self._named(args, kwargs)
        read, read_mask, is_silent = self._found(_READ, named)
        written, mask, _ = self._found(_WRITTEN, named)
        if self._is_pair and (read is not None or written is not None):
            return Call(self, outer, mask, written, encoder=read_mask)
        if written is not None:
            return Call(self, outer, mask, written, is_time_first=self._is_time_first)
        if read is None:
            is_another = any(isinstance(named.get(name), Tensor) for name in _OTHERS)
            return Call(self, outer) if is_another else Call.like(self, outer)
        if read_mask is None and outer is not None and (not is_silent or outer.inputs is read):
            call = Call.like(self, outer)
        else:
            # What takes ids tells nothing of its layers' layout, but for attention that does.
            layout = self._is_time_first or None
            call = Call(self, outer, read_mask, read, is_time_first=layout)
            call.is_told = not is_silent or outer is not None
        source = named.get("encoder_hidden_states")
        if isinstance(source, Tensor):
            call.source = source
            call.source_real = usable(named.get("encoder_attention_mask"), source)
        return call

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        named = dict(zip(self._names, args, strict=False))
        named.update(kwargs)
        for value in (*args, *kwargs.values()):
            if isinstance(value, Mapping) and any(name in value for name in _MASKS):
                named.update(value)
        return named

    def _found(
        self, choice: Iterable[_Words], named: Mapping[str, Any]
    ) -> tuple[Tensor | None, Tensor | None, bool]:
        """The sequences that are there, their mask if it can be used, and whether none is given."""
        for words in choice:
            mask = named.get(words.mask)
            inputs = _first(named, words.inputs)
            if inputs is None and mask is not None and not words.is_padding:
                inputs = _first_ids(named, mask)
            if inputs is not None:
                time_first = words.is_padding and self._is_time_first
                return inputs, usable(mask, inputs, words.is_padding, time_first), mask is None
        return None, None, True


class _End(ModelHook):
    """What is run after a call, also after one that failed."""

    def __init__(self, masks: PassMasks, begin: _Begin) -> None:
        self._masks = masks
        self._begin = begin

    def __call__(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        if not torch.compiler.is_compiling() and self._masks.is_idle and not self._masks.is_busy:
            return
        if compiled.is_exporting():
            return
        if torch.compiler.is_compiling():
            self._masks.end_traced(self._begin)
        elif _COMPILER in sys.modules:
            compiled.uncompiled(PassMasks.end)(self._masks, self._begin)
        else:
            self._masks.end(self._begin)


# Alone it would leave what it stores to the next graph, which guards on it: on sizes, too.
for _hook in (_Begin, _End):
    compiled.leave_alone(_hook.__call__)


def _is_told_of_padding(names: tuple[str, ...]) -> bool:
    """Whether what has these parameters gets a mask, or is known to have no tokens."""
    if names and names[0] in _OTHERS:
        return True
    return not _INPUTS.isdisjoint(names) and not _MASKS.isdisjoint(names)


def _first(named: Mapping[str, Any], names: Iterable[str]) -> Tensor | None:
    for name in names:
        value = named.get(name)
        if isinstance(value, Tensor):
            return value
    return None


def _first_ids(named: Mapping[str, Any], mask: Any) -> Tensor | None:
    """Integer ids of tokens under a name of the model's own; those of the mask's shape first."""
    found = [
        value
        for name, value in named.items()
        if isinstance(value, Tensor) and value.dim() == 2 and name not in _NO_TOKENS
        if not value.is_nested
        if not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    ]
    shape = mask.shape if isinstance(mask, Tensor) and not mask.is_nested else None
    return next((ids for ids in found if ids.shape == shape), found[0] if found else None)


def _holders(root: nn.Module, layers: set[nn.Module]) -> Iterator[nn.Module]:
    """The root, and all in it that holds one of the layers."""
    seen: dict[nn.Module, bool] = {}

    def holds(module: nn.Module) -> bool:
        if module not in seen:
            seen[module] = False  # while it is looked into: a module may hold itself
            inside = [holds(child) for child in module.children()]
            seen[module] = module in layers or any(inside)
        return seen[module]

    holds(root)
    yield root
    yield from (m for m, does in seen.items() if does and m is not root and m not in layers)


def _parameters(module: nn.Module) -> tuple[str, ...]:
    """The names of what its forward takes by position."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # a forward without a signature, such as a scripted one's
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)


def _is_time_first(module: nn.Module) -> bool:
    """Whether its series are (time x batch x features), by the attention in it."""
    attention = (m for m in module.modules() if isinstance(m, nn.MultiheadAttention))
    return not next((m.batch_first for m in attention), True)
