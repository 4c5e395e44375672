"""States of what several processes have gathered, put together or taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from delve.numerics.covariance import TorchCovarianceMatrix
from delve.records import LayerKey


def without_samples(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state of :class:`~delve.capture.hooks.LayerHooks` whose samples another process takes."""
    return {**state, "covariances": [], "left_out": []}


def with_samples(
    state: Mapping[str, Any],
    covariances: Mapping[LayerKey, TorchCovarianceMatrix],
    fresh: Mapping[LayerKey, int],
) -> dict[str, Any]:
    """A state whose samples are these.

    Args:
        state: The state.
        covariances: What was gathered.
        fresh: How many samples of each came since the last statistics.
    """
    gathered = [
        [*key, min(fresh.get(key, 0), one.samples), one.state_dict()]
        for key, one in covariances.items()
    ]
    return {**state, "covariances": gathered}


def fresh_in(state: Mapping[str, Any]) -> dict[LayerKey, int]:
    """How many samples came since the last statistics, of each layer and mode."""
    return {(mode, name): fresh for mode, name, fresh, _ in state["covariances"]}


def combined(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One state with the samples of all; what else there is comes from the first."""
    covariances: dict[LayerKey, TorchCovarianceMatrix] = {}
    fresh: dict[LayerKey, int] = {}
    for state in states:
        for key, count in fresh_in(state).items():
            fresh[key] = fresh.get(key, 0) + count
        for mode, name, _, covariance_state in state["covariances"]:
            one = TorchCovarianceMatrix()
            one.load_state_dict(covariance_state)
            if (mode, name) in covariances and one.samples:
                covariances[mode, name].merge_moments(one.moments())
            else:
                covariances[mode, name] = one
    order = dict.fromkeys(name for state in states for name in state["order"])
    return {**with_samples(states[0], covariances, fresh), "order": list(order)}
