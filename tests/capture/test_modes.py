"""The mode of a pass is the model's, or what the user says."""

import numpy as np
import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError

TRAINING = [torch.randn(32, 6) for _ in range(30)]
VALIDATION = [torch.randn(32, 6) for _ in range(2)]


class Transfer(nn.Module):
    """A head that learns on a backbone that does not."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.backbone(x))


def epoch(model, tracker, after_train=lambda model: None):
    model.train()
    after_train(model)
    for batch in TRAINING:
        model(batch)
    model.eval()
    for batch in VALIDATION:
        model(batch)
    tracker.add_saturations()


def row_of(folder, model, modules, **arguments):
    writer = Recorder()
    with SaturationTracker(folder, writer, modules, stats=["n", "trc"], **arguments) as tracker:
        epoch(model, tracker, lambda model: model.backbone.eval())
    return writer.rows[0]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_frozen_backbone_in_evaluation_is_trained_with(tmp_path, compiled):
    model = Transfer()
    called = torch.compile(model, backend="eager") if compiled else model
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=["n", "trc"]) as tracker:
        for _ in range(2):
            epoch(called, tracker, lambda called: model.backbone.eval())
    row = writer.rows[1]
    assert row["train-samples/backbone.0"] == 960
    assert row["eval-samples/backbone.0"] == 64
    outputs = model.backbone[0](torch.cat(TRAINING)).detach().double().numpy()
    expected = np.cov(outputs, rowvar=False, bias=True).trace()
    assert row["train-covariance-trace/backbone.0"] == pytest.approx(expected, rel=1e-5)


def test_of_several_models_each_has_its_own_mode(tmp_path):
    model = Transfer()
    parts = {"backbone": model.backbone, "head": model.head}
    row = row_of(tmp_path, model, parts)
    assert row["eval-samples/backbone.0"] == 1024  # which is what this model was in
    assert row["train-samples/head"] == 960


def test_layers_without_a_model_have_their_own_mode(tmp_path):
    model = Transfer()
    row = row_of(tmp_path, model, [model.backbone[0], model.head])
    assert row["eval-samples/Linear-0"] == 1024
    assert row["train-samples/Linear-1"] == 960


@pytest.mark.parametrize("compiled", [False, True])
def test_what_the_user_says_goes_before(tmp_path, compiled):
    model = Transfer()
    called = torch.compile(model, backend="eager") if compiled else model
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        with tracker.mode("off"):
            called(TRAINING[0])
        for batch in TRAINING:
            called(batch)
        with tracker.mode("eval"):
            called(VALIDATION[0])
            with tracker.mode("off"):
                called(VALIDATION[0])
            called(VALIDATION[1])
        tracker.add_saturations()
    row = writer.rows[0]
    assert (row["train-samples/head"], row["eval-samples/head"]) == (960, 64)


def test_an_error_in_the_block_ends_it(tmp_path):
    model = Transfer()
    with SaturationTracker(tmp_path, Recorder(), model, stats=["n"]) as tracker:
        with pytest.raises(ZeroDivisionError), tracker.mode("off"):
            1 / 0  # noqa: B018
        model(TRAINING[0])
        assert tracker._hooks.fresh()


@pytest.mark.parametrize("mode", ["validation", "", None, True, ["eval"]])
def test_an_unknown_mode_is_refused_at_the_call(tmp_path, mode):
    with (
        SaturationTracker(tmp_path, Recorder(), Transfer()) as tracker,
        pytest.raises(ArgumentError, match="mode must be one of 'train', 'eval' and 'off', not"),
    ):
        tracker.mode(mode)


def test_blocks_of_two_threads_may_end_in_any_order(tmp_path):
    model, writer = Transfer(), Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        first, second = tracker.mode("eval"), tracker.mode("off")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        model(TRAINING[0])  # off
        second.__exit__(None, None, None)
        model(TRAINING[0])
        tracker.add_saturations()
    assert writer.rows[0]["train-samples/head"] == 32
    assert "eval-samples/head" not in writer.rows[0]
