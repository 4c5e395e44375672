"""How much of the image each layer of a convolutional network sees, measured by gradients."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from delve.base.checks import check_count
from delve.capture.activations import is_convolution
from delve.capture.outputs import tensor_in
from delve.errors import ArgumentError

_TRIES = 4  # random images: a maximum passes its gradient to one position alone


@dataclass(frozen=True)
class ReceptiveField:
    """What the layers of a network see of its image.

    Attributes:
        image: The size of the image, in each dimension of space.
        sizes: By layer, in the order of their calls, how far apart the first and the last place of
            the image are that the middle of the layer's *input* depends on, both included.
        border: The first layer whose input already sees the whole image; None where there is none.
    """

    image: tuple[int, ...]
    sizes: Mapping[str, tuple[int, ...]]
    border: str | None

    @property
    def behind(self) -> tuple[str, ...]:
        """The layers from the border on, they can add no more of the image's context."""
        names = list(self.sizes)
        return tuple(names[names.index(self.border) :]) if self.border is not None else ()

    @property
    def shares(self) -> dict[str, float]:
        """By layer, the share of the image that its input sees, from 0 to 1."""
        whole = math.prod(self.image)
        return {name: math.prod(size) / whole for name, size in self.sizes.items()}

    def __str__(self) -> str:
        if self.border is None:
            return f"no layer's input sees the whole image of {_by(self.image)}"
        return (
            f"border layer {self.border}: its input sees the whole image of {_by(self.image)}, so "
            f"{len(self.behind)} of {len(self.sizes)} convolutions can add no context; a larger "
            "image, or fewer layers, may be better (Richter et al., arXiv 2106.12307)"
        )


def receptive_field(model: nn.Module, shape: Sequence[int]) -> ReceptiveField:
    """What each convolution of a model sees of an image, before any training.

    A copy of the model gets random images, and one backward pass a layer tells which places of them
    the middle of the layer's input depends on; no graph is parsed, so whatever the model does
    between its layers counts. The model itself stays as it is. Source: Richter et al., arXiv
    2106.12307, whose border layer is the first that sees the whole image already in its input.

    Args:
        model: The network, called with one tensor of images.
        shape: (channels, space...) of one image, without the batch: ``(3, 32, 32)``.

    Raises:
        ArgumentError: It is no such shape, or the model cannot be called with it.

    Example::

        print(delve.receptive_field(model, (3, 32, 32)))
    """
    size = _checked(shape)
    twin = _twin(model)
    names = {
        module: name for name, module in twin.named_modules() if is_convolution(module) and name
    }
    boxes: dict[str, list[tuple[int, int]]] = {}
    for number in range(_TRIES):
        images = _images(size, number, twin).requires_grad_()
        for name, middle in _middles(twin, names, images).items():
            (gradient,) = torch.autograd.grad(middle, images, retain_graph=True, allow_unused=True)
            if gradient is not None:
                _widen(boxes.setdefault(name, []), gradient)
    sizes = {
        name: tuple(end - begin + 1 for begin, end in box) for name, box in boxes.items() if box
    }
    border = next((name for name, found in sizes.items() if found == size[1:]), None)
    return ReceptiveField(size[1:], sizes, border)


def _checked(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, str) or not isinstance(shape, Sequence) or len(shape) < 2:
        raise ArgumentError(
            f"shape must be that of one image, (channels, space...), such as (3, 32, 32), not "
            f"{shape!r}"
        )
    return tuple(check_count("shape", length) for length in shape)


def _twin(model: nn.Module) -> nn.Module:
    """A copy through which everything passes: positive weights, and norms that change nothing."""
    hooked = {module: module._forward_hooks for module in model.modules()}
    try:
        for module in hooked:  # ours, which cannot be copied, and those of others
            module._forward_hooks = type(hooked[module])()
        twin = copy.deepcopy(model).eval()
    finally:
        for module, hooks in hooked.items():
            module._forward_hooks = hooks
    generator = torch.Generator().manual_seed(0)
    for module in twin.modules():
        if is_convolution(module) or isinstance(module, nn.Linear):
            weight, bias = module._parameters["weight"], module._parameters.get("bias")
            if weight is not None and weight.numel():
                drawn = 0.5 + torch.rand(weight.shape, generator=generator)
                weight.data.copy_(drawn / weight[0].numel())
            if bias is not None:
                bias.data.zero_()
        elif isinstance(module, nn.modules.batchnorm._NormBase):
            module.reset_parameters()
    return twin.requires_grad_(False)


def _images(size: tuple[int, ...], number: int, model: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    first = next(itertools.chain(model.parameters(), model.buffers()), torch.empty(0))
    dtype = first.dtype if first.is_floating_point() else torch.float32
    return (0.5 + torch.rand(2, *size, generator=generator)).to(first.device, dtype)


def _middles(model: nn.Module, names: Mapping[nn.Module, str], images: Tensor) -> dict[str, Tensor]:
    """The middle of the first input of each layer, summed over features, in the order of calls."""
    middles: dict[str, Tensor] = {}

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        tensor = tensor_in(inputs)
        if isinstance(tensor, Tensor) and tensor.dim() == images.dim() and tensor.requires_grad:
            place = tuple(length // 2 for length in tensor.shape[2:])
            here: Any = (slice(None), slice(None), *place)
            middles.setdefault(names[module], tensor[here].sum())

    handles = [module.register_forward_pre_hook(look) for module in names]
    try:
        with torch.enable_grad():
            model(images)
    except Exception as error:  # whatever a model of the user's may raise
        raise ArgumentError(
            f"receptive_field: the model cannot be called with images of {_by(images.shape[1:])} "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]}); give the shape of one "
            "image, without the batch"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return middles


def _widen(box: list[tuple[int, int]], gradient: Tensor) -> None:
    """Have a box hold all places whose gradient is not 0."""
    seen = (gradient != 0).flatten(0, 1).any(dim=0)
    if not seen.any():
        return
    new = [(int(places.min()), int(places.max())) for places in seen.nonzero().T]
    old = box or new
    box[:] = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(old, new, strict=True)]


def _by(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
