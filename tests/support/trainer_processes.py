"""Programs of trainings, run in processes of their own with backends in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parent


def run_trainings(
    program: str,
    folder: Path,
    *scenarios: Mapping[str, Any],
    ranks: int = 1,
    expect: int = 0,
    **environment: str,
) -> None:
    """Train one after another, in one process or in several that torchrun begins.

    Args:
        program: A file of this folder.
        folder: Gets MLflow's database and W&B's files.
        scenarios: What the program is told.
        ranks: How many processes.
        expect: How the program has to end; -9 for a kill.
        environment: Variables, in the place of those by which the backends lie in the folder.
    """
    variables = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "WANDB_SILENT": "true",
        "CUDA_VISIBLE_DEVICES": "",
        **environment,
    }
    command = [sys.executable]
    if ranks > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command += [str(SUPPORT / program), *map(json.dumps, scenarios)]
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == expect, done.stderr[-4000:]
    assert "goes on without it" not in done.stderr
