"""Each pathology has its note, with the right layers; healthy networks have none."""

import math

import numpy as np
import pytest
import torch
from support.networks import HEALTHY, Mixing, classified, digits, mlp, run
from support.writers import Recorder
from torch import nn

import delve
from delve import SaturationTracker
from delve.journal import run_notes
from delve.journal.findings import notes_of
from delve.journal.stored_run import read_run


def notes(folder):
    return {note.kind: note for note in notes_of(read_run(folder))}


def passed(folder, model, batches, stats="health", epochs=1, **arguments):
    """Forward passes in both modes, without training."""
    with SaturationTracker(folder, Recorder(), model, stats=stats, **arguments) as tracker:
        for _ in range(epochs):
            for mode in (True, False):
                model.train(mode)
                with torch.no_grad():
                    for batch in batches:
                        model(batch)
            tracker.add_saturations()
    return folder


@pytest.mark.parametrize("lr", [0, 3e-3], ids=["untrained", "trained"])
@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_a_healthy_network(tmp_path, name, lr):
    make, loss, arguments = HEALTHY[name]
    torch.manual_seed(0)
    folder = run(tmp_path / "run", make(), loss, epochs=2, lr=lr, count=768, **arguments)
    assert [str(note) for note in notes_of(read_run(folder))] == []
    assert run_notes(folder) == []


def test_units_that_a_large_step_has_killed(tmp_path):
    torch.manual_seed(0)
    found = notes(run(tmp_path, mlp(), classified, epochs=2, lr=0.1, count=768))
    assert set(found) == {"dormant"}
    assert "1" in found["dormant"].layers
    assert "7" not in found["dormant"].layers  # behind which there is no ReLU
    assert "% (1) never exceed 0" in found["dormant"].text


def test_activations_that_died_never_vary(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 40))
    with torch.no_grad():
        model[0].bias[:30] = -100
    batches = [torch.randn(128, 20)]
    found = notes(passed(tmp_path, model, batches, include=[nn.ReLU]))
    assert found["dead"].layers == ("1",)
    assert "75%" in found["dead"].text


