"""One side of the overhead benchmark: whichever `delve` is on the path, on one model.

Reads commands from standard input, one a line, and answers each with a line of JSON: ``step``
(CPU and wall seconds of an untracked and of a tracked training step), ``epoch`` (of the end of an
epoch), ``memory`` (MiB).
"""

from __future__ import annotations

import contextlib
import copy
import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models  # type: ignore[import-not-found]
import torch
from torch import Tensor, nn


class Step:
    """A training step of its own copy of a network."""

    def __init__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
        self.model = model
        self.inputs, self.labels = batch
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def __call__(self) -> None:
        outputs = self.model(self.inputs)
        loss = nn.functional.cross_entropy(outputs.flatten(0, -2), self.labels.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def track(model: nn.Module, device: str, all_tokens: bool) -> Callable[[], None]:
    """Track a network; returns what ends its epoch."""
    import delve

    # 0.1.50 computes on the device it is told, and takes writers of its own class only.
    from delve.writers import AbstractWriter

    class Nowhere(AbstractWriter):
        def resume_from_saved_state(self, initial_epoch: int) -> None: ...
        def add_scalar(self, name: str, value: float, **_: object) -> None: ...
        def add_scalars(self, prefix: str, value_dict: dict, **_: object) -> None: ...
        def save(self) -> None: ...
        def close(self) -> None: ...

    options = {"timeseries_method": "timestepwise"} if all_tokens else {}
    tracker = delve.SaturationTracker(
        tempfile.mkdtemp(), Nowhere(), model, stats=["lsat"], device=device, **options
    )
    return tracker.add_saturations


def timed(action: Callable[[], None], device: str) -> tuple[float, float]:
    """CPU and wall seconds; on a GPU, until it is done."""
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    synchronize()
    return time.process_time() - cpu, time.perf_counter() - wall


def peak(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    name, device, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answers = sys.stdout
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    make_model, make_batch = models.MODELS[name]
    inputs, labels = make_batch()
    batch = (inputs.to(device), labels.to(device))
    plain = Step(make_model().to(device), batch)
    tracked = Step(copy.deepcopy(plain.model), batch)
    for step in (plain, tracked, plain, tracked):
        step()
    before = peak(device)
    with contextlib.redirect_stdout(sys.stderr):
        end_epoch = track(tracked.model, device, name in models.ALL_TOKENS)
        answer: dict[str, Any]
        for command in map(str.strip, sys.stdin):
            if command == "step":
                answer = {
                    "plain": timed(plain, device),
                    "tracked": timed(tracked, device),
                }
            elif command == "epoch":
                answer = {"epoch": timed(end_epoch, device)}
            else:
                answer = {"memory": peak(device) - before}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
