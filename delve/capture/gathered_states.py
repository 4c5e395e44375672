"""States of what several processes have gathered, put together or taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from delve.numerics.covariance import TorchCovarianceMatrix
from delve.records import LayerKey

_NOTHING: dict[str, list[Any]] = {"tallies": [], "halves": [], "left_out_next": []}


def without_samples(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state of :class:`~delve.capture.hooks.LayerHooks` whose samples another process takes."""
    beside = {"beside": {**_NOTHING}} if "beside" in state else {}
    return {**state, "covariances": [], "left_out": [], **beside}


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


def with_beside(
    state: Mapping[str, Any],
    tallies: Sequence[Sequence[Any]],
    halves: Mapping[LayerKey, TorchCovarianceMatrix],
) -> dict[str, Any]:
    """A state with what all processes have gathered beside the covariances."""
    every = [tally for some in tallies for tally in some]  # which are put together when loaded
    told = [[*key, half.state_dict()] for key, half in halves.items()]
    return {**state, "beside": {**state["beside"], "tallies": every, "halves": told}}


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
    whole = {**with_samples(states[0], covariances, fresh), "order": list(order)}
    if any("beside" in state for state in states):
        held = [state.get("beside", _NOTHING) for state in states]
        whole["beside"] = {
            **held[0],
            **{
                part: [one for some in held for one in some[part]] for part in ("tallies", "halves")
            },
        }
    return whole
