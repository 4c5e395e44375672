"""What layers take, what the user allows, and which of them are gathered by sketch for it."""

import logging

import pytest
import torch
from torch import nn

from delve.capture.activations import SamplingMethods
from delve.capture.memory import MemoryLimit, MemoryPlan, sketch_bytes
from delve.capture.widths import plan_of, width_of
from delve.errors import ArgumentError
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.directions import Directions
from delve.numerics.footprint import exact_bytes, exact_estimate, in_words
from delve.numerics.sketch import Sketch

CPU = torch.device("cpu")
GIB = 2**30
# Of Llama-7B: 32 blocks of attention (4 x 4096), gate and up (11008) and down (4096), and a head.
SEVEN_BILLION = {
    f"layers.{block}.{name}": width
    for block in range(32)
    for name, width in (
        *((one, 4096) for one in ("q", "k", "v", "o", "down")),
        ("gate", 11008),
        ("up", 11008),
    )
} | {"lm_head": 32000}


def decided(plan):
    return {name: plan.columns_of(name, width, CPU) for name, width in plan.widths.items()}


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ("2GiB", 2 * GIB),
        ("2 gib", 2 * GIB),
        ("1.5MB", 1_500_000),
        ("100", 100),
        (3_000_000, 3_000_000),
    ],
)
def test_a_limit_in_bytes(given, limit):
    assert MemoryLimit.of(given).in_bytes(CPU) == limit


def test_a_share_is_one_of_what_is_free():
    tenth, half = (MemoryLimit.of(share).in_bytes(CPU) for share in (0.1, 0.5))
    assert 4.5 * tenth < half < 5.5 * tenth


def test_by_default_it_is_a_quarter_and_3_gib_at_most():
    assert MemoryLimit.of(None).in_bytes(CPU) <= min(MemoryLimit.of(0.3).in_bytes(CPU), 3 * GIB)


@pytest.mark.parametrize("given", ["much", "2 XiB", "", 0, -1, 1.5, True, [1], "-2GiB", "0"])
def test_what_is_no_limit_is_refused(given):
    with pytest.raises(ArgumentError, match="memory_limit must be bytes"):
        MemoryLimit.of(given)


def test_layers_that_fit_are_all_gathered_exactly():
    plan = MemoryPlan(MemoryLimit.of("1GiB"), widths={"a": 512, "b": 1024})
    assert set(decided(plan).values()) == {0}


def test_the_widest_are_sketched_first_and_those_of_one_width_alike(caplog):
    widths = {"a": 512, "b": 4096, "c": 4096, "d": 512}
    plan = MemoryPlan(MemoryLimit.of("100MiB"), widths=widths)
    columns = decided(plan)
    assert columns["a"] == columns["d"] == 0
    assert columns["b"] == columns["c"] > 0
    assert caplog.text.count("gathered by sketch") == 1
    assert "b, c (4096 features" in caplog.text


def test_a_layout_of_7_billion_weights_takes_3_gib():
    plan = MemoryPlan(MemoryLimit.of("3GiB"), widths=SEVEN_BILLION)
    columns = decided(plan)
    held = sum(sketch_bytes(SEVEN_BILLION[name], count) for name, count in columns.items())
    assert all(columns.values())
    assert held <= 3 * GIB
    assert min(columns.values()) >= 48
    assert (
        exact_estimate(plan.widths.values())[0] > 190 * GIB
    )  # and 312 before, with blocks as large as matrices


def test_the_user_chooses_by_name():
    widths = {"a": 512, "b": 4096, "c": 4096}
    plan = MemoryPlan(MemoryLimit.of("100MiB"), frozenset({"b"}), frozenset({"a"}), widths)
    columns = decided(plan)
    assert columns["a"] > 0
    assert columns["b"] == 0
    assert columns["c"] > 0


def test_a_width_that_no_module_tells_is_decided_by_what_is_left():
    plan = MemoryPlan(MemoryLimit.of("100MiB"), widths={"a": 512})
    assert plan.columns_of("wide", 100_000, CPU) > 0
    assert plan.columns_of("narrow", 64, CPU) == 0
    assert plan.columns_of("a", 512, CPU) == 0


