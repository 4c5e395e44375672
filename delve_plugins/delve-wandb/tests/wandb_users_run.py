"""A W&B run that the user has started, which Delve records into; here or in a process that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import wandb
from wandb_files import read_run_file, run_files

from delve.testing import train

RUN_ID = "mine"

Row = dict[str, Any]


def users_run(folder: Path, **options: Any) -> wandb.Run:
    """The user's run, whose files are in ``folder/mine``; Delve's are in ``folder/run``."""
    (folder / "mine").mkdir(exist_ok=True)
    return wandb.init(dir=folder / "mine", id=RUN_ID, **options)


def record_in_users_run(
    folder: Path, epochs: Iterable[int], commit: bool = False, **options: Any
) -> None:
    """Record epochs, with the user's run open."""
    with users_run(folder, **options):
        train(folder / "run", "wandb", epochs, writer_args={"commit": commit})
    wandb.teardown()  # only then W&B's file is complete


def record_in_users_run_and_die(
    folder: Path, epochs: Sequence[int], on_disk: bool, **settings: str
) -> None:
    """As :func:`record_in_users_run` with ``commit``, in a process that SIGKILL ends.

    Args:
        folder: See :func:`users_run`.
        epochs: The epochs.
        on_disk: Whether W&B has written all rows by then, or none; if not, they are lost.
        settings: More variables of W&B's.
    """
    environment = {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "0.05" if on_disk else "0",
        **settings,
    }
    code = "import json, sys; from wandb_users_run import _die; _die(*json.loads(sys.argv[1]))"
    child = subprocess.run(
        [sys.executable, "-c", code, json.dumps([str(folder), list(epochs), on_disk])],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr


def rows_on_disk(folder: Path) -> list[Row]:
    """What ``wandb sync`` can upload of the user's run."""
    files = run_files(folder / "mine")
    return [row for file in files for row in read_run_file(file).rows.values()]


def tear(file: Path, rows: int) -> None:
    """Leave only the first rows of a file, as a kill can."""
    data = file.read_bytes()
    while len(read_run_file(file).rows) > rows:
        data = data[:-50]
        file.write_bytes(data)


def delves_rows(
    rows: Iterable[Row], but: Sequence[str] = (), prefix: str = "", axis: str = "delve/epoch"
) -> dict[int, Row]:
    """The rows with an epoch of Delve's, by it, without the keys that others add.

    Args:
        rows: The rows.
        but: The user's own keys, which may stand in the same rows.
        prefix: What Delve's keys begin with; it is taken off.
        axis: The key of the epoch; ``epoch`` on a run of Delve's own.
    """
    found: dict[int, Row] = {}
    axis = prefix + axis
    for row in rows:
        if axis in row:
            assert row[axis] not in found, f"epoch {row[axis]} is there twice"
            found[row[axis]] = {
                key.removeprefix(prefix): value
                for key, value in row.items()
                if key.startswith(prefix)
                and key not in (axis, *but)
                and not key.startswith((f"{prefix}delve/", "_"))
            }
    return found


def users_rows(rows: Iterable[Row], *keys: str) -> list[Row]:
    """What the rows hold under the user's own keys, where there is any of it."""
    found = [{key: row[key] for key in keys if key in row} for row in rows]
    return [row for row in found if row]


def _die(folder: str, epochs: list[int], on_disk: bool) -> None:
    users_run(Path(folder))
    train(Path(folder, "run"), "wandb", epochs, writer_args={"commit": True})
    (*_, file) = run_files(Path(folder, "mine"))
    while on_disk and len(read_run_file(file).rows) < len(epochs):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)
