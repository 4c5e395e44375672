"""Which modules are layers without having been registered, and the samples of any module."""

import numpy as np
import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.capture.layers import Selection, find_layers
from delve.errors import ArgumentError

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


def recorded(folder, model, x=X, **arguments):
    writer = Recorder()
    with SaturationTracker(folder, writer, model, stats=["n", "trc"], **arguments) as tracker:
        model(x)
        tracker.add_saturations()
    return writer.rows[0]


def trace(rows):
    rows = rows.detach().double().numpy()
    return pytest.approx(np.cov(rows, rowvar=False, bias=True).trace(), rel=1e-4)


class Scaled(nn.Module):
    """As quantised linear layers are: integers, of which floats are made in the forward pass."""

    def __init__(self, width):
        super().__init__()
        self.in_features, self.out_features = 6, width
        self.register_buffer("packed", torch.randint(-8, 8, (6, 5), dtype=torch.int8))

    def forward(self, x):
        return x @ (self.packed.float() / 8)


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Parameter(torch.rand(3, 6, 9))
        self.down = nn.Parameter(torch.rand(3, 9, 6))

    def forward(self, x):
        return sum((x @ up).relu() @ down for up, down in zip(self.up, self.down, strict=True))


class Kernel(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(6, width))

    def forward(self, x):
        return x @ self.weight


def test_what_looks_like_a_linear_layer_is_one(tmp_path):
    model = nn.Sequential(Scaled(5), nn.ReLU(), nn.Linear(5, 2))
    row = recorded(tmp_path, model)
    assert row["train-covariance-trace/0"] == trace(model[0](X))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_linear_layers_that_torch_quantises_are_tracked(tmp_path):
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(6, 5)), {nn.Linear})
    assert not isinstance(model[0], nn.Linear)
    row = recorded(tmp_path, model)  # quantising has left it in evaluation
    assert row["eval-covariance-trace/0"] == trace(model[0](X))


def test_features_that_do_not_come_out_are_said_and_left_out(tmp_path, caplog):
    recorded(tmp_path, nn.Sequential(nn.Linear(6, 6), Scaled(7)))
    assert "layer 1 (Scaled) gave float32 of shape (32, 5)" in caplog.text
    assert "its last dimension is none of the weight's" in caplog.text


def test_a_block_that_merely_tells_its_width_is_no_layer():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.in_features = self.out_features = 6
            self.inner = nn.Linear(6, 6)

    assert list(find_layers(Block())) == ["inner"]


def test_experts_in_one_module_are_a_layer(tmp_path):
    model = nn.Sequential(nn.Linear(6, 6), Experts())
    row = recorded(tmp_path, model)
    assert row["train-covariance-trace/1"] == trace(model(X))


def test_bilinear_layers_are_tracked(tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.both = nn.Bilinear(6, 6, 4)

        def forward(self, x):
            return self.both(x, x)

    model = Model()
    assert recorded(tmp_path, model)["train-covariance-trace/both"] == trace(model(X))


def test_all_takes_every_weight_of_two_dimensions(tmp_path, caplog):
    model = nn.Sequential(Kernel(6), Kernel(4), nn.Linear(4, 2))
    assert list(find_layers(model)) == ["2"]
    row = recorded(tmp_path, model, track="all")
    assert row["train-covariance-trace/0"] == trace(model[0](X))
    assert row["train-covariance-trace/1"] == trace(model[:2](X))
    assert "not tracked" not in caplog.text


def test_types_and_functions_may_be_included(tmp_path):
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Tanh(), nn.Linear(8, 2))
    row = recorded(
        tmp_path, model, include=[nn.LayerNorm, lambda module: type(module).__name__ == "GELU"]
    )
    assert {key.partition("/")[2] for key in row} == {"0", "1", "2", "4"}
    assert row["train-covariance-trace/1"] == trace(model[:2](X))
    assert row["train-covariance-trace/2"] == trace(model[:3](X))
    assert list(Selection(model, include=nn.Tanh).layers()) == ["0", "3", "4"]


def test_everything_that_can_be_called_may_be_included(tmp_path, caplog):
    model = nn.Sequential(nn.ModuleList([nn.Linear(6, 6)])[0], nn.Sequential(nn.ReLU()))
    model.parts = nn.ModuleList([nn.Identity()])
    layers = Selection(model, include=lambda module: True).layers()
    assert list(layers) == ["0", "1", "1.0", "parts.0"]


@pytest.mark.parametrize(
    ("layer", "features"),
    [
        (nn.BatchNorm2d(4), 4),
        (nn.GroupNorm(2, 4), 4),
        (nn.InstanceNorm2d(4), 4),
        (nn.ReLU(), 4),
        (nn.LayerNorm(5), 5),
        (nn.LayerNorm(5, elementwise_affine=False), 5),
    ],
)
def test_where_the_features_of_a_norm_or_an_activation_are(tmp_path, layer, features):
    x = torch.randn(8, 4, 3, 5)
    model = nn.Sequential(nn.Conv2d(4, 4, 1), layer)
    row = recorded(tmp_path, model, x, include=[type(layer)])
    out = model(x)
    rows = out.transpose(1, -1).reshape(-1, 4) if features == 4 else out.reshape(-1, 5)
    assert row["train-samples/1"] == len(rows)
    assert row["train-covariance-trace/1"] == trace(rows)


@pytest.mark.parametrize("track", ["most", None, True, ["all"]])
def test_an_unknown_extent_is_refused(tmp_path, track):
    with pytest.raises(ArgumentError, match="track must be 'default' or 'all'"):
        SaturationTracker(tmp_path / "run", "print", nn.Linear(2, 2), track=track)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("include", [None, "LayerNorm", [int], [nn.GELU()], [nn.GELU, 3], {"a": 1}])
def test_what_is_no_type_or_function_is_refused(tmp_path, include):
    with pytest.raises(ArgumentError, match="include must be types of modules"):
        SaturationTracker(tmp_path / "run", "print", nn.Linear(2, 2), include=include)
    assert not (tmp_path / "run").exists()


def test_a_type_that_the_model_lacks_is_named(tmp_path, caplog):
    recorded(tmp_path, nn.Sequential(nn.Linear(6, 2)), include=[nn.GELU, nn.LayerNorm])
    assert "include: no module is a GELU, LayerNorm" in caplog.text
