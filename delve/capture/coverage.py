"""How much of a model's weights is in layers that are tracked, and what holds the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from delve.base.log import get_logger
from delve.capture.layer_types import check_include, dimensions_of, is_a, is_layer
from delve.capture.layers import Layers, Selection
from delve.capture.wrappers import adapted, flattens, is_adapter
from delve.records import shortened

logger = get_logger(__name__)


@dataclass(frozen=True)
class Coverage:
    """Where the weights of a model are: its parameters of two dimensions and more.

    Attributes:
        layers: The layers that are tracked, by name.
        adapters: Those of them that are parts of an adapter, as LoRA's A and B.
        weighted: How many modules with weights are tracked.
        missed: The modules with weights that are not, by name; but no embeddings.
        embeddings: What looks rows up and is not tracked, by name.
        share: The part of the weights that is tracked, from 0 to 1; a weight that is tied to an
            embedding's counts on neither side. None where nothing tells whose a weight is.
    """

    layers: Layers
    adapters: Layers
    weighted: int
    missed: Layers
    embeddings: Layers
    share: float | None


def coverage_of(selection: Selection, layers: Layers) -> Coverage:
    """Where the weights are, of the modules that a user has given.

    Args:
        selection: What the user wants.
        layers: The layers that are tracked.
    """
    tracked = set(layers.values())
    modules = dict(selection.walk())
    embeddings: Layers = {}
    missed: Layers = {}
    holders: list[tuple[nn.Module, list[nn.Parameter]]] = []
    for name, module, weights in _owners(modules):
        if module in tracked:
            holders.append((module, weights))
        elif _is_embedding(module):
            embeddings[name] = module
        elif weights := [weight for weight in weights if _is_matrix(weight)]:
            missed[name] = module
            holders.append((module, weights))
    tied: set[Tensor] = {weight for module in embeddings.values() for weight in module.parameters()}
    sizes = {True: 0, False: 0}
    for module, weights in holders:
        sizes[module in tracked] += sum(_size(weight) for weight in {*weights} - tied)
        tied.update(weights)
    whole = sum(sizes.values())
    inside_adapters = {
        part for module in modules.values() if is_adapter(module) for part in module.modules()
    }
    return Coverage(
        layers=layers,
        adapters={
            name: layer
            for name, layer in layers.items()
            if layer in inside_adapters and not is_adapter(layer)
        },
        weighted=len(holders) - len(missed),
        missed=missed,
        embeddings=embeddings,
        # FSDP 1 keeps the weights of all that it wraps as one flat one.
        share=sizes[True] / whole if whole and not any(map(flattens, modules.values())) else None,
    )


def tell(selection: Selection, layers: Layers) -> None:
    """Say what is tracked, and warn of what holds weights and is not, unless the user chose it."""
    _name_unmet(selection)
    coverage = coverage_of(selection, layers)
    share, embeddings = coverage.share, coverage.embeddings
    facts = [f"tracked: {_counted(layers.values())}"]
    if coverage.adapters:
        facts.append(f"{len(coverage.adapters)} of these are parts of adapters")
    if share is not None:
        apart = f" (without {_counted(embeddings.values())})" if embeddings else ""
        facts.append(f"{100 * share:.1f} % of the weights{apart} are in them")
    logger.info("%s", "; ".join(facts))
    if share is None or not coverage.missed or selection.is_chosen:
        return
    logger.warning(
        "not tracked: %s of %d weight layers, with %.1f %% of the weights (%s). track='all' takes "
        "each module that has a weight of two dimensions, include=[...] the types that you name, "
        "and delve.capture.samples registers a type",
        _counted(coverage.missed.values()),
        len(coverage.missed) + coverage.weighted,
        100 * (1 - share),
        shortened([name or "the model itself" for name in coverage.missed]),
    )


def _name_unmet(selection: Selection) -> None:
    """Say which of the types that the user wants tracked the model has no module of."""
    modules = [module for _, module in selection.walk()]
    unmet = [
        one.__name__
        for one in check_include(selection.include)
        if isinstance(one, type) and not any(is_a(module, one) for module in modules)
    ]
    if unmet:
        logger.warning("include: no module is a %s", ", ".join(unmet))


def _owners(modules: Layers) -> Iterator[tuple[str, nn.Module, list[nn.Parameter]]]:
    """Each module with weights of its own, and they; a layer has those of its parts too."""
    parts: set[nn.Module] = set()
    for name, module in modules.items():
        if module in parts:
            continue
        is_whole = is_layer(module) or is_adapter(module)
        if is_whole:
            parts.update(module.modules())
        weights = [
            weight for weight in module.parameters(recurse=is_whole) if dimensions_of(weight) > 1
        ]
        if weights:
            yield name, module, weights


def _is_embedding(module: nn.Module) -> bool:
    layer = adapted(module)
    name = type(layer).__name__.lower()
    is_named = "embed" in name or "position" in name  # of classes and positions, as in ViT
    return is_named or isinstance(layer, nn.Embedding | nn.EmbeddingBag)


def _is_matrix(weight: Tensor) -> bool:
    """Whether it has two dimensions but for those of size 1, as many scales and gates have."""
    shape: Iterable[int] = getattr(weight, "ds_shape", weight.shape)
    return sum(size > 1 for size in shape) > 1


def _size(weight: Tensor) -> int:
    return int(getattr(weight, "ds_numel", weight.numel()))  # DeepSpeed keeps the whole one's there


def _counted(modules: Iterable[nn.Module]) -> str:
    counts = Counter(type(module).__name__ for module in modules)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())
