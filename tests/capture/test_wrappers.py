"""What stands around a module adds nothing to its name; a user's own child of that name does."""

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
    checkpoint_wrapper,
    offload_wrapper,
)
from torch.optim.swa_utils import AveragedModel

from delve.capture.earlier_names import in_todays_names
from delve.capture.layers import find_layers


def network():
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 3)))


@pytest.mark.parametrize("wrap", [checkpoint_wrapper, offload_wrapper, AveragedModel])
def test_a_wrapper_is_no_part_of_a_name(wrap):
    model = network()
    assert find_layers(wrap(model)).keys() == {"0", "1.1"}
    model[1] = wrap(model[1])
    assert find_layers(wrap(model)).keys() == {"0", "1.1"}
    assert find_layers([wrap(model)]).keys() == {"Sequential-0.0", "Sequential-0.1.1"}
    assert find_layers(wrap(nn.Linear(2, 2))).keys() == {"Linear-0"}


def test_checkpointing_that_is_switched_on_changes_no_name():
    model = network()
    before = find_layers(model)
    apply_activation_checkpointing(model, check_fn=lambda module: not list(module.children()))
    assert type(model[0]).__name__ == "CheckpointWrapper"
    assert find_layers(model) == before


@pytest.mark.parametrize("name", ["_checkpoint_wrapped_module", "_fsdp_wrapped_module", "module"])
def test_a_child_of_the_users_own_keeps_its_name(name):
    layer = nn.Linear(2, 2)
    inner = nn.ModuleDict({name: layer})
    assert find_layers(inner) == {name: layer}
    assert find_layers(nn.Sequential(checkpoint_wrapper(inner))) == {f"0.{name}": layer}


def test_the_mode_of_a_wrapped_model_is_that_of_the_model_inside():
    from delve.capture.layers import Selection

    model = checkpoint_wrapper(network())
    assert set(Selection(model).roots().values()) == {model._checkpoint_wrapped_module}


def test_earlier_names_are_found_in_todays(caplog):
    caplog.set_level("INFO", "delve")
    recorded = ["a._checkpoint_wrapped_module.b", "base_model.model.c", "d", "gone.module"]
    assert in_todays_names(recorded, ["a.b", "c", "d"]) == ("a.b", "c", "d", "gone.module")
    assert "a._checkpoint_wrapped_module.b is a.b, base_model.model.c is c;" in caplog.text


def test_names_of_which_nothing_tells_which_is_meant_stay(caplog):
    caplog.set_level("INFO", "delve")
    recorded = ["_orig_mod.a", "b"]
    assert in_todays_names(recorded, ["a", "module.a", "b"]) == ("_orig_mod.a", "b")
    assert not caplog.text


def test_a_resume_of_a_run_with_earlier_names_says_so_once(tmp_path, caplog):
    """As a run was recorded before wrappers were known."""
    from support.writers import Recorder

    from delve import SaturationTracker

    caplog.set_level("INFO", "delve")
    model = network()
    x = torch.randn(8, 2)
    old = {"_fsdp_wrapped_module.1._checkpoint_wrapped_module.1": model[1][1], "0": model[0]}
    with SaturationTracker(tmp_path, Recorder(), old) as tracker:
        model(x)
        tracker.add_saturations()
    assert "had other names" not in caplog.text
    writer = Recorder()
    wrapped = nn.Sequential(model[0], checkpoint_wrapper(model[1]))
    with SaturationTracker(tmp_path, writer, wrapped, initial_epoch=1) as tracker:
        wrapped(x)
        tracker.add_saturations()
    assert caplog.text.count("_fsdp_wrapped_module.1._checkpoint_wrapped_module.1 is 1.1") == 1
    assert writer.rows[1].keys() == {"train-saturation/0", "train-saturation/1.1"}
