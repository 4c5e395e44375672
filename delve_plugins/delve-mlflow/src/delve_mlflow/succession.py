"""A run whose tail is void is replaced by a copy without it: MLflow cannot delete a point.

A copy is marked while it is made. To take the mark off puts it in force, and with it the run that
it was copied from is out of force, whatever becomes of that one's own marks: a process may be
killed between any two requests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from tqdm.auto import tqdm

from delve_mlflow import points, runs
from delve_mlflow.identity import COPYING, RESUMED_FROM, RUN_ID, STATE, SUPERSEDED_BY


def copy_below(client: MlflowClient, run: Run, epoch: int, cut: Collection[str]) -> str:
    """Copy a run without the points of the metrics in ``cut`` at ``epoch`` or later.

    The copy is marked; :func:`put_in_force` takes the mark off. Returns its id.
    """
    tags = {**run.data.tags, RESUMED_FROM: run.info.run_id, STATE: COPYING}
    copy: Run = client.create_run(run.info.experiment_id, tags=tags, run_name=run.info.run_name)
    copy_id = str(copy.info.run_id)
    params = [Param(key, value) for key, value in run.data.params.items()]
    client.log_batch(copy_id, params=params, synchronous=True)
    keys = tqdm(
        run.data.metrics,
        "copying the MLflow run",
        unit="metric",
        delay=1,
        leave=False,
        disable=None,
    )
    kept: list[Metric] = []
    for key in keys:
        for point in client.get_metric_history(run.info.run_id, key):
            if key not in cut or point.step < epoch:
                kept.append(Metric(key, point.value, point.timestamp, point.step))
        if len(kept) >= points.MOST_AT_ONCE:
            points.log(client, copy_id, kept)
            kept = []
    points.log(client, copy_id, kept)
    return copy_id


def put_in_force(client: MlflowClient, copy_id: str) -> None:
    """Make a complete copy the run."""
    client.delete_tag(copy_id, STATE)


def settle(
    client: MlflowClient, found: Sequence[Run], our_keys: Callable[[Run], Collection[str]]
) -> list[Run]:
    """Retire what copies have replaced, where that was begun; returns the runs left in force."""
    replaced = {run.data.tags.get(RESUMED_FROM): run for run in found}
    for origin_id, copy in replaced.items():
        origin = runs.active(client, origin_id) if origin_id else None
        if origin is not None and origin.data.tags.get(RUN_ID) == copy.data.tags.get(RUN_ID):
            _retire(client, origin, copy, our_keys(origin))
    return [run for run in found if run.info.run_id not in replaced]


def _retire(client: MlflowClient, origin: Run, copy: Run, our_keys: Collection[str]) -> None:
    """One that is marked as retired already is left alone: its user may have restored it."""
    if SUPERSEDED_BY in origin.data.tags:
        return
    if not runs.has_ended(origin):
        client.set_terminated(origin.info.run_id, "FAILED")
    runs.tag(client, origin, {SUPERSEDED_BY: copy.info.run_id})
    foreign = origin.data.metrics.keys() - set(our_keys)
    if not foreign and not client.list_artifacts(origin.info.run_id):
        client.delete_run(origin.info.run_id)
