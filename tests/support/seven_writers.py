"""A small training that records into every writer, and what each backend holds of it afterwards."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard_runs import read_points as read_tensorboard_points
from torch import Tensor, nn
from wandb_files import unsynced_rows
from wandb_server import StoredRun, WandbServer

from delve import SaturationTracker
from delve.testing import journal_lines, journal_rows
from support import crash_points, installed_writers
from support.crash_points import CrashPoint
from support.disk_notes import DiskNotes
from support.installed_writers import remembered

WRITERS = installed_writers.installed()
STATS = ("lsat_train", "trc_eval", "cov_train", "spectrum_train", "embed_eval")
OPTIONS = {"plot": {"every": 5, "dpi": 40, "primary_metric": "loss"}}
EPOCHS = 10
CHECKPOINT_EVERY = 3
BATCHES = 3

ATTEMPT = "attempt"  # a scalar: which process recorded the epoch

# What the children of a nursery need, to begin at once.
MODULES = (
    "support.seven_writers",
    "torch._dynamo",
    "pandas",
    "mlflow",
    "wandb.sdk.launch",
    *installed_writers.modules(),
    "delve_plot.figures",
    "delve_plot.heatmap",
    "delve_plot.scatter",
    "delve_tensorboard.folder",
    "delve_tensorboard.summaries",
    "delve_mlflow.runs",
    "delve_wandb.sessions",
    "delve_wandb.resuming",
    "matplotlib.backends.backend_agg",
)

Point = tuple[int, str, float]


# --- the training --------------------------------------------------------------------------------


def train(
    folder: str,
    attempt: int,
    writers: Sequence[str],
    auto: bool,
    crash: dict[str, Any] | None,
    notes: str | None = None,
) -> None:
    """Train from the last checkpoint in ``folder`` to the end, or to the crash.

    Args:
        folder: Where the run and the checkpoints are.
        attempt: The number of this process.
        writers: The names of the writers, in the order in which they are fed.
        auto: Whether to go on after the last epoch recorded, with a checkpoint of each epoch saved
            before it is recorded; if not, from the last one of the checkpoints saved now and then.
        crash: The fields of a crash point.
        notes: Where to note what the disk confirms, if anywhere.
    """
    print()  # whatever line an earlier process was printing ends here
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", force=True)
    if notes:
        DiskNotes(Path(folder, "run"), Path(notes))
    if crash:
        CrashPoint(**crash).arm()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    checkpoints = Checkpoints(Path(folder), model, optimizer)
    with SaturationTracker(
        Path(folder, "run"),
        list(writers),
        model,
        initial_epoch="auto" if auto else checkpoints.last(),
        stats=STATS,
        writer_args={name: options for name, options in OPTIONS.items() if name in writers},
        config={"lr": 0.1, "epochs": EPOCHS},
    ) as tracker:
        checkpoints.load(tracker.epoch)
        for epoch in range(tracker.epoch, EPOCHS):
            loss = _train_epoch(model, optimizer, epoch)
            if auto:
                checkpoints.save(epoch + 1)
            for name, value in _scalars(epoch, loss).items():
                tracker.add_scalar(name, value)
            tracker.add_scalar(ATTEMPT, attempt)
            tracker.add_saturations()
            if not auto and (epoch + 1) % CHECKPOINT_EVERY == 0:
                checkpoints.save(epoch + 1)


def _train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> float:
    torch.manual_seed(epoch)  # also for the embedding, which is random
    data, targets = torch.randn(BATCHES, 32, 6), torch.randn(BATCHES, 32, 4)
    for batch, target in zip(data, targets, strict=True):
        crash_points.reached("batch")
        optimizer.zero_grad()
        loss: Tensor = nn.functional.mse_loss(model.train()(batch), target)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        model.eval()(data[0])
    return loss.item()


def _scalars(epoch: int, loss: float) -> dict[str, float]:
    """One that is always there, one that comes rarely, one that comes late and is NaN at times."""
    rare = {"rare/score": epoch / 7} if epoch % 3 == 0 else {}
    late = {"late": math.nan if epoch == 5 else -loss} if epoch > 3 else {}
    return {"loss": loss, **rare, **late}


@dataclass
class Checkpoints:
    """The training's own state, in one file for each epoch that it can go on from."""

    folder: Path
    model: nn.Module
    optimizer: torch.optim.Optimizer

    def save(self, epoch: int) -> None:
        """Save what :meth:`load` needs to go on from this epoch."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state, self.folder / "checkpoint.tmp")
        crash_points.reached("checkpoint")
        (self.folder / "checkpoint.tmp").replace(self._path(epoch))

    def load(self, epoch: int) -> None:
        """Go on from an epoch, if it is not the first."""
        if epoch:
            state = torch.load(self._path(epoch), weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])

    def last(self) -> int:
        """The last epoch that can be gone on from."""
        saved = [int(path.stem.rpartition("-")[2]) for path in self.folder.glob("checkpoint-*.pt")]
        return max(saved, default=0)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"checkpoint-{epoch:03d}.pt"


# --- what the backends hold ----------------------------------------------------------------------


@dataclass
class Contents:
    """What each backend holds of a run, by its own reader.

    Attributes:
        points: All values of each backend that has numbers.
        arrays: The arrays, by place and file name.
        pictures: The pixels of each picture, by place and file name.
        remote_states: The remote runs' states, where not each is one run that has ended well.
    """

    points: dict[str, list[Point]] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    remote_states: dict[str, str] = field(default_factory=dict)


def read_all(
    folder: Path,
    log: Path,
    wandb_server: WandbServer | None,
    damaged: bool = False,
    writers: Sequence[str] = WRITERS,
) -> Contents:
    """Read every backend of the run that :func:`train` recorded.

    Args:
        folder: The training's folder.
        log: What its processes printed.
        wandb_server: The server that it recorded to, None where it was offline; MLflow's is the
            tracking URI in force.
        damaged: Whether the journal may have lines that cannot be read.
        writers: The writers.
    """
    run = folder / "run"
    assert damaged or len(list(journal_lines(run))), "a journal has a line"
    contents = Contents({"journal": read_points_of("journal", run)})
    for name in writers:
        match name:
            case "plot":  # it has pictures
                continue
            case "mlflow":
                points = _mlflow_points(mlflow_run(run).info.run_id)
            case "wandb":
                points = _wandb_points(run, wandb_server)
            case "print":
                points = _printed_points(log)
            case _:
                points = read_points_of(name, run)
        contents.points[name] = points
    for path in (run / "npy").glob("*-*/*/epoch*.npy"):
        contents.arrays[str(path.relative_to(run / "npy"))] = _array(path)
    for path in (run / "plots").glob("*/*.png"):
        contents.pictures[str(path.relative_to(run / "plots"))] = _pixels(path)
    if "mlflow" in writers and (state := mlflow_run(run).info.status) != "FINISHED":
        contents.remote_states["mlflow"] = state
    if (
        "wandb" in writers
        and wandb_server
        and (state := wandb_run(run, wandb_server).state) != "finished"
    ):
        contents.remote_states["wandb"] = state
    return contents


def read_points_of(backend: str, run: Path) -> list[Point]:
    """All values that a local backend holds of the run in this folder."""
    match backend:
        case "csv":
            return _csv_points(run)
        case "npy":
            return _npy_points(run)
        case "tensorboard":
            return read_tensorboard_points(run)
        case "journal":
            return _flat(journal_rows(run, damaged=True))
    return list(installed_writers.reader(backend)(run))


def mlflow_run(run: Path) -> Any:
    """The one MLflow run in force that records this run."""
    from mlflow import MlflowClient

    run_id = next(journal_lines(run, damaged=True))["run_id"]
    found = MlflowClient().search_runs(["0"], f"tags.`delve.run_id` = '{run_id}'")
    in_force = [each for each in found if "delve.superseded_by" not in each.data.tags]
    assert len(in_force) == 1, f"{len(in_force)} MLflow runs record {run}"
    assert "delve.state" not in in_force[0].data.tags, "the MLflow run is marked as unfinished"
    return in_force[0]


def wandb_run(run: Path, server: WandbServer) -> StoredRun:
    """The W&B run that records this run."""
    return server.runs[remembered(run, "wandb")["run_id"]]


def _flat(rows: Mapping[int, Mapping[str, float]]) -> list[Point]:
    return [(epoch, name, value) for epoch, row in rows.items() for name, value in row.items()]


def _csv_points(run: Path) -> list[Point]:
    import pandas as pd

    name = remembered(run, "csv").get("file", "metrics.csv")
    table = pd.read_csv(run / name, dtype=str, keep_default_na=False)
    return [
        (int(row["epoch"]), str(name), float(cell))
        for row in table.to_dict("records")
        for name, cell in row.items()
        if name != "epoch" and cell
    ]


def _npy_points(run: Path) -> list[Point]:
    from delve_npy import has_value

    name = remembered(run, "npy").get("scalars", "scalars.npz")
    with np.load(run / "npy" / name, allow_pickle=False) as arrays:
        epochs = arrays["epoch"].tolist()
        return [
            (epoch, name, value)
            for name in arrays.files
            if name != "epoch"
            for epoch, value, is_there in zip(
                epochs, arrays[name].tolist(), has_value(arrays[name]), strict=True
            )
            if is_there
        ]


def _mlflow_points(run_id: str) -> list[Point]:
    from mlflow import MlflowClient

    client = MlflowClient()
    return [
        (point.step, key, point.value)
        for key in client.get_run(run_id).data.metrics
        for point in client.get_metric_history(run_id, key)
    ]


def _wandb_points(run: Path, server: WandbServer | None) -> list[Point]:
    points: list[Point] = []
    if server:
        rows = wandb_run(run, server).rows
    else:
        rows = [row | {"_step": step} for step, row in unsynced_rows(run).items()]
    for row in rows:
        assert row["_step"] == row["epoch"], f"W&B holds epoch {row['epoch']} as {row['_step']}"
        points += [
            (row["epoch"], name, float(value))
            for name, value in row.items()
            if name != "epoch" and not name.startswith("_")
        ]
    return points


_PRINTED = re.compile(r"epoch +(\d+)  (.+) = (\S+)")


def _printed_points(log: Path) -> list[Point]:
    matches = map(_PRINTED.fullmatch, log.read_text(encoding="utf-8").splitlines())
    return [(int(m[1]), m[2], float(m[3])) for m in matches if m]


def _array(path: Path) -> np.ndarray:
    """The array in a file; in one that cannot be read there is none."""
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except Exception:  # a damaged header raises whatever its bytes lead to
        return np.empty(0)


def _pixels(path: Path) -> np.ndarray:
    """The picture in a file; in one that cannot be read there is none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError):  # as Pillow has it
        return np.empty(0)
