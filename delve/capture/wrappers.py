"""What other libraries put around a module: wrappers and adapters, which add nothing to names."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from torch import nn

_FLATTENING = "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel"

# By the class, which nobody has to import for that, and the child that it wraps. A module of the
# user's own that is called as in a wrapper is none, so its name stays.
_WRAPPERS = {
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.ActivationWrapper": (
        "_checkpoint_wrapped_module"
    ),
    _FLATTENING: "_fsdp_wrapped_module",
    "deepspeed.runtime.engine.DeepSpeedEngine": "module",
    "lightning.fabric.wrappers._FabricModule": "_forward_module",
    "lightning_fabric.wrappers._FabricModule": "_forward_module",
    "peft.peft_model.PeftModel": "base_model",
    "peft.mixed_model.PeftMixedModel": "base_model",
    "peft.tuners.tuners_utils.BaseTuner": "model",
}
# Holds the layer that it adapts in `base_layer`, and gives the output of both.
_ADAPTER = "peft.tuners.tuners_utils.BaseTunerLayer"
# Holds a layer as it was and copies that are trained, of which it calls one.
_REPLACEMENT = "peft.utils.other.ModulesToSaveWrapper"

# The adapter of a single parameter, as of fused experts.
_PARAMETER_ADAPTER = "peft.tuners.lora.layer.ParamWrapper"

# What they put into names: on the way to a wrapped module, and before an adapted layer's own name.
WRAPPER_SEGMENTS = frozenset({*_WRAPPERS.values(), "base_layer"})


def is_of(module: object, classes: Collection[str]) -> bool:
    """Whether a module is of one of the classes, given by full names, or of a class made of one."""
    return any(f"{cls.__module__}.{cls.__qualname__}" in classes for cls in type(module).__mro__)


def wrapped(module: nn.Module) -> nn.Module | None:
    """What a wrapper wraps; None if the module is no wrapper."""
    for cls in type(module).__mro__:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if name in _WRAPPERS:
            return _child(module, _WRAPPERS[name])
        if name == _REPLACEMENT:
            return _in_use(module)
        if cls is nn.Module:
            break
    return None


def unwrap(module: nn.Module) -> nn.Module:
    """The user's own model inside of wrappers."""
    while (inner := wrapped(module)) is not None:
        module = inner
    return module


def adapted(module: nn.Module) -> nn.Module:
    """The layer that an adapter (LoRA and its relatives) adapts; any other module is its own."""
    while is_adapter(module) and (base := _child(module, "base_layer")) is not None:
        module = base
    return module


def is_adapter(module: nn.Module) -> bool:
    """Whether a module stands in a layer's place and adds to what it gives."""
    return is_of(module, (_ADAPTER,))


def flattens(module: nn.Module) -> bool:
    """Whether a wrapper keeps the weights of what it wraps as one without dimensions."""
    return is_of(module, (_FLATTENING,))


def named_modules(
    module: nn.Module, name: str = "", seen: set[nn.Module] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """As ``module.named_modules()``, but a wrapper gives its name to what it wraps.

    Of an adapter and the layer that it adapts, the first is there alone, under the name that the
    second has without it.
    """
    seen = set() if seen is None else seen
    if module not in seen:
        seen.add(module)
        yield name, module
        yield from _descendants(module, name, seen)


def _descendants(
    module: nn.Module, name: str, seen: set[nn.Module], prefix: str | None = None
) -> Iterator[tuple[str, nn.Module]]:
    prefix = name if prefix is None else prefix  # of the names of what is no part of a layer
    inner = wrapped(module)
    base = _child(module, "base_layer") if is_adapter(module) else None
    replaces = is_of(module, (_REPLACEMENT,))
    for segment, child in module.named_children():
        if child is inner:
            yield from named_modules(child, name, seen)
        elif child is base:
            seen.add(child)
            # An adapter may adapt an adapter; what each has of its own has names of its own.
            nested = joined(prefix, segment) if is_adapter(child) else name
            yield from _descendants(child, name, seen, nested)
        elif not replaces:
            yield from named_modules(child, joined(prefix, segment), seen)
    if replaces and inner is not None:  # which may be no child, but one of a list of copies
        yield from named_modules(inner, name, seen)


def parts_without_passes(root: nn.Module) -> set[nn.Module]:
    """Parts of layers whose own hooks would see nothing, or other things than data.

    Attention calls its projection as a function, and takes the weights of what adapts it. Adapters
    of single parameters take the weights of their parts too, and those with a magnitude (DoRA) pass
    the identity through theirs, in every pass.
    """
    return {
        part
        for module in root.modules()
        for whole in _closed(module)
        for part in whole.modules()
        if part is not module
    }


def _closed(module: nn.Module) -> Iterator[nn.Module]:
    """What within a module is not to be looked into; itself, if all of it is."""
    if isinstance(adapted(module), nn.MultiheadAttention):
        yield module
    elif is_of(module, (_PARAMETER_ADAPTER,)) or _has_magnitude(module):
        for name in ("lora_A", "lora_B"):
            if (parts := _child(module, name)) is not None:
                yield parts


def _has_magnitude(module: nn.Module) -> bool:
    magnitudes = _child(module, "lora_magnitude_vector") if is_adapter(module) else None
    return magnitudes is not None and any(True for _ in magnitudes.children())


def joined(*segments: str) -> str:
    """A name of segments, of which some may be empty."""
    return ".".join(filter(None, segments))


def _child(module: nn.Module, name: str) -> nn.Module | None:
    children = module._modules  # of a scripted module no dictionary
    return children[name] if name in children else None  # noqa: SIM401


def _in_use(replacement: nn.Module) -> nn.Module | None:
    """What is called: the copy of the adapter that is switched on, if any is."""
    copies = _child(replacement, "modules_to_save")
    active = getattr(replacement, "active_adapters", ())
    if copies is not None and not getattr(replacement, "disable_adapters", False):
        for name in active:
            if (copy := _child(copies, name)) is not None:
                return copy
    return _child(replacement, "original_module")
