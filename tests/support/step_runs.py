"""A training that counts steps, in a process of its own: it may be killed, and goes on by its step.

``python step_runs.py FOLDER KILL_AT`` trains from the checkpoint in the folder, if there is one, to
the end, or until a SIGKILL in step KILL_AT.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from delve import SaturationTracker

WRITERS = ("csv", "npy", "tensorboard", "mlflow", "wandb", "plot")
STEPS = 1000
EVERY = 100
CHECKPOINT_AT = 700
BATCH = 8


def train(folder: Path, kill_at: int, attempt: int) -> None:
    """Train from the last checkpoint to the end, or to the kill."""
    checkpoint = folder / "checkpoint.pt"
    done = torch.load(checkpoint)["step"] if checkpoint.exists() else 0
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    with SaturationTracker(
        folder / "run",
        list(WRITERS),
        model,
        stats=["lsat", "n"],
        initial_step=done,
        every=EVERY,
        writer_args={"plot": {"every": 1, "dpi": 40}},
    ) as tracker:
        for step in range(done + 1, STEPS + 1):
            torch.manual_seed(step)
            model(torch.randn(BATCH, 6) * torch.arange(1, 7) * step)
            tracker.add_scalar("loss", 1 / step)
            tracker.add_scalar("attempt", attempt)
            if step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            tracker.add_saturations(step=step)
            if step == CHECKPOINT_AT and kill_at:
                torch.save({"step": step}, checkpoint)


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
