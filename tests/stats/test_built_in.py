"""What the table says of Delve's own statistics is so, and every page knows them all."""

import inspect
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from delve import SaturationTracker
from delve.cli import main
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.layer_spectrum import Company, LayerSpectrum
from delve.numerics.tallies import Count, Maximum, PositiveSum, SequenceSpread
from delve.stats import eigenvalue_rank
from delve.stats.built_in import BUILT_IN, LEADING
from delve.stats.registry import SETS

README = Path(__file__).parents[2] / "README.md"

KEYS = {stat.key for stat in BUILT_IN}
# Where no feature outweighs the others, nothing varies, or samples are too few for two halves.
MAY_BE_NONE = {
    "saturation-without-leading-feature",
    "leading-feature",
    "leading-feature-share",
    "extrapolated-saturation",
    "saturation-error",
    "within-sequence-share",
}
INDEX = "leading-feature"  # a place, which is neither low nor high

NUMBERS = [stat for stat in BUILT_IN if not stat.is_array]


def spectrum_of(samples):
    """As the tracker makes it, with all that any statistic may ask for."""
    covariance, half = TorchCovarianceMatrix(save_data=True), TorchCovarianceMatrix()
    covariance.update(samples)
    half.update(samples[::2])
    maximum, positive, spread = Maximum(), PositiveSum(), SequenceSpread()
    maximum.update(samples)
    positive.update(samples)
    spread.update(samples[: len(samples) // 2 * 2].reshape(-1, 2, samples.shape[1]))
    trace = float(samples.double().var(dim=0, correction=0).sum())
    masked = Count()
    masked.update(3)
    company = Company(maximum, positive, spread, half, 7, 0.5, trace, masked)
    return LayerSpectrum(covariance, vectors=True, company=company)


# --- the pages -----------------------------------------------------------------------------------


def test_the_tracker_explains_them_all():
    text = inspect.getdoc(SaturationTracker)
    part = text[text.index("    stats: ") : text.index("    layerwise_sat: ")]
    explained = part.partition("for one mode alone:")[2]
    assert set(re.findall(r"``(\w+)``\s+\w", explained)) == KEYS


def test_the_readme_has_a_row_for_them_all():
    text = README.read_text(encoding="utf-8")
    rows = re.split(r"\n\n", text[text.index("| `stats` | long name |") :])[0].splitlines()
    assert {key for row in rows[2:] for key in re.findall(r"`(\w+)`", row.split("|")[1])} == KEYS


def test_the_help_of_show_names_all_that_a_journal_holds():
    shown = " ".join(CliRunner().invoke(main, ["show", "--help"]).output.split())
    (listed,) = re.findall(r"A recorded statistic: ([a-z0-9_, ]+?), one that is installed", shown)
    assert set(listed.split(", ")) == {stat.key for stat in NUMBERS}


# --- the table -----------------------------------------------------------------------------------


def test_no_two_have_one_long_name():
    assert len({stat.name for stat in BUILT_IN}) == len(BUILT_IN)


@pytest.mark.parametrize("stat", BUILT_IN, ids=lambda stat: stat.name)
def test_each_says_in_a_line_what_it_is(stat):
    assert stat.summary
    assert len(stat.summary) < 80
    assert "\n" not in stat.summary


def test_eigenvalues_and_what_leads_share_a_key():
    for stat in BUILT_IN:
        others = [other.name for other in BUILT_IN if other.key == stat.key]
        if stat.key == "top":
            assert len(others) == 4
            continue
        ranks = [eigenvalue_rank(name) for name in others]
        assert ranks == ([None, *range(1, LEADING + 1)] if stat.key == "spectrum" else [None])


def test_the_sets_are_keys_that_there_are():
    assert set(SETS["all"]) == {stat.key for stat in NUMBERS}
    assert set(SETS["health"]) < set(SETS["all"])
    assert not KEYS & set(SETS)


def test_what_every_run_can_afford_takes_no_further_decomposition():
    for stat in BUILT_IN:
        if stat.key in SETS["health"]:
            assert not stat.needs_eigenvalues
            assert "half" not in stat.gathers


@pytest.mark.parametrize("stat", BUILT_IN, ids=lambda stat: stat.name)
@given(
    samples=st.integers(1, 60),
    features=st.integers(1, 30),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    fall=st.sampled_from([0.0, -1.0, -4.0]),
    seed=st.integers(0, 2**16),
)
def test_values_lie_within_the_limits(stat, samples, features, scale, fall, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, features, generator=generator)
    x = scale * x * torch.logspace(0, fall, features)
    spectrum = spectrum_of(x)
    value = stat.compute(spectrum, 0.99)
    if value is None:
        rank = eigenvalue_rank(stat.name)
        assert rank > features if rank else stat.name in MAY_BE_NONE
        return
    assert isinstance(value, np.ndarray) == stat.is_array
    finite = np.asarray(value)[~np.isnan(value)]
    low, high = stat.limits
    rounding = 1e-9
    assert (finite >= low - rounding).all()
    assert (finite <= high + rounding).all()
    if stat.is_bounded_by_features:
        assert (finite <= features * (1 + rounding)).all()


@pytest.mark.parametrize("stat", NUMBERS, ids=lambda stat: stat.name)
def test_what_few_samples_bound_is_low_with_few_and_right_with_many(stat):
    """Outputs of equal variance in 40 directions: 20 samples span 19 of them."""
    generator = torch.Generator().manual_seed(0)
    few = stat.compute(spectrum_of(torch.randn(20, 40, generator=generator)), 0.99)
    many = stat.compute(spectrum_of(torch.randn(200_000, 40, generator=generator)), 0.99)
    is_count = stat.key == "n"
    if few is None or stat.name == INDEX:
        assert not stat.is_bounded_by_samples
        return
    is_low = few <= 0.5 * many and few < many and not is_count and not math.isnan(few)
    assert is_low == stat.is_bounded_by_samples
