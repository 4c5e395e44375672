"""``max_samples="8d"``: so many samples, and from all parts of an epoch."""

import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.capture.gathering import Gathering
from delve.capture.hooks import LayerHooks
from delve.capture.sample_limit import SampleLimit
from delve.errors import ArgumentError

D = 4


def identity():
    """A layer whose samples are its inputs."""
    layer = nn.Linear(D, D, bias=False)
    nn.init.eye_(layer.weight)
    return layer


def hooked(layer, limit):
    return LayerHooks({"layer": layer}, Gathering(limit=SampleLimit.of(limit)))


def epoch(layer, batches=100, rows=6):
    """Inputs that drift: the features of sample i of the epoch are i."""
    drift = torch.arange(batches * rows).float().reshape(batches, rows, 1).expand(-1, -1, D)
    for batch in drift:
        layer(batch)


def gathered(hooks):
    found = hooks.fresh()["train", "layer"]
    moments = found.moments()
    hooks.mark_used(forget=True)
    return found, moments


def test_an_epoch_whose_length_is_not_known_gives_its_first_samples():
    layer = identity()
    hooks = hooked(layer, "8d")
    epoch(layer)
    _, moments = gathered(hooks)
    assert moments.samples == 8 * D
    assert moments.mean.tolist() == pytest.approx([(8 * D - 1) / 2] * D)


@pytest.mark.parametrize(("batches", "rows"), [(100, 6), (7, 50), (1000, 1), (1, 600), (33, 2)])
def test_later_ones_give_samples_of_all_their_parts(batches, rows):
    layer = identity()
    hooks = hooked(layer, "8d")
    for _ in range(3):
        epoch(layer, batches, rows)
        _, moments = gathered(hooks)
    count = batches * rows
    assert moments.samples == min(8 * D, count)
    # Of evenly spread samples, the mean and the variance are near those of all.
    assert moments.mean[0].item() == pytest.approx((count - 1) / 2, rel=0.35)
    variance = moments.scatter[0, 0].item() / moments.samples
    assert variance == pytest.approx((count**2 - 1) / 12, rel=0.45)


def test_many_samples_have_the_moments_of_all_to_a_few_percent():
    layer = identity()
    hooks = hooked(layer, "200d")
    for _ in range(2):
        epoch(layer, 400, 25)
        _, moments = gathered(hooks)
    assert moments.samples == 200 * D
    assert moments.mean[0].item() == pytest.approx((400 * 25 - 1) / 2, rel=0.03)
    assert moments.scatter[0, 0].item() / moments.samples == pytest.approx(1e8 / 12, rel=0.03)


def test_feature_maps_give_positions_of_all_images():
    model = nn.Conv2d(1, 2, 1, bias=False)
    nn.init.ones_(model.weight)
    hooks = LayerHooks({"layer": model}, Gathering(limit=SampleLimit.of("50d")))
    images = torch.arange(8 * 36).float().reshape(8, 1, 6, 6)
    for _ in range(2):
        for half in images.split(4):
            model(half)
        _, moments = gathered(hooks)
    assert moments.samples == 100
    assert moments.mean[0].item() == pytest.approx((8 * 36 - 1) / 2, rel=0.02)


def test_a_shorter_epoch_gives_less_and_a_longer_one_no_more():
    layer = identity()
    hooks = hooked(layer, "8d")
    found = []
    for batches in (100, 50, 200, 100):
        epoch(layer, batches)
        found.append(gathered(hooks)[1].samples)
    assert found == [32, pytest.approx(16, abs=4), 32, pytest.approx(16, abs=4)]


def test_a_state_goes_on_with_the_same_samples():
    def run(is_cut):
        layer = identity()
        hooks = hooked(layer, "8d")
        epoch(layer)
        gathered(hooks)
        epoch(layer, 50)
        if is_cut:
            state = hooks.state_dict()
            hooks.remove()
            hooks = hooked(layer, "8d")
            hooks.load_state_dict(state)
        for batch in torch.arange(300, 600).float().reshape(50, 6, 1).expand(-1, -1, D):
            layer(batch)
        return gathered(hooks)[1]

    whole, cut = run(False), run(True)
    assert torch.equal(whole.mean, cut.mean)
    assert torch.equal(whole.scatter.tril(), cut.scatter.tril())


def test_each_layer_has_as_many_as_its_width_asks_for(tmp_path):
    writer = Recorder()
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    with SaturationTracker(tmp_path, writer, model, stats=["n"], max_samples="2.5d") as tracker:
        for _ in range(2):
            for _ in range(20):
                model(torch.randn(4, 3))
            tracker.add_saturations()
    assert [writer.rows[1][f"train-samples/{layer}"] for layer in "01"] == [13, 5]


@pytest.mark.parametrize("given", ["d", "8", "0d", "-1d", "8 e", "", 2.5, 0, True])
def test_what_is_no_limit_is_refused_with_the_way_to_write_one(tmp_path, given):
    with pytest.raises(ArgumentError, match="max_samples must be a whole number of at least 1"):
        SaturationTracker(tmp_path, Recorder(), identity(), max_samples=given)
