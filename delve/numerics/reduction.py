"""The covariances of all processes, brought together: each sample once, whoever holds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from delve.base.log import get_logger
from delve.numerics.accumulator import Accumulator
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.layouts import Layouts
from delve.numerics.moments import Moments
from delve.numerics.processes import Group, device, gather, is_distributed, named, ranks_of
from delve.numerics.sketch import Sketch
from delve.numerics.sketch_reduction import (
    Identity,
    have_other_directions,
    holder_of,
    identities,
    reduced_sketch,
)
from delve.numerics.weight_marks import Marks, unlike
from delve.records import LayerKey, shortened

Covariances = Mapping[LayerKey, Accumulator]

# How far the projections of equal samples may be apart: a reduction adds up in another order.
_SAME = 1e-4

logger = get_logger(__name__)


@dataclass(frozen=True)
class _Part:
    """What one process tells the others of its covariances.

    Attributes:
        rank: Its rank among all processes.
        features: The number of features of each covariance that has samples.
        known: The layers whose samples are counted once already.
        sharing: Ranks of processes that work on the same data together.
        marks: Numbers by which the weights of its layers are known.
        sketches: The directions of each sketch.
    """

    rank: int
    features: dict[LayerKey, int]
    known: list[str]
    sharing: list[tuple[int, ...]]
    marks: Marks
    sketches: dict[LayerKey, Identity]


class CovarianceReducer:
    """Brings the covariances of all processes together, epoch by epoch.

    Args:
        group: The processes.
    """

    def __init__(self, group: Group = None) -> None:
        self._group = group
        self._named: set[tuple[str, str]] = set()  # what was said, of which layer

    def reduce(
        self,
        covariances: Covariances,
        layouts: Layouts | None = None,
        marks: Marks | None = None,
        writer: int = 0,
        deal: bool = False,
        consume: bool = False,
    ) -> dict[LayerKey, Accumulator]:
        """The covariances over the samples of all processes, complete in the one that writes.

        Where they are dealt out, each is in one process alone, and the next in the next; a sketch
        is in all, and complete in the one that writes.

        Collective where a process group is there. A process that lacks a layer, or has no sample
        at all, takes part with none. Left out, with one warning, is a layer whose number of
        features is not the same in all processes, one that is another in each, and one of which
        processes that work on the same data hold what nobody can tell.

        Args:
            covariances: This process's.
            layouts: What is known of how outputs are spread over the processes.
            marks: Numbers by which the weights of this process's layers are known.
            writer: The rank, within the group, of the process that writes.
            deal: Whether to deal them out.
            consume: Whether what is not needed here any more is given back at once.
        """
        if not is_distributed(self._group):
            return dict(covariances)
        layouts = layouts or Layouts()
        mine = {key: one for key, one in covariances.items() if one.samples}
        parts = gather(
            _Part(
                dist.get_rank(),
                {key: one.features for key, one in mine.items()},
                list(layouts.known),
                sorted(layouts.sharing),
                marks or {},
                identities(mine),
            ),
            self._group,
        )
        counts = _feature_counts(parts)
        self._warn_of_unequal(counts)
        apart = self._other_layers(parts)
        elsewhere, unknown = self._shared(mine, parts)
        for key in elsewhere:
            mine.pop(key, None)
        # Every process goes through the same keys in the same order.
        whole: dict[LayerKey, Accumulator] = {}
        sketches = [part.sketches for part in parts]
        self._warn_of_other_directions(counts, sketches)
        exact = 0
        for key, features in counts.items():
            if len(features) > 1 or key in unknown or key[1] in apart:
                continue
            holder = holder_of(key, sketches)
            if holder is None:
                one = mine.get(key)
                assert not isinstance(one, Sketch)
                target = exact % dist.get_world_size(self._group) if deal else writer
                exact += 1
                reduced = self._reduced(one, next(iter(features)), target, consume)
                if not deal or target == dist.get_rank(self._group):
                    whole[key] = reduced
            elif not have_other_directions(key, sketches):
                whole[key] = reduced_sketch(key, mine.get(key), sketches, writer, self._group)
        return whole

    def _shared(
        self, mine: Covariances, parts: list[_Part]
    ) -> tuple[list[LayerKey], dict[LayerKey, tuple[int, ...]]]:
        """Compare what processes hold that work on the same data.

        Returns:
            The keys of which another process has the same samples, and counts them; and those of
            which nobody can tell, with the processes.
        """
        unknown: dict[LayerKey, tuple[int, ...]] = {}
        sharing = sorted({ranks for part in parts for ranks in part.sharing})
        if not sharing:
            return [], unknown
        known = {layer for part in parts for layer in part.known}
        plain = {key: _signature(one) for key, one in mine.items() if key[1] not in known}
        signatures = {
            part.rank: theirs
            for part, theirs in zip(parts, gather(plain, self._group), strict=True)
        }
        own, elsewhere = dist.get_rank(), list[LayerKey]()
        for ranks in sharing:
            for key in dict.fromkeys(key for rank in ranks for key in signatures.get(rank, ())):
                holders = [rank for rank in ranks if key in signatures.get(rank, ())]
                if not _are_same([signatures[rank][key] for rank in holders]):
                    unknown[key] = ranks
                elif own in holders[1:]:
                    elsewhere.append(key)
        self._warn(
            "different",
            {layer: named(ranks) for (_, layer), ranks in unknown.items()},
            lambda told: (
                "these layers are left out, since processes that work on the same data hold "
                f"different outputs of them, and nothing tells what part each holds: {told}. "
                "Where their weights are DTensors, as parallelize_module() makes them, it is known"
            ),
        )
        return elsewhere, unknown

    def _other_layers(self, parts: list[_Part]) -> set[str]:
        """The names under which processes have other layers."""
        known = {layer for part in parts for layer in part.known}
        found = {
            layer: named([parts[process].rank for process in processes])
            for layer, processes in unlike([part.marks for part in parts]).items()
            if layer not in known
        }
        self._warn(
            "apart",
            found,
            lambda told: (
                "these layers are left out, since processes have other weights under their name, a "
                f"stage or a part of the model each: {told}. Give each a name of its own, as in "
                'modules={f"stage{rank}": stage}; where each process trains a model of its own, '
                "give each process_group="
            ),
        )
        return set(found)

    def _warn_of_unequal(self, counts: Mapping[LayerKey, set[int]]) -> None:
        self._warn(
            "unequal",
            {
                layer: " and ".join(map(str, sorted(features)))
                for (_, layer), features in counts.items()
                if len(features) > 1
            },
            lambda told: (
                "the processes' outputs have different numbers of features, so these layers are "
                f"left out: {told}; with conv_method='flatten' all images must have one size"
            ),
        )

    def _warn_of_other_directions(
        self, keys: Iterable[LayerKey], sketches: list[dict[LayerKey, Identity]]
    ) -> None:
        self._warn(
            "directions",
            {key[1]: "sketches" for key in keys if have_other_directions(key, sketches)},
            lambda told: (
                "these layers are left out, since the processes gather them by sketches that do "
                f"not add up: {told}; name them in sketch=[...]"
            ),
        )

    def _warn(self, what: str, layers: Mapping[str, str], say: Callable[[str], str]) -> None:
        new = {layer: told for layer, told in layers.items() if (what, layer) not in self._named}
        self._named.update((what, layer) for layer in new)
        if new and dist.get_rank(self._group) == 0:
            told = [f"{layer} ({of_it})" for layer, of_it in new.items()]
            logger.warning("%s", say(shortened(told, 20)))

    def _reduced(
        self, covariance: TorchCovarianceMatrix | None, features: int, target: int, consume: bool
    ) -> TorchCovarianceMatrix:
        """One covariance over the samples of all processes, complete in the target."""
        group, where = self._group, device(self._group)
        if covariance is None:
            moments = Moments.none(features, where)
        else:
            moments = covariance.settled() if consume else covariance.moments()
        count = torch.tensor([float(moments.samples)], dtype=torch.float64, device=where)
        mean = moments.mean.to(where)
        sums = torch.cat([mean * count, count])
        dist.all_reduce(sums, group=group)
        common_mean = sums[:-1] / sums[-1]
        # Around the common mean scatters simply add up.
        offset = mean - common_mean
        scatter = moments.scatter.to(where).addr_(offset, offset, alpha=moments.samples)
        dist.reduce(scatter, dst=ranks_of(group)[target], group=group)
        whole = TorchCovarianceMatrix.of_moments(Moments(int(sums[-1]), common_mean, scatter))
        if covariance is not None:
            whole.saved_samples = covariance.saved_samples
            if consume:
                covariance.clear()
        return whole


def _feature_counts(parts: Iterable[_Part]) -> dict[LayerKey, set[int]]:
    """The numbers of features that a layer has in any process, in one order for all of them."""
    counts: dict[LayerKey, set[int]] = {}
    for part in parts:
        for key, count in part.features.items():
            counts.setdefault(key, set()).add(count)
    return counts


def _signature(covariance: Accumulator) -> list[float]:
    """Numbers by which equal samples are known: their count, and projections of their moments."""
    if isinstance(covariance, Sketch):
        return covariance.signature()
    moments = covariance.moments()
    turns = torch.arange(1, covariance.features + 1, dtype=torch.float64).cos()
    mean, scatter = moments.mean.cpu(), moments.scatter.diagonal().cpu()
    numbers: list[Any] = [
        moments.samples,
        float(mean @ turns),
        float(scatter @ turns.abs()),
        float(mean.abs().sum() + (scatter / moments.samples).sqrt().sum()),
        float(scatter.sum()),
    ]
    return numbers


def _are_same(signatures: list[list[float]]) -> bool:
    return all(
        one[0] == signatures[0][0]
        and _is_near(one[1], signatures[0][1], one[3])
        and _is_near(one[2], signatures[0][2], one[4])
        and _is_near(one[3], signatures[0][3], one[3])
        and _is_near(one[4], signatures[0][4], one[4])
        for one in signatures[1:]
    )


def _is_near(one: float, other: float, scale: float) -> bool:
    both_are_nan = math.isnan(one) and math.isnan(other)
    return one == other or both_are_nan or abs(one - other) <= _SAME * abs(scale)
