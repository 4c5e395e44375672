"""What the epochs of a run hold, gathered in one pass."""

import math

from delve.journal.overview import Overview
from delve.records import EpochRecord, Metric

FC = Metric("train", "saturation", "fc")
LATE = Metric("eval", "samples", "late")
RECORDS = [
    EpochRecord(0, 0, {"loss": math.nan}, {FC: math.nan}),
    EpochRecord(2, 1, {"loss": 0.5, "rare": 1.0}, {FC: 0.25, LATE: 8.0}),
    EpochRecord(3, 2, {"loss": 0.125}, {FC: 0.5}),
    EpochRecord(4, 3, {"loss": 0.5}, {LATE: 9.0}),
    EpochRecord(5, 4, {"loss": math.inf}, {}),
]


def test_scalars_have_their_extremes_and_the_first_epoch_that_reached_them():
    loss = Overview.of(RECORDS).scalars["loss"]
    assert (loss.last, loss.lowest, loss.highest) == (math.inf, (0.125, 3), (0.5, 2))
    assert list(Overview.of(RECORDS).scalars) == ["loss", "rare"]
    assert Overview.of(RECORDS[:1]).scalars["loss"].lowest is None


def test_layer_metrics_have_their_first_finite_value_and_their_epochs():
    overview = Overview.of(RECORDS)
    assert overview.first == {FC: 0.25, LATE: 8.0}
    assert overview.stats == {"saturation": ("train",), "samples": ("eval",)}
    assert overview.epochs_with("saturation", ["train", "eval"]) == [0, 2, 3]
    assert overview.epochs_with("samples", ["eval"]) == [2, 4]
    assert overview.epochs_with("samples", ["train"]) == []


def test_without_epochs_there_is_nothing():
    assert Overview.of([]) == Overview()
