"""A model that is scripted or traced while it is tracked."""

import copy

import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated"),
]
X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def test_scripting_says_at_once_what_to_do_and_that_works(tmp_path, model):
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        model(X)
        with pytest.raises(ArgumentError, match=r"with tracker\.untracked\(\):"):
            torch.jit.script(model)
        with tracker.untracked():
            scripted = torch.jit.script(model)
            model(X)
        assert torch.equal(scripted(X), model(X))
        tracker.add_saturations()
    assert writer.rows[0] == {"train-samples/0": 10.0, "train-samples/2": 10.0}
    assert "delve" not in str(scripted.graph)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_layer_that_is_scripted_alone(tmp_path, model):
    tracked = SaturationTracker(tmp_path, Recorder(), model)
    with tracked, pytest.raises(ArgumentError, match="untracked"):
        torch.jit.script(model[0])


def test_a_copy_can_be_scripted_as_the_message_says(tmp_path, model):
    with SaturationTracker(tmp_path, Recorder(), model):
        twin = copy.deepcopy(model)
        for module in twin.modules():
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()
        assert torch.equal(torch.jit.script(twin)(X), model(X))


def test_a_trace_is_no_pass(tmp_path, model):
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        traced = torch.jit.trace(model, X)
        model(X)
        tracker.add_saturations()
    assert torch.equal(traced(X), model(X))
    assert writer.rows[0] == {"train-samples/0": 5.0, "train-samples/2": 5.0}


def test_others_find_no_name_and_are_told_of_none(tmp_path, model):
    with SaturationTracker(tmp_path, Recorder(), model):
        (hook,) = model[0]._forward_hooks.values()
        assert getattr(hook, "__name__", "none") == "none"


def test_the_model_may_change_or_the_tracker_close_meanwhile(tmp_path, model):
    writer = Recorder()
    tracker = SaturationTracker(tmp_path, writer, model, stats=["n"])
    with tracker.untracked():
        model[2] = nn.Linear(4, 2)
        tracker.retrack()
    model(X)
    tracker.add_saturations()
    assert writer.rows[0] == {"train-samples/0": 5.0, "train-samples/2": 5.0}
    with tracker.untracked():
        tracker.close()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
