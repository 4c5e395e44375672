"""What each backend holds of the rows of a training, by the trainer's step, read back from it."""

from __future__ import annotations

import csv
import math
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from tensorboard_runs import accumulator, read_points
from wandb_files import read_run_file

from delve.records import Metric
from delve.testing import journal_lines

Rows = dict[int, dict[str, float]]
Curves = dict[str, list[tuple[int, float]]]


def journal_steps(run: Path) -> Rows:
    """The rows in force in a journal, by step."""
    rows: dict[int, dict[str, Any]] = {}
    for line in journal_lines(run):
        if line["type"] == "resume":
            rows = {epoch: row for epoch, row in rows.items() if epoch < line["epoch"]}
        elif line["type"] == "epoch":
            rows[line["epoch"]] = line
    values = [
        (row.get("step", row["epoch"]), {**row["scalars"], **row["metrics"]})
        for row in rows.values()
    ]
    assert len({step for step, _ in values}) == len(values)
    return dict(values)


def csv_steps(run: Path, table: str = "metrics.csv") -> Rows:
    """The rows of the table."""
    rows: Rows = {}
    with (run / table).open() as file:
        for row in csv.DictReader(file):
            epoch = row.pop("epoch")
            step = int(row.pop("step", epoch))
            assert step not in rows
            rows[step] = {name: float(value) for name, value in row.items() if value}
    return rows


def tensorboard_steps(run: Path) -> Rows:
    """The points of Delve's event files."""
    return _once(read_points(run))


def mlflow_curves(database: Path) -> dict[str, Curves]:
    """All points of each run that is not deleted, in the order in which they came."""
    curves: dict[str, Curves] = {}
    with sqlite3.connect(database) as connection:
        found = connection.execute(
            "select m.run_uuid, m.key, m.step, m.value, m.is_nan from metrics m join runs r on "
            "r.run_uuid = m.run_uuid where r.lifecycle_stage = 'active' "
            "order by m.timestamp, m.step"
        )
        for run, name, step, value, is_nan in found:
            number = math.nan if is_nan else value
            curves.setdefault(run, {}).setdefault(name, []).append((step, number))
    return curves


def layer_rows(curves: Curves, repeated: set[int] | None = None) -> Rows:
    """The layer metrics among the points of a run, each once, but at repeated steps."""
    points = [
        (step, name, value)
        for name, points in curves.items()
        for step, value in (dict(points).items() if repeated else points)
        if is_of_layer(name)
    ]
    if repeated is not None:
        for name, found in curves.items():
            counts = Counter(step for step, _ in found)
            assert {step for step, n in counts.items() if n > 1} <= repeated, name
    return _once(points)


def is_of_layer(name: str) -> bool:
    """Whether it is a metric of Delve's."""
    return Metric.parse(name) is not None and name.startswith(("train-", "eval-"))


def users_tensorboard(folder: Path) -> Curves:
    """The curves of a trainer's own event files, wherever below a folder they lie."""
    curves: Curves = {}
    for file in folder.rglob("events.out.tfevents*"):
        if "tensorboard" not in file.parts:
            held = accumulator(file.parent)
            for tag in held.Tags()["scalars"]:
                curves[tag] = [(event.step, event.value) for event in held.Scalars(tag)]
    return curves


def wandb_rows(folder: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """The rows of each W&B run that an offline folder holds, by its id, oldest file first."""
    files = sorted(folder.rglob("run-*.wandb"), key=lambda path: path.parent.name)
    contents = [read_run_file(path) for path in files]
    return [(one.run_id, [one.rows[step] for step in sorted(one.rows)]) for one in contents]


def wandb_steps(rows: list[dict[str, Any]], axis: str = "delve/step") -> Rows:
    """Delve's values among these rows, by the step that stands beside them, each once."""
    return _once(
        (int(row[axis]), name, value)
        for row in rows
        if axis in row
        for name, value in row.items()
        if is_of_layer(name)
    )


def layers_of(rows: Rows) -> Rows:
    """The layer metrics alone."""
    picked = {
        step: {name: value for name, value in row.items() if is_of_layer(name)}
        for step, row in rows.items()
    }
    return {step: row for step, row in picked.items() if row}


def nearly(rows: Rows) -> Rows:
    """The same as TensorBoard keeps it, which is in single precision."""
    import numpy as np

    return {
        step: {name: float(np.float32(value)) for name, value in row.items()}
        for step, row in rows.items()
    }


def _once(points: Any) -> Rows:
    rows: Rows = {}
    for step, name, value in points:
        row = rows.setdefault(step, {})
        assert name not in row, f"{name} twice at step {step}"
        row[name] = value
    return rows
