import pytest
import torch
from torch import nn

from delve.capture.layers import find_layers, select_layers
from delve.errors import ArgumentError


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


def compiled(module):
    return torch.compile(module, backend="eager")


@pytest.mark.parametrize(
    "wrap", [compiled, nn.DataParallel, lambda m: compiled(nn.DataParallel(m))]
)
def test_wrappers_add_nothing_to_names_wherever_they_are(wrap):
    first, second, third = (nn.Linear(2, 2) for _ in range(3))
    model = wrap(nn.Sequential(wrap(first), nn.Sequential(wrap(nn.Sequential(second))), third))
    assert find_layers(model) == {"0": first, "1.0.0": second, "2": third}
    assert find_layers([model]) == {
        "Sequential-0.0": first,
        "Sequential-0.1.0.0": second,
        "Sequential-0.2": third,
    }


@pytest.mark.parametrize("name", ["module", "_orig_mod"])
def test_a_child_that_is_called_as_in_a_wrapper_keeps_its_name(name):
    layer = nn.Linear(2, 2)
    inner = nn.ModuleDict({name: layer})
    assert find_layers(inner) == {name: layer}
    assert find_layers(nn.Sequential(nn.DataParallel(inner))) == {f"0.{name}": layer}


def test_a_layer_beside_what_a_wrapper_wraps_is_tracked():
    class Scaling(nn.DataParallel):
        def __init__(self, module):
            super().__init__(module)
            self.scale = nn.Linear(2, 2)

    model = nn.Sequential(Scaling(nn.Linear(2, 2)))
    assert find_layers(model) == {"0": model[0].module, "0.scale": model[0].scale}


def test_two_layers_of_one_name_are_refused():
    modules = {"enc": nn.Sequential(nn.Linear(2, 2)), "enc.0": nn.Linear(2, 2)}
    with pytest.raises(ArgumentError, match=r"the name 'enc\.0'; choose another key"):
        find_layers(modules)


def test_one_layer_under_two_keys_of_one_name_is_one():
    layer = nn.Linear(2, 2)
    assert find_layers({"enc": nn.Sequential(layer), "enc.0": layer}) == {"enc.0": layer}


def test_a_layer_without_a_name_is_refused():
    with pytest.raises(ArgumentError, match="the key '' leaves a Linear without a name"):
        find_layers({"": nn.Linear(2, 2)})


def test_an_empty_key_gives_layers_the_names_that_they_have_inside():
    model = nn.Sequential(nn.Linear(2, 2))
    assert find_layers({"": model}) == {"0": model[0]}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: [m], nn.Sequential, nn.DataParallel])
@pytest.mark.parametrize(
    "script", [torch.jit.script, lambda model: torch.jit.trace(model, torch.ones(1, 2))]
)
def test_a_scripted_module_is_refused(script, wrap):
    modules = wrap(script(nn.Sequential(nn.Linear(2, 2))))
    with pytest.raises(ArgumentError, match="A scripted module cannot be tracked; pass the model"):
        find_layers(modules)
