import pytest
from torch import nn

from delve.errors import ArgumentError
from delve.layers import find_layers, select_layers


def test_layers_are_called_as_in_named_modules():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Sequential(nn.Linear(2, 2)), nn.LSTM(2, 2)
    )
    assert find_layers(model) == {"0": model[0], "2.0": model[2][0], "3": model[3]}


def test_a_bare_layer_is_called_after_its_type():
    layer = nn.Linear(2, 2)
    assert find_layers(layer) == {"Linear-0": layer}


def test_a_shared_module_is_one_layer_under_its_first_name():
    layer = nn.Linear(2, 2)
    assert list(find_layers(nn.Sequential(layer, nn.ReLU(), layer))) == ["0"]


def test_a_subclass_of_a_tracked_type_is_tracked():
    class Scaled(nn.Linear):
        pass

    assert list(find_layers(nn.Sequential(Scaled(2, 2)))) == ["0"]


@pytest.mark.parametrize("modules", [None, "model", 3])
def test_what_is_no_model_is_refused(modules):
    with pytest.raises(ArgumentError, match="modules must be the model"):
        find_layers(modules)


def test_a_model_without_trackable_layers_is_refused_with_the_types_seen():
    with pytest.raises(ArgumentError, match="1 Sequential, 1 Embedding, 1 ReLU"):
        find_layers(nn.Sequential(nn.Embedding(3, 2), nn.ReLU()))


@pytest.mark.parametrize("layer_filter", [3, ["0"], {"0": None}])
def test_a_filter_that_is_no_function_is_refused(layer_filter):
    with pytest.raises(ArgumentError, match="layer_filter must be a function"):
        select_layers(nn.Sequential(nn.Linear(2, 2)), layer_filter)
