"""Models that were compiled before they were tracked, or beside others that never are."""

import copy
import logging
import subprocess
import sys
import textwrap

import pytest
import torch
import torch._dynamo
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker

SIZES = [32, 32, 32, 8]
ALL = float(sum(SIZES))  # 104

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        return torch.tanh(self.linear(x))


class Net(nn.Module):
    def __init__(self, breaks=False):
        super().__init__()
        self.first, self.last, self.breaks = Block(), nn.Linear(8, 3), breaks

    def forward(self, x):
        x = self.first(x)
        if self.breaks:
            torch._dynamo.graph_break()
        return self.last(x)


@pytest.fixture(autouse=True)
def _torch_as_it_comes():
    """A compiler that has compiled nothing and does not look at hooks."""
    torch._dynamo.reset()
    config = torch._dynamo.config
    entry = config._config["skip_nnmodule_hook_guards"]  # type: ignore[attr-defined]
    if hasattr(entry, "default"):
        entry.default = True
    config.skip_nnmodule_hook_guards = True
    yield
    torch._dynamo.reset()


def whole(model, backend):
    return torch.compile(model, backend=backend)


def in_place(model, backend):
    model.compile(backend=backend)
    return model


def its_forward(model, backend):
    model.forward = torch.compile(model.forward, backend=backend)
    return model


def regions(model, backend):
    for child in model.children():
        child.compile(backend=backend)
    return model


def in_a_function(model, backend):
    @torch.compile(backend=backend)
    def step(x):
        return model(x) * 2

    return step


def feed(call, sizes=SIZES):
    for size in sizes:
        call(torch.randn(size, 8)).sum().backward()


def counts(folder, model, call, sizes=SIZES):
    """How many samples each layer saw in one epoch of training."""
    writer = Recorder()
    with SaturationTracker(folder, writer, model, stats=["n"]) as tracker:
        feed(call, sizes)
        tracker.add_saturations()
    return writer.rows[0]


EACH = {"train-samples/first.linear": ALL, "train-samples/last": ALL}


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("way", [whole, in_place, its_forward, regions, in_a_function])
def test_what_was_compiled_before_is_compiled_anew(tmp_path, caplog, way, backend, breaks):
    model = Net(breaks)
    call = way(model, backend)
    feed(call, [32])
    feed(call, [8, 16])
    with caplog.at_level(logging.INFO):
        assert counts(tmp_path, model, call) == EACH
    assert caplog.text.count("is compiled anew") == 1
    assert "WARNING" not in caplog.text


def test_what_was_compiled_before_by_inductor_is_compiled_anew(tmp_path):
    model = Net()
    call = torch.compile(model)
    feed(call, [32])
    assert counts(tmp_path, model, call) == EACH


def test_a_container_of_torch_own_is_compiled_anew(tmp_path):
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    call = torch.compile(model, backend="eager")
    feed(call, [32])
    row = counts(tmp_path, model, call)
    assert row == {"train-samples/0": ALL, "train-samples/2": ALL}


def test_evaluation_that_was_compiled_before(tmp_path):
    model, writer = Net(), Recorder()
    call = torch.compile(model, backend="eager")
    with torch.no_grad():
        model.eval()
        call(torch.randn(16, 8))
    model.train()
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        for _ in range(2):
            model.train()
            feed(call)
            model.eval()
            with torch.no_grad():
                for size in (16, 16, 4):
                    call(torch.randn(size, 8))
            tracker.add_saturations()
    of_evaluation = {name.replace("train", "eval"): 36.0 for name in EACH}
    assert writer.rows == {0: EACH | of_evaluation, 1: EACH | of_evaluation}


@pytest.mark.parametrize("way", [whole, in_place, its_forward, regions])
@pytest.mark.parametrize("is_teacher_first", [True, False])
def test_a_teacher_of_the_same_class_takes_no_passes(tmp_path, caplog, way, is_teacher_first):
    teacher, student = Net(), Net()
    teach, learn = way(teacher, "eager"), way(student, "eager")
    with torch.no_grad():
        teach(torch.randn(32, 8))
    calls = [teach, learn] if is_teacher_first else [learn, teach]

    def both(x):
        return sum(call(x) for call in calls)

    assert counts(tmp_path, student, both) == EACH
    assert "WARNING" not in caplog.text


def test_an_average_of_the_weights_of_a_tracked_model(tmp_path):
    model, writer = Net(), Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        average = copy.deepcopy(model)
        calls = [torch.compile(m, backend="eager") for m in (average, model)]
        feed(lambda x: sum(call(x) for call in calls))
        tracker.add_saturations()
    assert writer.rows[0] == EACH


def test_folds_and_a_second_tracker_with_passes_in_between(tmp_path, caplog):
    for fold in range(4):
        model = Net()
        call = torch.compile(model, backend="eager")
        feed(call, [32])
        for again in "ab":
            assert counts(tmp_path / f"{fold}{again}", model, call) == EACH
            feed(call, [32, 16])
    assert "WARNING" not in caplog.text


def test_what_a_layer_that_is_tracked_later_was_compiled_in(tmp_path):
    model, writer = Net(), Recorder()
    call = torch.compile(model, backend="eager")
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        feed(call)
        tracker.add_saturations()
        model.last = nn.Linear(8, 3)
        feed(call)
        tracker.retrack()
        feed(call)
        tracker.add_saturations()
    assert writer.rows[0] == EACH
    assert writer.rows[1] == EACH | {"train-samples/first.linear": 2 * ALL}


@pytest.mark.skipif(
    not hasattr(torch._dynamo.guards.GuardBuilder, "EMPTY_NN_MODULE_HOOKS_DICT"),
    reason="torch 2.4 cannot look",
)
def test_code_that_looks_at_hooks_is_not_compiled_again(tmp_path, caplog):
    compiled = []

    def backend(module, _inputs):
        compiled.append(module)
        return module.forward

    other = torch.compile(Net(), backend=backend)
    feed(other, [32])
    assert len(compiled) == 1
    plain = Net()
    counts(tmp_path / "first", plain, plain)
    feed(other, [32])
    assert len(compiled) == 2
    with caplog.at_level(logging.INFO):
        counts(tmp_path / "second", plain, plain)
    feed(other, [32])
    assert len(compiled) == 2
    assert "anew" not in caplog.text


def test_whoever_compiles_first_after_the_tracker_was_made(tmp_path):
    program = """
    import sys, threading, torch
    from torch import nn
    from delve import SaturationTracker

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 3)
        def forward(self, x):
            return self.linear(x)

    class Saying:
        def add_scalars(self, value_dict, global_step):
            print("ROW", value_dict)

    teacher, student = Net(), Net()
    with SaturationTracker(sys.argv[1], Saying(), student, stats=["n"]) as tracker:
        finders = len(sys.meta_path)
        assert "torch._dynamo" not in sys.modules
        calls = [torch.compile(m, backend="eager") for m in (teacher, student)]
        for size in (32, 32, 32, 8):
            for call in calls:
                call(torch.randn(size, 8)).sum().backward()
        tracker.add_saturations()
    assert len(sys.meta_path) == finders - 1
    def elsewhere():
        print("SWITCH", torch._dynamo.config.skip_nnmodule_hook_guards)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "ROW {'train-samples/linear': 104.0}" in lines
    assert "SWITCH False" in lines