def test_a_layer_that_turns_out_wider_is_decided_anew():
    plan = MemoryPlan(MemoryLimit.of("100MiB"), widths={"a": 512})
    assert plan.columns_of("a", 512, CPU) == 0
    assert plan.columns_of("a", 50_000, CPU) > 0


def test_a_limit_that_no_sketch_meets_is_said(caplog):
    plan = MemoryPlan(MemoryLimit.of("1MiB"), widths={"head": 50_000})
    assert decided(plan)["head"] == 16
    assert "more than memory_limit allows (1.0 MiB)" in caplog.text


def test_the_estimate_is_told_with_the_largest_layers_and_the_ways_out(caplog):
    caplog.set_level(logging.INFO, logger="delve")
    MemoryPlan(widths={"a": 64, "head": 200_000, "b": 32, "c": 16}).tell(CPU)
    assert "covariances of 4 layers" in caplog.text
    warning = next(one for one in caplog.records if one.levelno == logging.WARNING).message
    assert "head (200000 features, 670.6 GiB), a (64 features" in warning
    assert "c (16" not in warning
    for way in ("memory_limit", "exact=", "sketch=", "ignore_layer_names"):
        assert way in warning


def test_little_is_told_without_a_warning(caplog):
    caplog.set_level(logging.INFO, logger="delve")
    MemoryPlan(widths={"a": 64}).tell(CPU)
    assert [one.levelno for one in caplog.records] == [logging.INFO]


@pytest.mark.parametrize(("features", "samples"), [(300, 5000), (1000, 3000)])
def test_an_exact_layer_holds_what_is_said(features, samples):
    one = TorchCovarianceMatrix()
    for _ in range(samples // 500):
        one.update(torch.randn(500, features))
    moments, rows, _ = one.parts()
    held = moments.scatter.numel() * 8 + one._block._storage.numel() * 4
    floor = 2 * 2**20  # a block of narrow layers
    assert held <= max(exact_bytes(features), 8 * features**2 + floor)
    assert len(rows) <= samples


def test_a_sketch_holds_what_is_said():
    features, columns = 4096, 64
    directions = Directions.random(features, columns, CPU)
    both = [Sketch(directions), Sketch(directions)]
    for one in both:
        for _ in range(5):
            one.update(torch.randn(20, features))
    tensors = [directions.matrix, directions.images]
    for one in both:
        tensors += [one._products, one._probes, one._mean]
        tensors += [part for part in (one._origin, one._block) if part is not None]
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert held <= sketch_bytes(features, columns)
    assert held >= 0.9 * sketch_bytes(features, columns)


def test_words():
    assert in_words(0) == "0 B"
    assert in_words(1536) == "1.5 KiB"
    assert in_words(3 * GIB) == "3.0 GiB"


@pytest.mark.parametrize(
    ("layer", "conv", "width"),
    [
        (nn.Linear(3, 7), "channelwise", 7),
        (nn.Conv2d(3, 8, 3), "channelwise", 8),
        (nn.Conv2d(3, 8, 3), "flatten", None),
        (nn.ConvTranspose1d(3, 6, 3), "mean", 6),
        (nn.LSTM(4, 5, bidirectional=True), "channelwise", 10),
        (nn.LSTM(4, 5, proj_size=3), "channelwise", 3),
        (nn.GRU(4, 5), "channelwise", 5),
        (nn.MultiheadAttention(8, 2), "channelwise", 8),
        (nn.ReLU(), "channelwise", None),
    ],
)
def test_the_width_that_a_module_tells(layer, conv, width):
    assert width_of(layer, SamplingMethods(conv)) == width


@pytest.mark.parametrize(
    ("exact", "sketch", "message"),
    [
        (["c"], [], "exact: no tracked layer is called c; there are a, b"),
        ([], ["a", "z"], "sketch: no tracked layer is called z"),
        (["a"], ["a"], "exact and sketch both name a"),
        (3, [], "exact must be a list"),
    ],
)
def test_choices_that_cannot_be_are_refused(exact, sketch, message):
    layers = {"a": nn.Linear(2, 3), "b": nn.Linear(2, 3)}
    with pytest.raises(ArgumentError, match=message):
        plan_of(layers, SamplingMethods(), None, exact, sketch)
