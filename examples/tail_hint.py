"""How often the tail hint of ``delve show`` is right: random networks, and probes as the truth.

Forty multilayer perceptrons of random depth, width and shape are trained on scikit-learn's digits,
some of them noisy, or on what a random network of two hidden layers says of noise; a quarter is not
trained at all. Linear probes (ridge regression on a layer's outputs) then say how well each
layer's outputs tell the classes on held-out samples. A network *has* a tail if at
least two of its last hidden layers add nothing: the probe before them is within half a point of the
best. Cutting such a network there and training it again has to keep the accuracy; a sample is
trained again, to show it.

Printed is, network by network and in sum, what the hint says, in how many it is right (hits), where
it is wrong (false alarms), and what it misses. It takes some minutes.

| seed | tails | hint by dimensionalities: hits, false alarms, misses | by saturation alone |
| --- | --- | --- | --- |
| 0 | 20 of 40 | 17, 1, 3 | 14, 4, 6 |
| 2 | 18 of 40 | 16, 1, 2 | 13, 4, 5 |
| 3 | 28 of 40 | 21, 1, 7 | 16, 3, 12 |

The rule was chosen on some twenty networks each of the seeds 0 to 2; seed 3 is new to it. What it
misses are, but for four, networks of three or four hidden layers, where a tail of two cannot be
told from a last step of the work; the four have five or six, whose dimensionalities fall in small
steps. The false alarms are two layers that still add a little at low dimension, and an untrained
network. Nine that were cut at the hint and trained
again all gained: .307 -> .598, .839 -> .924, .405 -> .573, .387 -> .585, .377 -> .548,
.869 -> .917, .662 -> .919, .533 -> .595, .902 -> .922.

    python examples/tail_hint.py --seed 0
    python examples/tail_hint.py --seed 1 --retrain 8
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import delve

NETWORKS, TRAINED_ON, CLASSES = 40, 1400, 10
WITHIN = 0.005  # of the best probe's accuracy: a layer that is no worse has all there is
FEWEST = 2  # layers that add nothing make a tail


@dataclass
class Case:
    """A network, how it is trained, and what came of it."""

    widths: list[int]
    inputs: int
    noise: float
    epochs: int
    probes: list[float] = field(default_factory=list)
    accuracy: float = 0.0
    hint: list[str] = field(default_factory=list)

    def model(self) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inputs, outputs in zip([self.inputs, *self.widths], self.widths, strict=False):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(self.widths[-1], CLASSES))

    @property
    def productive(self) -> int:
        """How many hidden layers it takes to have what the best one has."""
        best = max(self.probes)
        return next(n for n, one in enumerate(self.probes, 1) if one >= best - WITHIN)

    @property
    def has_tail(self) -> bool:
        return self.epochs > 0 and len(self.widths) - self.productive >= FEWEST


def random_case(generator: np.random.Generator) -> Case:
    """Depth 2 to 10, constant, narrowing or hourglass widths; one of four is not trained."""
    depth = int(generator.integers(2, 11))
    width = int(generator.choice([24, 32, 48, 64, 96, 128]))
    shape = generator.choice(["constant", "constant", "narrowing", "hourglass"])
    if shape == "narrowing":
        widths = np.geomspace(width, max(12, width // 4), depth)
    elif shape == "hourglass":
        half = np.abs(np.linspace(-1, 1, depth))
        widths = width * (0.4 + 0.6 * half)
    else:
        widths = np.full(depth, width)
    inputs = int(generator.choice([64, 16]))
    noise = float(generator.choice([0.0, 0.0, 0.5, 1.0])) if inputs == 64 else 0.0
    epochs = 0 if generator.random() < 1 / 4 else int(generator.choice([10, 20, 30]))
    return Case([round(one) for one in widths], inputs, noise, epochs)


def taught(inputs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise, and what a random network says of it, each class about as often."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(2000, inputs, generator=generator)
    hidden = samples
    for width in (24, 24):
        weights = torch.randn(hidden.shape[1], width, generator=generator)
        hidden = torch.tanh(2 * hidden @ weights / hidden.shape[1] ** 0.5)
    scores = hidden @ torch.randn(24, CLASSES, generator=generator)
    return samples, ((scores - scores.mean(dim=0)) / scores.std(dim=0)).argmax(dim=1)


def data(noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """The digits, of mean 0 and deviation 1, with noise."""
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32)
    images = (images - images.mean()) / images.std()
    generator = torch.Generator().manual_seed(seed)
    return images + noise * torch.randn(images.shape, generator=generator), torch.tensor(
        digits.target
    )


def train(
    model: nn.Sequential, case: Case, images: Tensor, labels: Tensor, folder: Path | None
) -> float:
    """Train a network; its accuracy on held-out samples. Tracked at the end, where a folder is."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    x, y = images[:TRAINED_ON], labels[:TRAINED_ON]
    for _ in range(case.epochs):
        for some in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model(x[some]), y[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        if folder is not None:
            stats = ["lsat", "idim", "csat", "cidim", "erank", "pr", "health"]
            with delve.SaturationTracker(folder, "csv", model, stats=stats) as tracker:
                model(x)
                tracker.add_saturations()
        found = model(images[TRAINED_ON:]).argmax(dim=1)
    return float((found == labels[TRAINED_ON:]).float().mean())


def probes(model: nn.Sequential, images: Tensor, labels: Tensor) -> list[float]:
    """The accuracy on held-out images of a ridge regression on each hidden layer's outputs."""
    accuracies, x = [], images
    targets = nn.functional.one_hot(labels, CLASSES).double()
    with torch.no_grad():
        for layer in list(model)[:-1]:
            x = layer(x)
            if not isinstance(layer, nn.ReLU):
                continue
            features = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
            seen = features[:TRAINED_ON]
            gram = seen.T @ seen
            gram += 1e-3 * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
            weights = torch.linalg.solve(gram, seen.T @ targets[:TRAINED_ON])
            found = (features[TRAINED_ON:] @ weights).argmax(dim=1)
            accuracies.append(float((found == labels[TRAINED_ON:]).float().mean()))
    return accuracies


def hinted(folder: Path) -> list[str]:
    """The layers that ``delve show`` marks as a tail."""
    command = [sys.executable, "-m", "delve", "show", str(folder), "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return next((list(one["tail"]) for one in told[0]["stats"] if one["tail"]), [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=NETWORKS)
    parser.add_argument("--retrain", type=int, default=4, help="how many are cut and trained again")
    parser.add_argument("--keep", type=Path, help="where to keep the runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(given.seed)
    root = given.keep or Path(tempfile.mkdtemp())
    counts = {"hits": 0, "false alarms": 0, "misses": 0, "rightly silent": 0}
    retrained = 0
    for number in range(given.networks):
        case = random_case(generator)
        torch.manual_seed(1000 * given.seed + number)
        is_taught = case.inputs != 64
        images, labels = taught(case.inputs, number) if is_taught else data(case.noise, number)
        model, folder = case.model(), root / f"{given.seed}-{number:02}"
        case.accuracy = train(model, case, images, labels, folder)
        case.probes = probes(model, images, labels)
        case.hint = hinted(folder)
        said = bool(case.hint)
        outcome = {
            (True, True): "hits",
            (True, False): "false alarms",
            (False, True): "misses",
            (False, False): "rightly silent",
        }[said, case.has_tail]
        counts[outcome] += 1
        (folder / "truth.json").write_text(json.dumps(vars(case) | {"has_tail": case.has_tail}))
        again = ""
        if outcome == "hits" and retrained < given.retrain:
            retrained += 1
            kept = len(case.widths) - sum(name != str(2 * len(case.widths)) for name in case.hint)
            short = Case(case.widths[: max(kept, 1)], case.inputs, case.noise, case.epochs)
            accuracy = train(short.model(), short, images, labels, None)
            again = f"; cut to {kept} layers: {case.accuracy:.3f} -> {accuracy:.3f}"
        print(
            f"{number:2} {outcome:14} depth {len(case.widths):2} widths {case.widths[0]:3} to "
            f"{case.widths[-1]:3} inputs {case.inputs} noise {case.noise:.1f} epochs "
            f"{case.epochs:2} productive {case.productive:2} accuracy "
            f"{case.accuracy:.3f} hint {len(case.hint)}{again}",
            flush=True,
        )
    print(", ".join(f"{count} {name}" for name, count in counts.items()))


if __name__ == "__main__":
    main()
