"""Wide layers for real: one block of a Llama-7B within its share of memory, and two ranks' end.

    python tests/benchmarks/wide.py block
    python tests/benchmarks/wide.py ranks [--before FOLDER]

``block`` trains one block of 4096 and 11008 features, and evaluates it, with the 32nd part of the
default memory limit, and says what is held. ``ranks`` ends epochs of eight layers of 1024 features
on two processes: processor time, and how far the peak of memory rises, in layers (a matrix of
float64); with a checkout of before, both take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

BLOCKS, LIMIT = 32, 3 * 2**30
WIDTH, LAYERS = 1024, 8


def block() -> None:
    """What a block holds."""
    import torch
    from torch import nn

    import delve

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("q", "k", "v", "o"):
                setattr(self, name, nn.Linear(4096, 4096, bias=False))
            self.gate, self.up = (nn.Linear(4096, 11008, bias=False) for _ in range(2))
            self.down = nn.Linear(11008, 4096, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.o(torch.tanh(self.q(x)) * self.k(x) + self.v(x))
            return x + self.down(nn.functional.silu(self.gate(x)) * self.up(x))

    torch.manual_seed(0)
    model = Block()
    tracker = delve.SaturationTracker(
        tempfile.mkdtemp(),
        _Nowhere(),
        model,
        memory_limit=LIMIT // BLOCKS,
        timeseries_method="timestepwise",
    )
    rows, plain = [], []
    for _ in range(2):
        for train in (True, False):
            model.train(train)
            for _ in range(2):
                x = torch.randn(1, 512, 4096)
                with tracker.mode("off"):
                    begun = time.process_time()
                    model(x).sum().backward() if train else model(x)
                    plain.append(time.process_time() - begun)
                begun = time.process_time()
                model(x).sum().backward() if train else model(x)
                rows.append(time.process_time() - begun)
        held = sum(tensor.untyped_storage().nbytes() for tensor in _tensors(tracker.state_dict()))
        begun = time.process_time()
        tracker.add_saturations()
        end = time.process_time() - begun
    tracker.close()
    whole = held * BLOCKS / 2**30
    print(f"held {held / 2**20:.0f} MiB in both modes, {whole:.2f} GiB in {BLOCKS} blocks")
    print(f"passes {sum(rows) / sum(plain):.2f} of untracked; end of epoch {end:.2f} s")


def ranks(before: Path | None) -> None:
    """What the end of an epoch takes on two ranks."""
    folders = {"now": None} | ({"before": before} if before else {})
    found: dict[str, list[list[dict[str, float]]]] = {name: [] for name in folders}
    for turn in range(3):
        for name, folder in folders.items():
            found[name].append(_two(folder, 29500 + 10 * turn))
    for name, turns in found.items():
        for rank in (0, 1):
            cpu = statistics.median(turn[rank]["cpu"] for turn in turns)
            peak = statistics.median(turn[rank]["peak"] for turn in turns)
            print(f"{name:7} rank {rank}: {cpu:6.2f} s of the processor, peak +{peak:.1f} layers")


def one_rank() -> None:
    """A process of ``ranks``."""
    import torch
    import torch.distributed as dist
    from torch import nn

    import delve

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))
    tracker = delve.SaturationTracker(os.environ["RUN"], _Nowhere(), model, stats=["lsat", "erank"])
    times, peaks = [], []
    for _ in range(3):
        with torch.no_grad():
            for _ in range(4):
                model(torch.randn(1024, WIDTH))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        begun = time.process_time()
        tracker.add_saturations()
        times.append(time.process_time() - begun)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - peak)
    tracker.close()
    told = {"cpu": statistics.median(times), "peak": max(peaks) / (8 * WIDTH**2)}
    Path(f"{os.environ['RUN']}-{dist.get_rank()}.json").write_text(json.dumps(told))
    dist.barrier()
    os._exit(0)


class _Nowhere:
    """A writer that keeps nothing."""

    def save(self) -> None:
        """Take a row."""


def _two(folder: Path | None, port: int) -> list[dict[str, float]]:
    run = tempfile.mkdtemp()
    environment = os.environ | {"RUN": run, "OMP_NUM_THREADS": "1"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    if folder is not None:
        environment["PYTHONPATH"] = str(folder)
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "rank"],
            env=environment | {"RANK": str(rank)},
            stderr=subprocess.DEVNULL,
        )
        for rank in (0, 1)
    ]
    for process in processes:
        process.wait()
    return [json.loads(Path(f"{run}-{rank}.json").read_text()) for rank in (0, 1)]


def _tensors(state: object) -> list[Any]:
    if isinstance(state, dict):
        return [tensor for value in state.values() for tensor in _tensors(value)]
    if isinstance(state, list | tuple):
        return [tensor for value in state for tensor in _tensors(value)]
    return [state] if hasattr(state, "untyped_storage") else []


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["block", "ranks", "rank"])
    parser.add_argument("--before", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.what == "block":
        block()
    elif given.what == "ranks":
        ranks(given.before)
    else:
        one_rank()


if __name__ == "__main__":
    main()
