"""A run whose tail is void is replaced by a copy without it: MLflow cannot delete a point.

A copy is marked while it is made, and the mark says how far it has come: an attempt that ends in
the middle is gone on with. To take the mark off puts the copy in force, and with it the run that it
was copied from is out of force, whatever becomes of that one's own marks: a process may be killed
between any two requests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from mlflow.entities import Metric, Param, Run
from tqdm.auto import tqdm

from delve_mlflow import artifacts, runs
from delve_mlflow.client import Client
from delve_mlflow.identity import COPYING, RESUMED_FROM, RUN_ID, SENT, STATE, SUPERSEDED_BY
from delve_mlflow.points import Stamp, identity
from delve_mlflow.rows import MOST_AT_ONCE

BATCH = MOST_AT_ONCE - 1  # points in a request, which sets the mark too


@dataclass(frozen=True)
class Tail:
    """What a copy is to leave out: what Delve recorded at a step or later.

    Attributes:
        step: The first such step.
        ours: The keys of Delve's metrics, as far as they are known.
        stamping: Those that only Delve writes.
        sent: When Delve is known to have sent a row.
    """

    step: int
    ours: Collection[str]
    stamping: Collection[str]
    sent: Collection[Stamp]

    def mark(self, key: str = "") -> str:
        """The mark of a copy that has come so far."""
        return f"{COPYING} below {self.step} up to {key}"

    def order(self, run: Run) -> list[str]:
        """The keys of a run, in the order in which they are copied."""
        held = set(run.data.metrics)
        stamping, ours = held & set(self.stamping), held & set(self.ours)
        return [*sorted(stamping), *sorted(ours - stamping), *sorted(held - stamping - ours)]


def copy_without(
    client: Client, run: Run, tail: Tail, tags: dict[str, str], unfinished: Iterable[Run]
) -> str:
    """Copy a run without its tail, or go on with one of the unfinished copies.

    A metric may be Delve's though its journal has lost the name: what was sent at the very
    millisecond at which Delve sent the layers' metrics of that row is Delve's too.

    Args:
        client: Asks MLflow.
        run: What is copied.
        tail: What is left out.
        tags: Tags for the copy beside those of the run.
        unfinished: Copies that an earlier attempt began.

    Returns:
        The copy's id. It is marked until :func:`put_in_force`.
    """
    keys = tail.order(run)
    copy = _continued(run, tail, keys, unfinished) or _begun(client, run, tail, tags)
    params = [Param(key, value) for key, value in run.data.params.items()]
    if copy.data.params != run.data.params and params:
        client.log_params(copy.info.run_id, params)
    last = copy.data.tags[STATE].removeprefix(tail.mark())
    done = keys.index(last) + 1 if last else 0
    stamps = {*tail.sent, *_stamps(client, run, tail, keys[:done])}
    _copy_points(client, run, copy, tail, keys[done:], stamps)
    return str(copy.info.run_id)


def _begun(client: Client, run: Run, tail: Tail, tags: dict[str, str]) -> Run:
    marks = {RESUMED_FROM: run.info.run_id, STATE: tail.mark()}
    kept = dict(run.data.tags)
    if any(step >= tail.step for step, _ in tail.sent):
        kept.pop(SENT, None)
    name, experiment = run.info.run_name, run.info.experiment_id
    return client.create_run(experiment, name, {**kept, **tags, **marks})


def _continued(run: Run, tail: Tail, keys: list[str], unfinished: Iterable[Run]) -> Run | None:
    """A copy of this very run without this very tail."""
    marks = {tail.mark(key) for key in ("", *keys)}
    for copy in unfinished:
        tags = copy.data.tags
        if tags.get(RESUMED_FROM) == run.info.run_id and tags.get(STATE) in marks:
            return copy
    return None


def _stamps(client: Client, run: Run, tail: Tail, keys: Sequence[str]) -> set[Stamp]:
    """When Delve sent the rows of the tail, as its points among the copied keys tell."""
    last = runs.last_points(run)
    late = {key for key, point in last.items() if point.step >= tail.step}
    if late <= set(tail.ours):
        return set()
    asked = [key for key in keys if key in late and key in tail.stamping]
    with contextlib.closing(client.histories(run.info.run_id, asked)) as histories:
        return {(point.step, point.timestamp) for points in histories for point in points}


def _copy_points(
    client: Client, run: Run, copy: Run, tail: Tail, keys: Sequence[str], stamps: set[Stamp]
) -> None:
    copy_id, kept = copy.info.run_id, list[Metric]()
    progress = tqdm(
        keys, "copying the MLflow run", unit="metric", delay=1, leave=False, disable=None
    )
    with contextlib.closing(client.histories(run.info.run_id, keys)) as histories:
        for key, points in zip(progress, histories, strict=True):
            if not points:
                raise ConnectionError(f"the tracking server does not tell the history of {key!r}")
            there = set()
            if key in copy.data.metrics:  # from an attempt that ended in the middle of a batch
                there = {identity(point) for point in client.history(copy_id, key)}
            for point in points:
                stamp = point.step, point.timestamp
                if key in tail.stamping:
                    stamps.add(stamp)
                is_void = point.step >= tail.step and (key in tail.ours or stamp in stamps)
                if not is_void and identity(point) not in there:
                    kept.append(Metric(key, point.value, point.timestamp, point.step))
            if len(kept) >= BATCH or key == keys[-1]:
                client.log_points(copy_id, kept, {STATE: tail.mark(key)})
                kept = []


def put_in_force(client: Client, copy_id: str) -> Run:
    """Make a complete copy the run; returns it."""
    client.delete_tag(copy_id, STATE)
    copy = client.get_run(copy_id)
    if not runs.is_in_force(copy):
        raise ConnectionError(f"the tracking server did not take the mark off run {copy_id}")
    return copy


def settle(
    client: Client, found: Sequence[Run], our_keys: Callable[[Run], Collection[str]]
) -> list[Run]:
    """Retire what copies have replaced, where that was begun; returns the runs left in force."""
    replaced = {run.data.tags.get(RESUMED_FROM): run for run in found}
    for origin_id, copy in replaced.items():
        origin = runs.active(client, origin_id) if origin_id else None
        if origin is not None and origin.data.tags.get(RUN_ID) == copy.data.tags.get(RUN_ID):
            _retire(client, origin, copy, our_keys(origin))
    return [run for run in found if run.info.run_id not in replaced]


def delete_twins(client: Client, twins: Iterable[Run]) -> None:
    """Delete what a request made that was given up, and carried out when it was asked again."""
    for twin in twins:
        if not twin.data.metrics and not artifacts.holds_others(client, twin):
            client.delete_run(twin.info.run_id)


def _retire(client: Client, origin: Run, copy: Run, our_keys: Collection[str]) -> None:
    """One that is marked as retired already is left alone: its user may have restored it."""
    if SUPERSEDED_BY in origin.data.tags:
        return
    if not runs.has_ended(origin):
        client.set_terminated(origin.info.run_id, "FAILED")
    runs.tag(client, origin, {SUPERSEDED_BY: copy.info.run_id})
    foreign = origin.data.metrics.keys() - set(our_keys)
    if not foreign and not artifacts.holds_others(client, origin):
        client.delete_run(origin.info.run_id)
