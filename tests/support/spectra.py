"""Samples of chosen spectra, drifting and rounded, and what is true of them, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from delve.numerics.directions import Directions
from delve.numerics.sketch import Sketch

SPECTRA = {
    "i^-1": lambda i: i**-1.0,
    "i^-1.5": lambda i: i**-1.5,
    "i^-2": lambda i: i**-2.0,
    "exp(-i/2)": lambda i: np.exp(-i / 2),
    "exp(-i/10)": lambda i: np.exp(-i / 10),
    "flat": lambda i: np.ones_like(i),
    "rank 1": lambda i: (i <= 1) * 1.0,
    "rank 5": lambda i: (i <= 5) * 1.0,
    "rank 30": lambda i: (i <= 30) * 1.0,
    "two levels": lambda i: np.where(i <= 3, 1.0, 1e-3),
    "massive channel": lambda i: i**-1.5,
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
THRESHOLDS = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class Case:
    """One training's worth of samples, and how they come.

    Attributes:
        seed: Of all that is random.
        spectrum: A key of ``SPECTRA``.
        features: Of a sample.
        samples: How many, in each epoch.
        columns: Of the sketch.
        batch: Samples at a time.
        dtype: Of the samples.
        drift: How far the mean moves in an epoch, in standard deviations of all features together.
        offset: How far it is from 0 at first.
        parts: How many sketches the samples are spread over, which are merged.
        resumes: How often the sketch goes through its state.
        epochs: The directions of each come from the one before.
    """

    seed: int
    spectrum: str
    features: int
    samples: int
    columns: int
    batch: int
    dtype: torch.dtype
    drift: float
    offset: float
    parts: int
    resumes: int
    epochs: int

    @classmethod
    def random(cls, seed: int) -> Case:
        """Any, by a number."""
        draw = np.random.default_rng(seed)
        features = int(draw.choice([3, 17, 64, 130, 300, 600]))
        return cls(
            seed=seed,
            spectrum=str(draw.choice(list(SPECTRA))),
            features=features,
            samples=int(draw.choice([1, 2, 5, 40, 200, 700, 2500])),
            columns=int(draw.choice([1, 4, 16, 48, 96])),
            batch=int(draw.choice([1, 7, 32, 64, 300])),
            dtype=DTYPES[draw.choice(4, p=[0.4, 0.3, 0.15, 0.15])],
            drift=float(draw.choice([0, 0, 0.5, 5, 100])),
            offset=float(draw.choice([0, 0, 1, 30, 1e4])),
            parts=int(draw.choice([1, 1, 2, 5])),
            resumes=int(draw.choice([0, 0, 1, 3])),
            epochs=int(draw.choice([1, 2, 3])),
        )

    def batches(self) -> list[list[Tensor]]:
        """The batches of each epoch."""
        generator = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        ranks = np.arange(1, self.features + 1, dtype=float)
        deviations = torch.from_numpy(np.asarray(SPECTRA[self.spectrum](ranks))).sqrt()
        turned = torch.linalg.qr(normal(self.features, self.features))[0]
        deviations = deviations / deviations.norm()
        way, start = normal(self.features), normal(self.features)
        way, start = way / way.norm() * self.drift, start / start.norm() * self.offset
        epochs = []
        for _ in range(self.epochs):
            rows = (normal(self.samples, self.features) * deviations) @ turned.T
            if self.spectrum == "massive channel":
                rows[:, self.features // 2] += 30 * normal(self.samples)
            rows += start + torch.linspace(0, 1, self.samples, dtype=torch.float64)[:, None] * way
            epochs.append(list(rows.to(self.dtype).split(self.batch)))
        return epochs


def sketched(case: Case) -> list[tuple[Tensor, Sketch]]:
    """The samples of each epoch, and their sketch."""
    directions = Directions.random(
        case.features, min(case.columns, case.features), torch.device("cpu")
    )
    results = []
    for batches in case.batches():
        parts = [Sketch(directions) for _ in range(case.parts)]
        pauses = {round((i + 1) * len(batches) / (case.resumes + 1)) for i in range(case.resumes)}
        for number, batch in enumerate(batches):
            if number in pauses:
                parts = [Sketch.from_state_dict(part.state_dict(), directions) for part in parts]
            parts[number % case.parts].update(batch)
        whole = parts[0]
        for part in parts[1:]:
            whole.merge(part)
        whole.bounds()
        directions = whole.following or directions
        results.append((torch.cat(batches), whole))
    return results


def leading_sums(samples: Tensor) -> np.ndarray:
    """The sums of the 1, 2, ... largest eigenvalues of the covariance, in float64."""
    rows = samples.double()
    rows = rows - rows.mean(dim=0)
    singular = torch.linalg.svdvals(rows).numpy()
    sums: np.ndarray = np.cumsum(singular**2)
    return sums


def exact_dimensionality(sums: np.ndarray, threshold: float) -> int:
    """How many eigenvalues reach the threshold; 1 where nothing varies."""
    return int(np.searchsorted(sums, threshold * sums[-1] * (1 - 1e-12)) + 1) if sums[-1] else 1
