"""States of what several processes have gathered, put together or taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from delve.numerics.accumulator import Accumulator, merged
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.directions import Directions
from delve.numerics.sketch import Sketch
from delve.records import LayerKey

_NOTHING: dict[str, list[Any]] = {"tallies": [], "halves": [], "left_out_next": []}


def without_samples(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state of :class:`~delve.capture.hooks.LayerHooks` whose samples another process takes."""
    beside = {"beside": {**_NOTHING}} if "beside" in state else {}
    return {**state, "covariances": [], "left_out": [], **beside}


def with_samples(
    state: Mapping[str, Any],
    covariances: Mapping[LayerKey, Accumulator],
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
    directions = {
        layer: one.directions.state_dict()
        for (_, layer), one in covariances.items()
        if isinstance(one, Sketch)
    }
    return {
        **state,
        "directions": {**state.get("directions", {}), **directions},
        "covariances": gathered,
    }


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
    covariances: dict[LayerKey, Accumulator] = {}
    fresh: dict[LayerKey, int] = {}
    for state in states:
        for key, count in fresh_in(state).items():
            fresh[key] = fresh.get(key, 0) + count
        for mode, name, _, covariance_state in state["covariances"]:
            one = _loaded(covariance_state, state.get("directions", {}).get(name))
            held = covariances.get((mode, name))
            covariances[mode, name] = merged(held, one) if held and one.samples else one
    order = dict.fromkeys(name for state in states for name in state["order"])
    whole = {**with_samples(states[0], covariances, fresh), "order": list(order)}
    if any("beside" in state for state in states):
        each = [state.get("beside", _NOTHING) for state in states]
        parts = {
            part: [one for some in each for one in some[part]] for part in ("tallies", "halves")
        }
        whole["beside"] = {**each[0], **parts}
    return whole


def _loaded(state: Mapping[str, Any], directions: Mapping[str, Any] | None) -> Accumulator:
    if state.get("sketched") and directions is not None:
        return Sketch.from_state_dict(state, Directions.from_state_dict(directions))
    one = TorchCovarianceMatrix()
    one.load_state_dict(state)
    return one