def test_units_that_die_while_it_trains(tmp_path):
    """Ever more of them, though they are not the most yet."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 10))
    with SaturationTracker(tmp_path, Recorder(), model, stats="health") as tracker:
        for dead in (2, 14):
            with torch.no_grad():
                model[0].bias[:dead] = -10
            model.eval()(torch.randn(256, 20))
            tracker.add_saturations()
    found = notes(tmp_path)
    assert "35% (0)" in found["dormant"].text
    assert "up from 5%" in found["dormant"].text


def test_a_layer_that_never_varies(tmp_path):
    model = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 10), nn.Linear(10, 10))
    with torch.no_grad():
        model[2].weight.zero_()
    found = notes(passed(tmp_path, model, [torch.randn(128, 20)]))
    assert found["constant"].layers == ("2", "3")
    assert "alike" not in found


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
            nn.Linear(128, 32),
        )  # fmt: skip

    def forward(self, x):
        return self.net(x)


@pytest.mark.parametrize("weight", [0, 1], ids=["alone", "with a variance term"])
def test_a_collapse_of_representations(tmp_path, weight):
    """Two views are made the same, with and without a term that keeps their variance."""

    def same(model, images, _):
        one, other = (model(images + 0.3 * torch.randn_like(images)) for _ in range(2))
        deviations = [(y.var(dim=0) + 1e-4).sqrt() for y in (one, other)]
        kept = sum(torch.relu(1 - deviation).mean() for deviation in deviations)
        return (one - other).square().mean() + weight * kept

    torch.manual_seed(0)
    found = notes(run(tmp_path, Encoder(), same, epochs=3, lr=1e-3))
    if weight:
        assert found == {}
    else:
        assert found["alike"].layers == ("net.5",)
        assert float(found["alike"].text.partition(": ")[2].partition("%")[0]) > 90


def test_batch_norm_whose_statistics_lag_behind(tmp_path):
    torch.manual_seed(0)
    blocks = [
        module
        for _ in range(5)
        for module in (nn.Linear(32, 32), nn.BatchNorm1d(32, momentum=1e-4), nn.ReLU())
    ]
    batches = [0.1 * torch.randn(256, 32) for _ in range(5)]
    found = notes(passed(tmp_path, nn.Sequential(*blocks), batches))
    assert "modes-apart" in found
    assert "0" not in found["modes-apart"].layers  # no norm is before it
    assert {"3", "6", "9", "12"} == set(found["modes-apart"].layers)


def test_a_deep_network_of_default_initialisation(tmp_path):
    torch.manual_seed(0)
    layers = [module for _ in range(12) for module in (nn.Linear(64, 64), nn.ReLU())]
    found = notes(passed(tmp_path, nn.Sequential(*layers), [torch.randn(512, 64)]))
    assert {"alike", "variance-over-depth"} <= set(found)
    assert "0" not in found["alike"].layers
    assert "14" in found["alike"].layers
    assert found["variance-over-depth"].layers[-1] == "20"
    assert "e-" in found["variance-over-depth"].text


def test_signals_that_explode(tmp_path):
    torch.manual_seed(0)
    linear = [nn.Linear(64, 64) for _ in range(7)]
    with torch.no_grad():
        for layer in linear:
            layer.weight.normal_(std=1.0)
    found = notes(passed(tmp_path, nn.Sequential(*linear), [torch.randn(512, 64)]))
    assert "variance-over-depth" in found
    assert "e+" in found["variance-over-depth"].text


def test_one_massive_channel(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 384), nn.Linear(384, 64))
    with torch.no_grad():
        model[0].weight[17] *= 100
        model[1].weight[:, 17] /= 100
    found = notes(passed(tmp_path, model, [torch.randn(4096, 64)]))
    assert found["one-feature"].layers == ("0",)
    assert "feature 17 of 0 has 9" in found["one-feature"].text
    rest = read_run(tmp_path).record_of(0).metrics["eval-saturation-without-leading-feature/0"]
    assert f"{rest:.1%} without it" in found["one-feature"].text


def test_tokens_that_become_alike(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), *(Mixing(16) for _ in range(6)))
    batches = [torch.randn(64, 10, 16)]
    found = notes(passed(tmp_path, model, batches, stats=["health", "token_var"]))
    assert "tokens-alike" in found
    assert "0" not in found["tokens-alike"].layers
    assert "6.values" in found["tokens-alike"].layers


@pytest.mark.parametrize(("size", "first"), [(8, 4), (16, 8), (64, None)])
def test_an_image_that_is_too_small(tmp_path, size, first):
    layers = [nn.Conv2d(1 if not n else 4, 4, 3, padding=1) for n in range(12)]
    model = nn.Sequential(*layers)
    images = [torch.randn(16, 1, size, size)]
    folder = passed(tmp_path, model, images, stats=["field"], input_shape=(1, size, size))
    found = notes(folder)
    assert set(found) == (set() if first is None else {"border"})
    if first is not None:
        assert found["border"].layers == tuple(str(n) for n in range(first, 12))
        assert delve.receptive_field(model, (1, size, size)).border == str(first)


def test_samples_that_are_too_few(tmp_path):
    torch.manual_seed(0)
    batches = [torch.randn(32, 64) for _ in range(4)]
    found = notes(passed(tmp_path, nn.Linear(64, 128), batches, stats=["lsat", "lsat2", "error"]))
    assert set(found) == {"few-samples"}
    assert "extrapolated" in found["few-samples"].text
    many = [torch.randn(512, 64) for _ in range(6)]
    of_many = passed(tmp_path / "b", nn.Linear(64, 128), many, stats=["lsat", "error"])
    assert notes(of_many) == {}


def test_at_most_a_handful_and_the_gravest_first(tmp_path):
    torch.manual_seed(0)
    layers = [
        module
        for _ in range(12)
        for module in (nn.Linear(64, 64), nn.BatchNorm1d(64, momentum=1e-4), nn.ReLU())
    ]
    first, still = nn.Linear(64, 64), nn.Linear(64, 64)
    model = nn.Sequential(first, *layers[1:], still, nn.Linear(64, 8))
    with torch.no_grad():
        first.weight[0] *= 1e3
        still.weight.zero_()
    batches = [1e-3 * torch.randn(30, 64) for _ in range(4)]
    told = notes_of(read_run(passed(tmp_path, model, batches, stats="all")))
    assert 3 <= len(told) <= 5
    assert told[0].kind == "constant"
    for note in told:
        assert note.layers
        assert note.source
        assert str(note).endswith(f"Source: {note.source}.")


def test_of_saturation_alone_nothing_can_be_said(tmp_path):
    model = nn.Linear(4, 4)
    with torch.no_grad():
        model.weight.zero_()
    assert notes(passed(tmp_path, model, [torch.randn(50, 4)], stats=["lsat"])) == {}


def test_a_run_without_rows_has_none(tmp_path):
    SaturationTracker(tmp_path, Recorder(), nn.Linear(2, 2)).close()
    assert run_notes(tmp_path) == []


def test_numbers_that_are_not_finite_break_nothing(tmp_path):
    batch = torch.full((20, 4), math.nan)
    assert run_notes(passed(tmp_path, nn.Linear(4, 4), [batch], stats="all")) == []


def test_the_digits_are_of_mean_zero():
    images, _ = digits()
    assert np.allclose([images.mean(), images.std()], [0, 1], atol=1e-5)
