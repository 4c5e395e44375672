"""Loops of Accelerate's in a process of their own, which may be killed.

``python accelerate_runs.py SCENARIO...`` with each scenario a JSON object; see :func:`train`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 2
BATCHES = 12
ROW_EVERY = 5  # optimizer steps
SAVE_EVERY = 4
KILL_DELAY = 0.5  # seconds: W&B writes a run of the user's when it likes to


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def train(scenario: dict[str, Any]) -> None:
    """Train once.

    Args:
        scenario: ``out``, the folder; ``delve``, the arguments of ``track``, None for none;
            ``log_with``; ``accelerator``, further arguments; ``sharded``, whether by FSDP2;
            ``batch``, its size; ``kill_at``, a step; ``resume``, whether to go on from the last
            checkpoint; ``saves_first``, whether checkpoints are of the steps of rows, and before
            them; ``witness``, a file for what the last layer returned.
    """
    out = Path(scenario["out"])
    accelerator = Accelerator(
        project_dir=str(out),
        log_with=scenario.get("log_with"),
        cpu=True,
        **scenario.get("accelerator", {}),
    )
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(4 * BATCHES, 6, generator=generator) * torch.arange(1.0, 7)
    labels = inputs.abs().argmax(1) % 3
    batch_size = scenario.get("batch", 4)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=batch_size)
    held_out = DataLoader(TensorDataset(inputs[:8], labels[:8]), batch_size=batch_size)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    if scenario.get("sharded"):  # which Accelerate itself does on accelerators alone
        fully_shard(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    else:
        model = accelerator.prepare(model)
    optimizer, loader, held_out = accelerator.prepare(optimizer, loader, held_out)
    if scenario.get("resume_loggers"):
        from delve_accelerate import resume_loggers

        resume_loggers(accelerator)
    if scenario.get("log_with"):
        accelerator.init_trackers("loops", {"lr": 0.01, "name": scenario["name"]})
    seen: list[Any] = []
    if scenario.get("witness"):
        last_layer = accelerator.unwrap_model(model)[2]
        last_layer.register_forward_hook(
            lambda layer, _, output: seen.append((layer.training, output.detach().double()))
        )

    def keep(step: int, batches_done: int) -> None:
        folder = out / f"state-{step}"
        if not scenario.get("sharded"):
            accelerator.save_state(str(folder))
        if not scenario.get("sharded") and accelerator.is_main_process:
            (folder / "place.json").write_text(json.dumps([step, batches_done]))

    tracker = None
    if (options := scenario.get("delve")) is not None:
        import delve

        tracker = delve.accelerate.track(accelerator, model, **options)
    step = batches_done = 0
    if scenario.get("resume"):
        last = max(out.glob("state-*"), key=lambda path: int(path.name.partition("-")[2]))
        accelerator.load_state(str(last))
        step, batches_done = json.loads((last / "place.json").read_text())
    for epoch in range(EPOCHS):
        begin = epoch * len(loader)
        if batches_done >= begin + len(loader):
            continue
        batches: Any = loader
        if batches_done > begin:
            batches = accelerator.skip_first_batches(loader, batches_done - begin)
        for batch, target in batches:
            model.train()
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(batch), target)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            batches_done += 1
            if not accelerator.sync_gradients:
                continue
            step += 1
            if scenario.get("kill_at") == step:
                time.sleep(KILL_DELAY)
                os.kill(os.getpid(), signal.SIGKILL)
            if scenario.get("log_with") or (options or {}).get("carry_scalars"):
                accelerator.log({"loss": loss.item()}, step=step)
            if scenario.get("saves_first") and step % ROW_EVERY == 0:
                keep(step, batches_done)
            if step % ROW_EVERY == 0:
                model.eval()
                with torch.no_grad():
                    for batch, _ in held_out:
                        model(batch)
                if tracker is not None:
                    tracker.add_saturations(step=step)
            if not scenario.get("saves_first") and step % SAVE_EVERY == 0:
                keep(step, batches_done)
    accelerator.end_training()
    if scenario.get("witness"):
        torch.save(seen, scenario["witness"])


if __name__ == "__main__":
    for text in sys.argv[1:]:
        AcceleratorState._reset_state(reset_partial_state=True)  # of the training before
        GradientState._reset_state()
        train(json.loads(text))
