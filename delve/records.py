"""What is recorded, as values: the key of a layer metric, an epoch, what a writer is told."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from delve.base.epochs import Epochs as Epochs
from delve.base.epochs import counted_epochs as counted_epochs
from delve.base.epochs import enumerate_epochs as enumerate_epochs
from delve.base.epochs import enumerate_spans as enumerate_spans

T = TypeVar("T")

MODES = ("train", "eval")

Axis = Literal["epoch", "step"]  # what the x axis of a run is
LayerKey = tuple[str, str]  # mode, layer: what samples are gathered by

_METRIC_FORM = re.compile(rf"({'|'.join(MODES)})-([a-z0-9-]+)/(.+)", re.DOTALL)


class Metric(str):
    """The key of a layer metric, ``{mode}-{stat}/{layer}``: a string that knows its parts.

    Args:
        mode: ``train`` or ``eval``.
        stat: The statistic's long name, for example ``saturation``.
        layer: The layer's name as in ``model.named_modules()``.
    """

    __slots__ = ("layer", "mode", "stat")

    mode: str
    stat: str
    layer: str

    def __new__(cls, mode: str, stat: str, layer: str) -> Metric:  # noqa: D102
        self = super().__new__(cls, f"{mode}-{stat}/{layer}")
        self.mode = mode
        self.stat = stat
        self.layer = layer
        return self

    def __getnewargs__(self) -> tuple[str, str, str]:  # type: ignore[override]
        return self.mode, self.stat, self.layer

    @classmethod
    def parse(cls, key: str) -> Metric | None:
        """The metric that ``key`` names, or None where it has not the form of a layer metric."""
        match = _METRIC_FORM.fullmatch(key)
        return cls(*match.groups()) if match else None


@dataclass(frozen=True)
class EpochRecord:
    """All scalars of one epoch.

    Attributes:
        epoch: The index of the row.
        timestamp: When it was saved, in milliseconds since 1970.
        scalars: The user's own scalars, by name.
        metrics: The layer metrics.
        few_samples: By mode, the layers that saw fewer samples than they have features.
        step: The training step at which it was taken; None where none was given.
        features: How many features layers have; read from a journal, where that was told anew.
    """

    epoch: int
    timestamp: int
    scalars: Mapping[str, float]
    metrics: Mapping[Metric, float]
    few_samples: Mapping[str, Sequence[str]] = field(default_factory=dict)
    step: int | None = None
    features: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class HeldEpoch:
    """What a backend holds of one epoch, read back from it.

    Attributes:
        epoch: The index of the row.
        values: The user's scalars and the layer metrics, by the names that the writer was given.
        timestamp: When it was saved, in milliseconds since 1970; None where the backend has no
            times.
        is_exact: Whether the values are as they were given, and not rounded to fewer digits.
        step: Its training step; None where it has none, or the backend does not keep it.
    """

    epoch: int
    values: Mapping[str, float]
    timestamp: int | None = None
    is_exact: bool = True
    step: int | None = None


@dataclass
class StagedEpoch:
    """What there is so far of an epoch that has not ended.

    Attributes:
        scalars: The user's own scalars, by name.
        metrics: The layer metrics that are numbers.
        arrays: Those that are arrays.
        few_samples: By mode, the layers that saw fewer samples than they have features.
        step: The training step, if one was given.
        features: How many features the layers have.
    """

    scalars: dict[str, float] = field(default_factory=dict)
    metrics: dict[Metric, float] = field(default_factory=dict)
    arrays: dict[Metric, np.ndarray] = field(default_factory=dict)
    few_samples: dict[str, list[str]] = field(default_factory=dict)
    step: int | None = None
    features: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all that is staged."""
        return (*self.scalars, *self.metrics, *self.arrays)

    def state_dict(self) -> dict[str, Any]:
        """All of it, made of tensors and plain values."""
        import torch  # which readers of recorded runs do without

        return {
            "scalars": dict(self.scalars),
            "metrics": {str(metric): value for metric, value in self.metrics.items()},
            "arrays": {
                str(metric): torch.from_numpy(array.copy()) for metric, array in self.arrays.items()
            },
            "few_samples": dict(self.few_samples),
            "step": self.step,
            "features": dict(self.features),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> StagedEpoch:
        """What a :meth:`state_dict` was made of."""
        arrays = _by_metric(state["arrays"])
        return cls(
            dict(state["scalars"]),
            _by_metric(state["metrics"]),
            {metric: array.cpu().numpy() for metric, array in arrays.items()},
            dict(state["few_samples"]),
            state.get("step"),
            dict(state.get("features", {})),
        )


def _by_metric(values: Mapping[str, T]) -> dict[Metric, T]:
    return {metric: value for key, value in values.items() if (metric := Metric.parse(key))}


def _forget(_state: Mapping[str, Any]) -> None:
    """Where there is no journal."""


@dataclass(frozen=True)
class Origin:
    """The run whose folder was copied to begin this one.

    Attributes:
        run_id: Its identity.
        savefile: Its folder, as its own journal knew it.
        state: What this writer remembered there: to name it and link to it, never to change it.
    """

    run_id: str
    savefile: str
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RunInfo:
    """What a writer is told of the run.

    Attributes:
        savefile: The run's folder.
        run_id: The run's own identity, kept when it is resumed.
        created: When the run began, in milliseconds since 1970.
        layers: The names of the tracked layers in forward order, as far as it is known.
        config: The user's hyperparameters.
        initial_epoch: The first epoch that this process records.
        images: False where the user wants no pictures (``nosave=True``).
        arrays: The arrays that this process computes, as ``{mode}-{stat}``.
        epochs: The epochs below ``initial_epoch`` that the journal holds and can feed again, in
            rising order; whether one is among them is known at once, however many there are.
        metrics: The names of all metrics that the journal holds, in first-seen order.
        state: What this writer remembered, in this process or an earlier one. A folder may come
            from somebody else: it is a hint where to look, and gives no right to change anything.
        origin: The run that this one's folder was copied from. Then the run id is a new one and
            ``state`` is empty: what is stored elsewhere under the old one is the origin's.
        may_be_copy: Whether the folder was brought here from another disk or machine, so that the
            one that it came from may still record, out of sight: nothing that a backend holds
            beyond what the journal knows may be changed.
        time_left: Tells how many seconds the attempt under way should take at most from now on. A
            writer that waits for somebody else gives up by then, by an exception, whatever number
            of calls it makes: it is tried again later.
        steps: The training steps of ``epochs``, where rows have them.
        initial_step: The step that the user has resumed by, if there was one.
        axis: What the x axis of the run is: ``epoch``, or ``step`` where rows have steps. The first
            row decides, so for a new run it is ``epoch`` until then.
    """

    savefile: Path
    run_id: str
    created: int
    layers: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    initial_epoch: int = 0
    images: bool = True
    arrays: tuple[str, ...] = ()
    epochs: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    may_be_copy: bool = False
    keep: Callable[[Mapping[str, Any]], None] = field(default=_forget, repr=False)
    time_left: Callable[[], float] = field(default=lambda: math.inf, repr=False)
    steps: Mapping[int, int] = field(default_factory=dict, repr=False)
    initial_step: int | None = None
    axis: Axis = "epoch"

    def __post_init__(self) -> None:
        if not isinstance(self.epochs, Epochs):  # writers look many of them up
            object.__setattr__(self, "epochs", Epochs(sorted(self.epochs)))

    def remember(self, **state: Any) -> None:
        """Put values that JSON can hold into the journal; a resumed run finds them in ``state``."""
        self.state.update(state)
        self.keep(self.state)

    @property
    def initial_x(self) -> int:
        """Where on the x axis the run goes on, what a backend holds from there on is void.

        For backends that know a row by its x alone; ``initial_epoch`` where rows have no steps.
        """
        if not self.steps:
            return self.initial_epoch
        last = self.steps[max(self.steps)]
        return max(last, -1 if self.initial_step is None else self.initial_step) + 1

    def x_of(self, epoch: int) -> int:
        """Where on the x axis one of ``epochs`` stands: at its step if it has one."""
        return self.steps.get(epoch, epoch)

    def epoch_at(self, x: int) -> int:
        """The first of ``epochs`` that stands there or beyond, else ``initial_epoch``."""
        return next((epoch for epoch in self.epochs if self.x_of(epoch) >= x), self.initial_epoch)

    def comes_again(self, epoch: int) -> bool:
        """Whether an epoch is one that is fed from the journal when a run is resumed or exported.

        Others follow then, and a writer may put them together until there are many: what a crash
        takes is fed again. For the last one, after which there may be a long pause, it is False.
        """
        return epoch < self.initial_epoch and bool(self.epochs) and epoch < self.epochs[-1]

    def first_lacking(self, held: Container[int]) -> int:
        """The first recorded epoch that a backend does not hold, else ``initial_epoch``.

        This is what ``resume_from_saved_state`` has to return.
        """
        known = _quick_to_search(held)
        return next((epoch for epoch in self.epochs if epoch not in known), self.initial_epoch)


def _quick_to_search(held: Container[int]) -> Container[int]:
    """The same epochs; a list of many would be gone through for each of many."""
    is_quick = isinstance(held, Set | Mapping | range | Epochs)
    return set(held) if isinstance(held, Iterable) and not is_quick else held


def forward_order(layers: Iterable[str], present: Iterable[str]) -> list[str]:
    """Those that are present, in forward order; those whose place is not known come last.

    Args:
        layers: The layers in forward order, as far as it is known.
        present: The layers wanted.
    """
    wanted = dict.fromkeys(present)
    return list(dict.fromkeys([*(layer for layer in layers if layer in wanted), *wanted]))


def shortened(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
