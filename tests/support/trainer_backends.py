"""What each backend holds of the rows of a training, by the trainer's step, read back from it.

Readers of backends are imported by who asks: the core's tests run without any too.
"""

from __future__ import annotations

import csv
import math
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

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
    from tensorboard_runs import read_points

    return _once(read_points(run))


def mlflow_curves(database: Path, name: str, value: str) -> Curves:
    """All points of the one run with this parameter, in the order in which they came."""
    curves: Curves = {}
    with sqlite3.connect(database) as connection:
        (run,) = connection.execute(
            "select r.run_uuid from runs r join params p on p.run_uuid = r.run_uuid "
            "where r.lifecycle_stage = 'active' and p.key = ? and p.value = ?",
            (name, value),
        ).fetchall()
        found = connection.execute(
            "select key, step, value, is_nan from metrics where run_uuid = ? "
            "order by timestamp, step",
            run,
        )
        for key, step, number, is_nan in found:
            curves.setdefault(key, []).append((step, math.nan if is_nan else number))
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
            if not is_of_layer(name):
                continue
            counts = Counter(step for step, _ in found)
            assert {step for step, n in counts.items() if n > 1} <= repeated, name
    return _once(points)


def is_of_layer(name: str) -> bool:
    """Whether it is a metric of Delve's."""
    return Metric.parse(name) is not None and name.startswith(("train-", "eval-"))


def users_tensorboard(folder: Path) -> Curves:
    """The curves of a trainer's own event files, wherever below a folder they lie."""
    from tensorboard_runs import accumulator

    curves: Curves = {}
    for file in folder.rglob("events.out.tfevents*"):
        if "tensorboard" not in file.parts:
            held = accumulator(file.parent)
            for tag in held.Tags()["scalars"]:
                curves[tag] = [(event.step, event.value) for event in held.Scalars(tag)]
    return curves


def wandb_files(folder: Path, name: str, value: str) -> list[Any]:
    """The files of the W&B run whose configuration says so, oldest first."""
    from wandb_files import read_run_file

    files = sorted(folder.rglob("run-*.wandb"), key=lambda path: path.parent.name)
    contents = [read_run_file(path) for path in files]
    ids = {one.run_id for one in contents if one.config.get(name) == value}
    assert len(ids) == 1, ids
    return [one for one in contents if one.run_id in ids]


def rows_of(file: Any) -> list[dict[str, Any]]:
    """The rows of a file in their order."""
    return [file.rows[step] for step in sorted(file.rows)]


def wandb_steps(files: list[Any], axis: str) -> Rows:
    """Delve's values in the files, by the step beside them; a later file goes over an earlier."""
    held: Rows = {}
    for file in files:
        held |= steps_on_a_server(rows_of(file), axis)
    return held


def steps_on_a_server(rows: list[dict[str, Any]], axis: str) -> Rows:
    """Delve's values in the rows of one W&B run, by the step beside them, each once."""
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
