"""Passes that no layer saw, because code without hooks ran; and those that are in order."""

import logging

import pytest
import torch
import torch._dynamo
from support.writers import Recorder
from torch import nn
from torch.utils.checkpoint import checkpoint

from delve import SaturationTracker

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
SIZES = (32, 32, 32, 8)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def tracked(folder, model, call, epochs=1):
    writer = Recorder()
    with SaturationTracker(folder, writer, model, stats=["n"]) as tracker:
        for _ in range(epochs):
            for size in SIZES:
                call(torch.randn(size, 8)).sum().backward()
            tracker.add_saturations()
    return writer.rows


def without_guards(model):
    """As the compiler does where a user tells it not to guard modules."""

    def keep(guards):
        return ["hooks" not in guard.name for guard in guards]

    options = {"guard_filter_fn": keep}
    return torch.compile(model, backend="eager", dynamic=False, options=options)


needs_filter = pytest.mark.skipif(
    not hasattr(torch.compiler, "skip_guard_on_all_nn_modules_unsafe"), reason="needs torch 2.8"
)


@needs_filter
def test_passes_that_no_layer_saw_are_counted_and_named_once(tmp_path, caplog):
    teacher, student = Net(), Net()
    learn, teach = without_guards(student), without_guards(teacher)
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, student, stats=["n"]) as tracker:
        for _ in range(2):
            learn(torch.randn(32, 8))  # compiled with hooks
            for _ in range(3):
                teach(torch.randn(8, 8))  # compiled without, and taken by the student
                learn(torch.randn(8, 8))
            tracker.add_saturations()
    assert writer.rows[0] == {"train-samples/first": 32.0, "train-samples/last": 32.0}  # of 56
    assert caplog.text.count("code that was compiled without their hooks") == 1
    assert "layers first, last saw 1 of the model's 4 passes (train)" in caplog.text


class Experts(Net):
    """One of two layers is called, by a number that the compiler does not know."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def forward(self, x):
        return super().forward(self.experts[int(len(x) < 32)](x))


class Shared(Net):
    def forward(self, x):
        return self.last(self.first(self.first(x)))


class Checkpointed(Net):
    def forward(self, x):
        return self.last(checkpoint(self.first, x, use_reentrant=False))


class Broken(Net):
    def forward(self, x):
        x = self.first(x)
        torch._dynamo.graph_break()
        return self.last(x)


class NowAndThen(Net):
    """Its forward does not always call a layer."""

    def forward(self, x):
        return super().forward(x) if len(x) < 32 else x * self.last.weight.sum()


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("kind", [Net, Experts, Shared, Checkpointed, Broken])
def test_what_is_in_order_is_not_warned_of(tmp_path, caplog, kind, is_whole):
    model = kind()
    if is_whole:
        call = torch.compile(model, backend="aot_eager")
    else:
        call = model
        for child in (model.first, model.last):
            child.compile(backend="eager")
    rows = tracked(tmp_path, model, call, epochs=2)
    assert rows[1]["train-samples/last"] == sum(SIZES)
    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_model_that_is_not_compiled_may_call_no_layer(tmp_path, caplog):
    model = NowAndThen()
    rows = tracked(tmp_path, model, model)
    assert rows[0]["train-samples/last"] == 8.0
    assert "passes" not in caplog.text


def test_passes_that_are_no_data_are_not_compared(tmp_path, caplog):
    model, writer = Net(), Recorder()
    call = torch.compile(model, backend="eager")
    x = torch.randn(32, 8)
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        call(x)
        with tracker.mode("off"):
            call(x)
            model(x)
        tracker.stop()
        call(x)
        tracker.resume()
        call(x)
        tracker.add_saturations()
    assert writer.rows[0]["train-samples/last"] == 64.0
    assert "passes" not in caplog.text


def test_nothing_is_left_on_the_model(tmp_path):
    model = Net()
    with SaturationTracker(tmp_path, Recorder(), model):
        assert model._forward_hooks
    assert not any(module._forward_hooks for module in model.modules())


def test_passes_between_rows_that_are_far_apart_are_not_compared(tmp_path, caplog):
    model, writer = Net(), Recorder()
    call = torch.compile(model, backend="eager")
    x = torch.randn(32, 8)
    with SaturationTracker(tmp_path, writer, model, stats=["n"], every=5, gather="last") as tracker:
        for step in range(1, 11):
            call(x)
            tracker.add_saturations(step=step)
    assert [row["train-samples/last"] for row in writer.rows.values()] == [32.0, 32.0]
    assert "passes" not in caplog.text
