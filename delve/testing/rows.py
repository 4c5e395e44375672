"""Made-up epochs of a run, and how a backend's contents differ from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from delve.records import Metric, counted_epochs

LAYERS = ("features.0", "classifier")

Point = tuple[int, str, float]
ArrayPoint = tuple[int, str, np.ndarray]

_SHOWN = 5  # differences that a message names
_ARRAY_PRECISION = 1e-6  # of the largest value: room for backends that hold float32


@dataclass(frozen=True)
class Row:
    """What is recorded in one epoch."""

    epoch: int
    scalars: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[Metric, float] = field(default_factory=dict)
    arrays: Mapping[Metric, np.ndarray] = field(default_factory=dict)


def sample_rows(epochs: Iterable[int], part: int = 1, arrays: bool = False) -> list[Row]:
    """One row for each epoch: scalars and metrics, some of them late or rare.

    Args:
        epochs: Their numbers.
        part: Tells the values of one part of a run from those of another.
        arrays: Whether the rows hold arrays too.
    """
    return [_sample_row(epoch, part, arrays) for epoch in epochs]


def _sample_row(epoch: int, part: int, arrays: bool) -> Row:
    value = part + 1 / (epoch + 3)  # no round number, so that lost digits show
    scalars = {"loss": value, "lr": 1e-3 / part}
    if epoch % 2:
        scalars["validation accuracy"] = value / 3
    metrics = {
        Metric("train", "saturation", LAYERS[0]): value / 5,
        Metric("eval", "saturation", LAYERS[0]): value / 7,
    }
    if epoch >= 2:
        metrics[Metric("train", "saturation", LAYERS[1])] = value / 9
    return Row(epoch, scalars, metrics, _sample_arrays(epoch, part) if arrays else {})


def _sample_arrays(epoch: int, part: int) -> dict[Metric, np.ndarray]:
    generator = np.random.default_rng((epoch, part))
    samples = generator.normal(size=(20, 4))
    covariance = np.cov(samples, rowvar=False, bias=True)
    arrays = {
        Metric("train", "covariance-matrix", LAYERS[0]): covariance,
        Metric("train", "spectrum", LAYERS[0]): np.linalg.eigvalsh(covariance)[::-1].copy(),
        Metric("eval", "embedded-sample", LAYERS[0]): samples[:, :2].copy(),
    }
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def differences(held: Iterable[Point], expected: Mapping[int, Mapping[str, float]]) -> str:
    """What a backend holds, in words, where it is not what was expected; else an empty text.

    Args:
        held: All values that the backend holds, as (epoch, name, value).
        expected: The values by name, by epoch.
    """
    values: dict[int, dict[str, list[float]]] = {}
    for epoch, name, value in held:
        values.setdefault(epoch, {}).setdefault(name, []).append(value)
    wanted = {epoch: names for epoch, names in expected.items() if names}
    found = [] if values.keys() == wanted.keys() else [_other_epochs(values, wanted)]
    for epoch in sorted(values.keys() & wanted.keys()):
        found += _in_one_epoch(epoch, values[epoch], wanted[epoch])
    return _joined(found)


def array_differences(
    held: Iterable[ArrayPoint], expected: Mapping[int, Mapping[str, np.ndarray]]
) -> str:
    """The same for arrays."""
    seen: set[tuple[int, str]] = set()
    found: list[str] = []
    for epoch, name, array in held:
        if (epoch, name) in seen:
            found.append(f"it holds {name!r} of epoch {epoch} twice")
        seen.add((epoch, name))
        given = expected.get(epoch, {}).get(name)
        if given is None:
            found.append(f"it holds {name!r} of epoch {epoch}, which it must not")
        elif not _same_array(array, given):
            found.append(f"it holds another {name!r} of epoch {epoch}")
    wanted = {(epoch, name) for epoch, names in expected.items() for name in names}
    found += [f"it lacks {name!r} of epoch {epoch}" for epoch, name in sorted(wanted - seen)]
    return _joined(found)


def _other_epochs(held: Iterable[int], wanted: Iterable[int]) -> str:
    return f"it holds {_epochs(held)} in place of {_epochs(wanted)}"


def _epochs(epochs: Iterable[int]) -> str:
    numbers = sorted(epochs)
    if not numbers:
        return "no epoch"
    return counted_epochs(numbers)


def _in_one_epoch(
    epoch: int, held: Mapping[str, list[float]], wanted: Mapping[str, float]
) -> list[str]:
    found = [f"epoch {epoch} lacks {name!r}" for name in wanted if name not in held]
    for name, values in held.items():
        if name not in wanted:
            found.append(f"epoch {epoch} holds {name!r}, which was not given there")
        elif len(values) > 1:
            found.append(f"epoch {epoch} holds {name!r} {len(values)} times: {values}")
        elif not _same(values[0], wanted[name]):
            found.append(f"epoch {epoch} holds {name!r} as {values[0]!r}, not {wanted[name]!r}")
    return found


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _same_array(one: np.ndarray, other: np.ndarray) -> bool:
    tolerance = _ARRAY_PRECISION * float(np.abs(other).max(initial=0))
    return one.shape == other.shape and np.allclose(one, other, rtol=0, atol=tolerance)


def _joined(found: list[str]) -> str:
    more = [f"and {len(found) - _SHOWN} more differences"] if len(found) > _SHOWN else []
    return "; ".join(found[:_SHOWN] + more)
