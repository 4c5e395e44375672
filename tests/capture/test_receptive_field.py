"""Receptive fields against the closed form, and of models that no formula parses."""

import pytest
import torch
from support.writers import Recorder
from torch import nn

import delve
from delve import SaturationTracker
from delve.errors import ArgumentError


def _first(layer, name):
    """What a layer has in its first dimension of space."""
    given = getattr(layer, name)
    return given[0] if isinstance(given, tuple) else given


def expected(layers, image):
    """The size of each convolution's input field (Araujo et al. 2019), at most the image."""
    field, jump, sizes = 1, 1, {}
    for number, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            sizes[str(number)] = (min(field, image),) * 2
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
            kernel, stride = _first(layer, "kernel_size"), _first(layer, "stride")
            dilation = _first(layer, "dilation")
            field += (kernel - 1) * dilation * jump
            jump *= stride
    return sizes


STACKS: dict[str, list[nn.Module]] = {
    "three by three": [nn.Conv2d(2, 2, 3, padding=1) for _ in range(5)],
    "strides": [nn.Conv2d(2, 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, 2, 1), nn.Conv2d(2, 2, 3)],
    "pooling": [
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 5, padding=2), nn.GELU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1),
    ],
    "dilation": [nn.Conv2d(2, 2, 3, padding=4, dilation=4), nn.Conv2d(2, 2, 3, padding=1)],
    "groups": [nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.Conv2d(4, 4, 3, groups=4)],
}  # fmt: skip


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("image", [64, 65])
def test_fields_are_those_of_the_closed_form(name, image):
    torch.manual_seed(0)
    layers = STACKS[name]
    stack = nn.Sequential()
    for layer in layers:
        stack.append(layer)
    found = delve.receptive_field(stack, (2, image, image))
    assert found.sizes == expected(layers, image)
    assert found.border is None
    assert found.behind == ()
    assert "no layer" in str(found)


@pytest.mark.parametrize(("image", "border"), [(16, "8"), (15, "7"), (8, "4"), (3, "1"), (1, "0")])
def test_the_border_is_the_first_whose_input_sees_the_whole_image(image, border):
    model = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(10)))
    found = delve.receptive_field(model, (1, image, image))
    assert found.border == border
    assert found.behind == tuple(str(n) for n in range(int(border), 10))
    assert found.shares[border] == 1
    assert f"border layer {border}" in str(found)


class Odd(nn.Module):
    """What a parser of graphs stumbles over: branches, squeezing, and a layer called twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.wide = nn.Conv2d(4, 4, 7, padding=3)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.unused = nn.Conv2d(4, 4, 3)

    def forward(self, x):
        y = torch.relu(self.first(x))
        y = torch.relu(y + self.wide(y))
        z = self.again(self.again(y))
        return z * self.squeeze(z)


def test_branches_and_squeezes_count():
    found = delve.receptive_field(Odd(), (1, 32, 32))
    assert found.sizes["first"] == (1, 1)
    assert found.sizes["wide"] == (3, 3)
    assert found.sizes["again"] == (9, 9)  # of its first call
    assert found.sizes["squeeze.1"] == (32, 32)
    assert "unused" not in found.sizes
    assert found.border == "squeeze.1"


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Conv1d, (1, 40)), (nn.Conv3d, (1, 12, 12, 12))], ids=["1d", "3d"]
)
def test_other_dimensions(layer, shape):
    model = nn.Sequential(layer(1, 2, 3, padding=1), layer(2, 2, 5, padding=2), layer(2, 2, 3))
    sizes = delve.receptive_field(model, shape).sizes
    assert [size[0] for size in sizes.values()] == [1, 3, 7]
    assert all(len(set(size)) == 1 for size in sizes.values())


def test_dead_networks_and_large_biases_hide_nothing():
    """What sees the image by its structure does so whatever the weights are."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(-3)
    assert delve.receptive_field(model, (1, 9, 9)).sizes["2"] == (3, 3)


def test_the_model_stays_as_it_is(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Conv2d(2, 2, 3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, calls = torch.get_rng_state(), []
    handle = model[0].register_forward_hook(lambda *_: calls.append(1))
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        delve.receptive_field(model, (1, 9, 9))
        assert calls == []
        assert model.training
        assert torch.equal(torch.get_rng_state(), state)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name])
        assert all(parameter.requires_grad for parameter in model.parameters())
        model(torch.randn(2, 1, 9, 9))
        assert calls == [1]
        tracker.add_saturations()
    assert writer.rows[0]["train-samples/0"] == 2 * 7 * 7
    handle.remove()


@pytest.mark.parametrize("shape", [(3,), "3x3", 32, (3, 0, 4), (3, 32.5, 32)])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ArgumentError, match="shape"):
        delve.receptive_field(nn.Conv2d(3, 3, 3), shape)


def test_a_shape_that_the_model_does_not_take_is_named():
    with pytest.raises(ArgumentError, match=r"images of 4 x 8 x 8 \(RuntimeError: .*without the"):
        delve.receptive_field(nn.Sequential(nn.Conv2d(3, 3, 3)), (4, 8, 8))


def test_the_tracker_records_what_each_layer_sees(tmp_path):
    model = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(4)))
    writer = Recorder()
    with SaturationTracker(
        tmp_path, writer, model, stats="health", input_shape=(1, 5, 5)
    ) as tracker:
        model(torch.randn(8, 1, 5, 5))
        tracker.add_saturations()
    shares = [v for m, v in writer.rows[0].items() if m.stat == "receptive-field-share"]
    assert shares == pytest.approx([1 / 25, 9 / 25, 1, 1])


def test_the_shape_is_for_one_model(tmp_path):
    with pytest.raises(ArgumentError, match="single model"):
        SaturationTracker(tmp_path / "run", Recorder(), [nn.Conv2d(1, 1, 3)], input_shape=(1, 8, 8))
    assert not (tmp_path / "run").exists()
