"""Layers that change while the model is tracked."""

import copy
import io
import logging
import pickle

import numpy as np
import pytest
import torch
from support.writers import Recorder
from torch import nn
from torch.nn.utils import prune

from delve import SaturationTracker
from delve.capture.gathering import Gathering
from delve.capture.hooks import LayerHooks

X = torch.randn(64, 6)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def tracked(folder, model, **arguments):
    writer = Recorder()
    return writer, SaturationTracker(folder, writer, model, stats=["n", "trc"], **arguments)


def trace(outputs):
    return pytest.approx(
        np.cov(outputs.detach().double().numpy(), rowvar=False, bias=True).trace(), rel=1e-4
    )


def test_a_layer_in_the_place_of_another_goes_on_under_its_name(tmp_path, caplog):
    caplog.set_level(logging.INFO, "delve")
    model = network()
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        model(X)
        tracker.add_saturations()
        model[0] = nn.Linear(6, 8)
        tracker.retrack()
        model(X)
        tracker.add_saturations()
    assert "layers that are replaced: 0" in caplog.text
    assert writer.rows[1]["train-samples/0"] == 64
    assert writer.rows[1]["train-covariance-trace/0"] == trace(model[0](X))


def test_what_was_replaced_between_epochs_is_found_without_a_call(tmp_path):
    model = network()
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        model(X)
        old = model[0]
        model[0] = nn.Linear(6, 8)
        tracker.add_saturations()
        model(X)
        old(X)  # which is no part of the model any more
        tracker.add_saturations()
    assert writer.rows[0]["train-samples/0"] == 64
    assert writer.rows[1]["train-samples/0"] == 64


def test_a_model_that_grows_and_shrinks(tmp_path):
    model = network()
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        model.append(nn.Linear(3, 5))
        tracker.retrack()
        model(X)
        tracker.add_saturations()
        del model[3], model[2]
        tracker.retrack()
        model(X)
        tracker.add_saturations()
    assert {f"train-samples/{n}" for n in (0, 2, 3)} <= writer.rows[0].keys()
    assert [key for key in writer.rows[1] if key.startswith("train-samples")] == ["train-samples/0"]


def test_a_layer_that_is_pruned_within_an_epoch_begins_anew_with_the_next(tmp_path, caplog):
    model = nn.Sequential(nn.Linear(6, 8))
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        model(X)
        model[0].weight = nn.Parameter(model[0].weight[:5])
        model[0].bias = nn.Parameter(model[0].bias[:5])
        model(X)
        model.eval()
        model(X)
        tracker.add_saturations()
        model.train()
        model(X)
        tracker.add_saturations()
    assert "train-samples/0" not in writer.rows[0]
    assert writer.rows[0]["eval-samples/0"] == 64
    assert writer.rows[1]["train-covariance-trace/0"] == trace(model[0](X))
    assert caplog.text.count("layer 0 (Linear) gave") == 1


def test_a_pruning_mask_changes_nothing_of_the_tracking(tmp_path):
    model = network()
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        prune.l1_unstructured(model[0], "weight", 0.5)
        model(X)
        tracker.add_saturations()
    assert writer.rows[0]["train-covariance-trace/0"] == trace(model[0](X))


def test_hooks_that_were_carried_over_count_once_and_end_with_the_tracker(tmp_path):
    """As ``torch.ao.quantization.prepare_qat(inplace=True)`` swaps modules with their hooks."""
    model = network()
    writer, tracker = tracked(tmp_path, model)
    swapped = nn.Linear(6, 8)
    swapped._forward_hooks.update(model[0]._forward_hooks)
    model[0] = swapped
    tracker.retrack()
    model(X)
    tracker.add_saturations()
    other = nn.Linear(6, 8)
    other._forward_hooks.update(model[0]._forward_hooks)  # of which the tracker learns nothing
    tracker.close()
    assert writer.rows[0]["train-samples/0"] == 64
    assert not model[0]._forward_hooks
    before = dict(tracker._hooks._gatherer._covariances.items())
    other(X)
    assert dict(tracker._hooks._gatherer._covariances.items()) == before


def test_a_symbolic_trace_is_passed_over(tmp_path, caplog):
    class Leafless(torch.fx.Tracer):
        def is_leaf_module(self, module, name):
            return False

    model = network()
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        model(X)
        graph = Leafless().trace(model)
        torch.fx.GraphModule(model, graph)(X)
        tracker.add_saturations()
    assert writer.rows[0]["train-samples/0"] == 64
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_passes_of_functionalize_and_make_fx_are_no_data(tmp_path, caplog):
    from torch.fx.experimental.proxy_tensor import make_fx

    model = network()
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        torch.func.functionalize(model)(X)
        make_fx(model)(X)
        make_fx(torch.func.functionalize(model))(X)
        model(X)
        tracker.add_saturations()
    assert writer.rows[0]["train-samples/0"] == 64
    assert writer.rows[0]["train-covariance-trace/0"] == trace(model[0](X))
    assert not caplog.text


def test_of_a_state_of_an_earlier_build_a_layer_left_out_is_left_out_of_the_epoch():
    layers = dict(network().named_children())
    hooks = LayerHooks({"0": layers["0"]}, Gathering())
    hooks.load_state_dict({"order": ["0"], "calls": [], "covariances": [], "left_out": ["0"]})
    layers["0"](X)
    assert not hooks.fresh()
    hooks.mark_used(forget=True)
    layers["0"](X)
    assert list(hooks.fresh()) == [("train", "0")]


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_a_tracker_may_stand_on_its_model(tmp_path, how):
    """As in a LightningModule, of which SWA and EMA make copies."""
    model = network()
    writer, model.tracker = tracked(tmp_path, model)
    model(X)
    if how == "deepcopy":
        copied = copy.deepcopy(model)
    elif how == "pickle":
        copied = pickle.loads(pickle.dumps(model))
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        copied = torch.load(file, weights_only=False)
    copied(X)
    copied.tracker.add_scalar("loss", 1.0)
    copied.tracker.add_saturations()
    copied.tracker.save()
    assert not copied.tracker.is_recording()
    with copied.tracker.mode("off"):
        copied.tracker.close()
    assert "inert" in repr(copied.tracker)
    model.tracker.add_saturations()
    model.tracker.close()
    assert list(writer.rows) == [0]
    assert writer.rows[0]["train-samples/0"] == 64
    assert "loss" not in writer.rows[0]
