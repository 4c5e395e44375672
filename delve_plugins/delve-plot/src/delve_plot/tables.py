"""What a recorded table holds of one epoch and statistic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from delve.records import Metric
from delve.stats import long_name_of

if TYPE_CHECKING:
    import pandas as pd

LAST = -1  # stands for the last epoch of a table


def extract_layer_stat(
    df: pd.DataFrame,
    epoch: int = 19,
    primary_metric: str | None = None,
    stat: str = "saturation",
    state_mode: str = "train",
) -> tuple[pd.DataFrame, float | None]:
    """One epoch of one statistic, from a table as the CSV writer writes it.

    Args:
        df: One row an epoch; the epoch is a column of that name, or the index.
        epoch: The epoch to look up; -1 is the last.
        primary_metric: A column whose value is returned too.
        stat: The statistic, by its long name or its short one (``lsat``).
        state_mode: ``train`` or ``eval``.

    Returns:
        A table of one row, with a column for each layer that has the statistic, and the value of
        the primary metric, None where none is asked for.

    Raises:
        ValueError: The table does not hold the epoch, or nothing of the statistic.
        KeyError: It has no column of the primary metric's name.
    """
    table = df.set_index("epoch") if "epoch" in df.columns else df
    epochs = table.index.to_numpy()
    if epoch == LAST and len(epochs):
        epoch = int(epochs[-1])
    if epoch not in epochs:
        raise ValueError(f"epoch {epoch} is not in the table, which holds {epochs.tolist()}")
    row = table[epochs == epoch]
    wanted = state_mode, long_name_of(stat)
    metrics = {column: metric for column in table.columns if (metric := Metric.parse(str(column)))}
    columns = [column for column, m in metrics.items() if (m.mode, m.stat) == wanted]
    if not columns:
        held = ", ".join(dict.fromkeys(f"{m.mode}-{m.stat}" for m in metrics.values()))
        name = "-".join(wanted)
        raise ValueError(f"{name} is not in the table, which holds {held or 'no statistics'}")
    value = None if primary_metric is None else float(row[primary_metric].iloc[0])
    return row[columns], value


def columns_of_samples(df: pd.DataFrame, mode: str) -> dict[str, str]:
    """The columns of this mode by layer; one that does not name a mode counts."""
    columns = {column: Metric.parse(str(column)) for column in df.columns}
    return {
        layer_of(column): column
        for column, metric in columns.items()
        if metric is None or metric.mode == mode
    }


def layer_of(column: str) -> str:
    """The layer that a column is of; a column that is no layer metric has its own name."""
    metric = Metric.parse(str(column))
    return metric.layer if metric else str(column)
