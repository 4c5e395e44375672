"""At construction it is said what is tracked, and what holds weights and is not."""

import logging
import time

import pytest
import torch
from support.writers import Recorder
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from delve import SaturationTracker
from delve.capture.coverage import coverage_of, tell
from delve.capture.layers import Selection


class Own(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.kernel = nn.Parameter(torch.rand(*shape))

    def forward(self, x):
        return x @ self.kernel


def told(caplog, model, level=logging.WARNING, **arguments):
    caplog.set_level(logging.INFO, "delve")
    caplog.clear()
    selection = Selection(model, **arguments)
    tell(selection, selection.layers())
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_what_is_not_tracked_is_named_with_its_share(tmp_path, caplog):
    model = nn.Sequential(nn.Linear(4, 8), Own(8, 9), Own(9, 9), nn.Linear(9, 3))
    SaturationTracker(tmp_path, Recorder(), model).close()
    share = 100 * (72 + 81) / (32 + 27 + 72 + 81)
    assert f"not tracked: 2 Own of 4 weight layers, with {share:.1f} % of the weights (1, 2)" in (
        caplog.text
    )


def test_what_is_tracked_is_said_in_one_line(caplog):
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 8), nn.LayerNorm(8), nn.LSTM(8, 3))
    assert told(caplog, model, logging.INFO) == [
        "tracked: 1 Linear, 1 LSTM; 100.0 % of the weights (without 1 Embedding) are in them"
    ]
    assert not told(caplog, model)


@pytest.mark.parametrize(
    "part",
    [
        nn.LayerNorm((3, 4)),  # two dimensions, and it is named
        nn.RNNCell(4, 3),
        nn.ParameterList([torch.rand(3, 3)]),
    ],
    ids=lambda part: type(part).__name__,
)
def test_any_module_with_weights_is_named(caplog, part):
    assert type(part).__name__ in told(caplog, nn.Sequential(nn.Linear(2, 2), part))[0]


@pytest.mark.parametrize(
    "part",
    [
        nn.BatchNorm2d(3),
        nn.GroupNorm(1, 3),
        nn.PReLU(3),
        nn.Embedding(4, 3),
        nn.EmbeddingBag(4, 3),
        Own(1, 1, 9),  # a scale for each feature
        nn.MultiheadAttention(4, 2),
        weight_norm(nn.Linear(3, 3)),
        nn.utils.spectral_norm(nn.Conv2d(1, 2, 3)),
        nn.LazyLinear(3),
    ],
    ids=lambda part: type(part).__name__,
)
def test_norms_scales_embeddings_and_parts_of_layers_are_no_matter(caplog, part):
    assert not told(caplog, nn.Sequential(nn.Linear(2, 2), part))


@pytest.mark.parametrize(
    "choice",
    [
        {"layer_filter": lambda layers: {"0": layers["0"]}},
        {"ignore_layer_names": ["1"]},
        {"include_conv": False},
    ],
    ids=lambda choice: next(iter(choice)),
)
def test_who_has_chosen_is_not_warned(caplog, choice):
    model = nn.Sequential(nn.Linear(2, 2), nn.Conv2d(1, 2, 3), Own(3, 3))
    assert not told(caplog, model, **choice)
    assert told(caplog, model)


def test_a_weight_that_is_tied_to_an_embeddings_counts_once(caplog):
    model = nn.Sequential(
        nn.Linear(4, 4, bias=False), Own(4, 4), nn.Linear(4, 50), nn.Embedding(50, 4)
    )
    model[2].weight = model[3].weight
    selection = Selection(model)
    coverage = coverage_of(selection, selection.layers())
    assert coverage.share == 0.5
    assert (coverage.weighted, list(coverage.missed)) == (2, ["1"])


def test_a_weight_of_the_model_itself_is_named(caplog):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.projection = nn.Parameter(torch.rand(4, 4))
            self.layer = nn.Linear(4, 4)

    (text,) = told(caplog, Model())
    assert "not tracked: 1 Model of 2 weight layers, with 50.0 % of the weights (the model" in text


def test_a_thousand_modules_take_little_time():
    model = nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(500)))
    began = time.process_time()
    selection = Selection(model, include=[nn.ReLU])
    layers = selection.layers()
    tell(selection, layers)
    assert len(layers) == 1000
    assert time.process_time() - began < 1
