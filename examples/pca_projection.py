"""How much of a network's accuracy lies in the leading directions of its layers.

Behind every layer of the small network on handwritten digits stands a PCA layer. After training,
all of them at once project onto the directions that explain a threshold of the variance, and,
for comparison, onto as many random directions. The experiment is that of Richter et al., arXiv
2006.08679, in small: in a deeper network the losses of more layers add up.

Run it with ``python examples/pca_projection.py`` where Delve, scikit-learn and matplotlib are
installed. It writes ``runs/pca_projection/accuracy.png``.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import digits
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor, nn
from tqdm.auto import tqdm

from delve.pca_layers import (
    Conv2DPCALayer,
    LinearPCALayer,
    change_all_pca_layer_thresholds,
    change_all_pca_layer_thresholds_and_inject_random_directions,
)

EVERYTHING = 2.0  # a threshold above 1 keeps every direction
THRESHOLDS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, EVERYTHING)
SEEDS = 3
EPOCHS = 6
RANDOM_DRAWS = 3
LEARNING_RATE = 2e-3
GUESSING = 0.1  # ten classes
RUN = Path("runs/pca_projection")


@dataclass(frozen=True)
class Result:
    """One trained network at one threshold.

    Attributes:
        threshold: The share of the variance that is kept in each layer.
        directions: The directions that this takes, in percent, averaged over the layers.
        eigenspace: Test accuracy in the eigenspace.
        random: Test accuracy with as many random directions, averaged over some draws.
    """

    threshold: float
    directions: float
    eigenspace: float
    random: float


def main(seeds: int = SEEDS, epochs: int = EPOCHS, run: Path = RUN) -> None:
    *train, test_images, test_labels = digits.load()
    results = []
    with tqdm(total=seeds * (epochs + len(THRESHOLDS)), desc="experiment") as progress:
        for seed in range(seeds):
            torch.manual_seed(seed)
            np.random.seed(seed)  # the random directions come from NumPy
            model = with_pca_layers(digits.network())
            optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
            for _ in range(epochs):
                for _ in digits.train_epoch(model, optimizer, *train):
                    pass
                # For the PCA layers an epoch ends with the first evaluation that follows.
                accuracy = digits.accuracy(model, test_images, test_labels)
                progress.set_postfix(seed=seed, accuracy=f"{accuracy:.3f}")
                progress.update()
            for threshold in THRESHOLDS:
                results.append(measure(model, threshold, test_images, test_labels))
                progress.update()
    run.mkdir(parents=True, exist_ok=True)
    picture = run / "accuracy.png"
    draw(results).savefig(picture, dpi=150)
    print()
    print(*table(results), sep="\n")
    print(f"\nThe plot: {picture}")


def with_pca_layers(network: nn.Module) -> nn.Module:
    """The same network with a PCA layer behind each convolution and each linear layer."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for name, module in network.named_children():
        modules[name] = module
        if isinstance(module, nn.Conv2d):
            modules[f"{name}_pca"] = Conv2DPCALayer(
                module.out_channels, verbose=False, centering=True
            )
        elif isinstance(module, nn.Linear):
            modules[f"{name}_pca"] = LinearPCALayer(module.out_features)
    return nn.Sequential(modules)


def measure(model: nn.Module, threshold: float, images: Tensor, labels: Tensor) -> Result:
    """Project every layer at this threshold, onto its eigenspace and onto random directions."""
    saturations, *_ = change_all_pca_layer_thresholds(threshold, model)
    eigenspace = digits.accuracy(model, images, labels)
    random = []
    for _ in range(RANDOM_DRAWS):
        change_all_pca_layer_thresholds_and_inject_random_directions(threshold, model)
        random.append(digits.accuracy(model, images, labels))
    return Result(threshold, mean(saturations), eigenspace, mean(random))


def table(results: Sequence[Result]) -> Iterator[str]:
    """Lines for the console, at most 80 columns wide."""
    yield "Test accuracy with every layer projected: mean (lowest to highest seed)"
    yield ""
    yield "variance kept  directions        in the eigenspace     in random directions"
    for threshold in THRESHOLDS:
        at = [result for result in results if result.threshold == threshold]
        directions = mean(result.directions for result in at)
        eigenspace = spread([result.eigenspace for result in at])
        random = spread([result.random for result in at])
        yield f"{name(threshold):>13}  {directions:>8.0f} %  {eigenspace:>23}  {random:>23}"


def name(threshold: float) -> str:
    """A threshold in percent."""
    return "all" if threshold == EVERYTHING else f"{100 * threshold:g} %"


def spread(accuracies: Sequence[float]) -> str:
    """Mean, lowest and highest, in percent."""
    average, lowest, highest = (
        100 * value for value in (mean(accuracies), min(accuracies), max(accuracies))
    )
    return f"{average:.1f} % ({lowest:.1f} to {highest:.1f})"


def draw(results: Sequence[Result]) -> Figure:
    """Accuracy against the threshold: the mean of the seeds, and their range as a band."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    places = range(len(THRESHOLDS))
    for kind, label, colour in (
        ("eigenspace", "leading eigenvectors", "tab:blue"),
        ("random", "as many random directions", "tab:orange"),
    ):
        accuracies = np.array(
            [
                [getattr(result, kind) for result in results if result.threshold == threshold]
                for threshold in THRESHOLDS
            ]
        )
        axes.plot(places, accuracies.mean(axis=1), "o-", color=colour, label=label)
        lowest, highest = accuracies.min(axis=1), accuracies.max(axis=1)
        axes.fill_between(places, lowest, highest, color=colour, alpha=0.25, linewidth=0)
    axes.axhline(GUESSING, color="grey", linewidth=1, linestyle=":", label="guessing")
    axes.set_xticks(places, [name(threshold) for threshold in THRESHOLDS])
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlabel("variance kept in every layer")
    axes.set_ylabel("test accuracy")
    axes.set_title("Handwritten digits, every layer projected", fontsize="medium")
    axes.legend(loc="center left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # for --help
    main()
