"""Train on handwritten digits in several processes; their layers are recorded as if in one.

    torchrun --nproc-per-node 2 examples/distributed.py

Each process trains on its own part of the images. Constructing the tracker and
``add_saturations`` are collective: every process calls them, none under ``if rank == 0``. The
first process alone writes, here to ``runs/distributed``. At the end it computes the same
statistics from all samples in one process, and the exit status is 1 if they differ.
"""

from __future__ import annotations

import argparse
import csv
import gc
import sys
from pathlib import Path

import digits
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from delve import SaturationTracker

EPOCHS = 3
RUN = Path("runs/distributed")
STATS = ["lsat", "idim"]
TOLERANCE = 1e-6


def main() -> int:
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    differences = train(rank, world)
    # The group's threads end with it, once no DistributedDataParallel holds it any more. Where one
    # is there when Python ends, torch may abort the process.
    gc.collect()
    dist.destroy_process_group()
    if rank == 0:
        print(f"{world} processes against one: the largest difference is {differences:.1e}")
    return int(differences > TOLERANCE)


def train(rank: int, world: int) -> float:
    """Train and record; the first process returns the largest difference from a single one."""
    torch.manual_seed(0)  # the same network everywhere
    images, labels, test_images, _ = digits.load()
    model = DistributedDataParallel(digits.network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    weights: list[dict[str, Tensor]] = []

    with SaturationTracker(RUN, save_to="csv", modules=model, stats=STATS) as tracker:
        for epoch in range(EPOCHS):
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
            mine = order[rank::world]
            model.train()
            nn.functional.cross_entropy(model(images[mine]), labels[mine]).backward()
            # The evaluation: other numbers of batches in each process, none at all in the last.
            model.eval()
            with torch.no_grad():
                for batch in test_images[rank :: world - 1 or 1].split(50):
                    if rank < world - 1 or world == 1:
                        model.module(batch)
            weights.append({key: value.clone() for key, value in model.state_dict().items()})
            tracker.add_saturations()
            optimizer.step()
            optimizer.zero_grad()

    return compare(weights, images, test_images) if rank == 0 else 0.0


def compare(weights: list[dict[str, Tensor]], images: Tensor, test_images: Tensor) -> float:
    """The largest difference of the recorded table from the statistics of one process."""
    with (RUN / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    differences = []
    for row, state in zip(rows, weights, strict=True):
        network = digits.network()
        network.load_state_dict({key.removeprefix("module."): v for key, v in state.items()})
        for mode, samples in (("train", images), ("eval", test_images)):
            for layer, output in outputs(network, samples).items():
                saturation = saturation_of(output)
                found = float(row[f"{mode}-saturation/{layer}"])
                differences.append(abs(found - saturation))
    return max(differences)


@torch.no_grad()
def outputs(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Each tracked layer's samples, as rows."""
    found = {}
    for name, layer in network.named_children():
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            found[name] = x.movedim(1, -1).reshape(-1, x.shape[1])
    return found


def saturation_of(samples: Tensor) -> float:
    """Saturation by its definition."""
    eigenvalues = torch.linalg.eigvalsh(torch.cov(samples.double().T)).flip(0).clamp(min=0)
    explained = eigenvalues.cumsum(0) / eigenvalues.sum()
    return float((explained < 0.99).sum() + 1) / len(eigenvalues)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # for --help
    sys.exit(main())
