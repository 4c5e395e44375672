"""What is known of the layers beside their covariances, over all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

from delve.capture.beside import Beside
from delve.capture.ceilings import ceiling_of
from delve.capture.gathering import Gathering
from delve.numerics import processes
from delve.numerics.accumulator import Accumulator
from delve.numerics.company import Company
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.records import LayerKey

Reduce = Callable[[Mapping[LayerKey, Accumulator]], Mapping[LayerKey, Accumulator]]


def company_of(
    keys: Iterable[LayerKey],
    gathering: Gathering,
    modules: Mapping[str, nn.Module],
    reduce: Reduce,
    group: processes.Group,
) -> dict[LayerKey, Company]:
    """What there is of each layer; collective where a process group is there.

    Args:
        keys: By mode and layer, the same in all processes.
        gathering: How much is gathered.
        modules: The tracked modules of this process, by name.
        reduce: Brings covariances of all processes together.
        group: The processes.
    """
    beside = gathering.beside
    whole = None if beside is None else over_processes(beside, reduce, group)
    return {key: _of_layer(key, whole, gathering, modules.get(key[1])) for key in keys}


def _of_layer(
    key: LayerKey, whole: Beside | None, gathering: Gathering, module: nn.Module | None
) -> Company:
    known: dict[str, Any] = {} if whole is None else whole.of_layer(key)
    if module is None:  # it is of another process
        return Company(**known)
    ceiling = ceiling_of(module, gathering.methods)
    return Company(ceiling=ceiling, field=gathering.fields.get(key[1]), **known)


def over_processes(beside: Beside, reduce: Reduce, group: processes.Group) -> Beside:
    """The same over the samples of all processes; collective where a process group is there."""
    if not processes.is_distributed(group):
        return beside
    whole = Beside(beside.wanted)
    for states in processes.gather(beside.tally_states(), group):
        whole.merge_tallies(states)
    if beside.gathers_halves:
        halves = reduce(beside.halves)
        whole.halves = {
            key: half for key, half in halves.items() if isinstance(half, TorchCovarianceMatrix)
        }
    return whole
