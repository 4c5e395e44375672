"""The epochs that a run's event files hold, read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from delve.records import HeldEpoch, Metric
from delve_tensorboard.folder import EventFolder

Numbers = dict[str, float]


@dataclass
class _Stored:
    """What one of TensorBoard's runs holds, by its step in TensorBoard.

    Attributes:
        values: The numbers.
        epochs: The epochs of rows whose step is a training step.
        seconds: When it was saved.
    """

    values: dict[int, Numbers] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)


def stored_epochs(
    folders: Mapping[str, EventFolder], user: str, begins: Mapping[str, int]
) -> Iterator[HeldEpoch]:
    """The epochs that no run lacks, in single precision as everywhere in TensorBoard.

    Args:
        folders: The runs: that of the user's scalars, which is written last, and one a mode.
        user: The name of the former.
        begins: From which step on a mode's run has a record of each row, as far as it is known.
    """
    held = {name: _read(folder) for name, folder in folders.items()}
    root = held.pop(user)
    firsts = {
        mode: begins.get(mode, min(stored.values)) for mode, stored in held.items() if stored.values
    }
    for step in sorted(root.values):
        if all(step < first or step in held[mode].values for mode, first in firsts.items()):
            values = dict(root.values[step])
            for mode, stored in held.items():
                for tag, value in stored.values.get(step, {}).items():
                    values[_metric(mode, tag)] = value
            epoch = root.epochs.get(step)
            time = round(root.seconds[step] * 1000)
            if epoch is None:
                yield HeldEpoch(step, values, time, is_exact=False)
            else:
                yield HeldEpoch(epoch, values, time, is_exact=False, step=step)


def _read(folder: EventFolder) -> _Stored:
    stored = _Stored()
    for step, epoch, seconds, numbers in folder.numbers():
        stored.values[step] = numbers
        stored.seconds[step] = seconds
        if epoch is not None:
            stored.epochs[step] = epoch
    return stored


def _metric(mode: str, tag: str) -> Metric:
    """``saturation/000.layer`` as the metric that it shows."""
    stat, _, numbered = tag.partition("/")
    return Metric(mode, stat, numbered.partition(".")[2])
