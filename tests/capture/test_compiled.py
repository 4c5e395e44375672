"""Compiled models: what is compiled, how often, and that the numbers are those of the plain run."""

import subprocess
import sys

import pytest
import torch
import torch._dynamo
from support.writers import Recorder
from torch import nn
from torch.utils.checkpoint import checkpoint

from delve import SaturationTracker

STATS = ["lsat", "idim", "trc", "n"]
MANY = 12  # more than the compiler's limit of recompilations

# The compiler looks at inputs that are not leaves, whether or not anything is tracked.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, reentrant=None):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.reentrant = reentrant

    def forward(self, x):
        if self.reentrant is None:
            return self._activated(x)
        return checkpoint(self._activated, x, use_reentrant=self.reentrant)

    def _activated(self, x):
        return torch.tanh(self.linear(x))


class Recurrent(nn.Module):
    """The compiler does not take up recurrent layers: the graph breaks at them."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def batches(*shape):
    return [torch.randn(*shape, generator=torch.Generator().manual_seed(i)) for i in range(4)]


def row(folder, tracked, call, inputs):
    """The row of one epoch of training."""
    writer = Recorder()
    with SaturationTracker(folder, writer, tracked, stats=STATS) as tracker:
        for x in inputs:
            call(x).sum().backward()
        tracker.add_saturations()
    return writer.rows[0]


def operations(graphs):
    """The names of what the compiled graphs call."""
    called = [node.target for graph in graphs for node in graph.nodes if "call" in node.op]
    return {getattr(target, "__name__", target) for target in called}


class KeepGraphs:
    """A backend that runs the graphs as they are."""

    def __init__(self):
        self.graphs = []

    def __call__(self, module, _inputs):
        self.graphs.append(module.graph)
        return module.forward


def test_more_blocks_than_the_recompilation_limit_can_be_compiled_one_by_one(tmp_path):
    model = nn.Sequential(*[Block() for _ in range(MANY)])
    inputs = batches(30, 8)
    expected = row(tmp_path / "plain", model, model, inputs)
    untracked, tracked = KeepGraphs(), KeepGraphs()
    for block in model:
        block.compile(backend=untracked, fullgraph=True)
    model(inputs[0])
    torch._dynamo.reset()
    for block in model:
        block.compile(backend=tracked, fullgraph=True)
    assert row(tmp_path / "run", model, model, inputs) == expected
    assert len(tracked.graphs) == len(untracked.graphs)


def test_more_trackers_than_the_recompilation_limit_in_one_process(tmp_path):
    model, inputs = Block(), batches(30, 8)
    expected = row(tmp_path / "plain", model, model, inputs)
    compiled = torch.compile(model, backend=KeepGraphs(), fullgraph=True)
    for i in range(MANY):
        assert row(tmp_path / str(i), model, compiled, inputs) == expected


def test_beside_a_graph_break_nothing_of_delve_is_compiled_but_its_operator(tmp_path):
    model, inputs = Recurrent(), batches(30, 5, 8)
    expected = row(tmp_path / "plain", model, model, inputs)
    graphs = KeepGraphs()
    compiled = torch.compile(model, backend=graphs)
    assert row(tmp_path / "run", model, compiled, inputs) == expected
    assert operations(graphs.graphs) <= {"linear", "detach", "receive.default"}


class Broken(nn.Module):
    """The graph breaks within."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        x = self.linear(x)
        torch._dynamo.graph_break()
        return torch.tanh(x)


class Deep(nn.Module):
    """Twenty layers, ten of which are followed by a graph break."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(*[Broken() for _ in range(10)])
        self.rest = nn.Sequential(*[Block() for _ in range(9)])
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.rest(self.backbone(x)))


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
@pytest.mark.parametrize("is_regional", [False, True])
def test_a_deep_model_with_graph_breaks_in_changing_modes(tmp_path, caplog, backend, is_regional):
    model, writer = Deep(), Recorder()
    call = model if is_regional else torch.compile(model, backend=backend)
    if is_regional:
        for block in (*model.backbone, *model.rest):
            block.compile(backend=backend)
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        for _ in range(2):
            model.train()
            for size in (32, 32, 8):
                call(torch.randn(size, 8)).sum().backward()
            model.backbone.eval()  # frozen, but trained with
            for size in (16, 8):
                call(torch.randn(size, 8)).sum().backward()
            model.eval()
            with torch.no_grad():
                for size in (5, 5, 3):
                    call(torch.randn(size, 8))
            tracker.add_saturations()
    of_both = {"train": 32 + 32 + 8 + 16 + 8, "eval": 5 + 5 + 3}
    for row in writer.rows.values():
        assert len(row) == 2 * 20
        for name, count in row.items():
            assert count == of_both[name.split("-")[0]], name
    text = caplog.text
    assert not any(what in text for what in ("recompile_limit", "cache_size_limit")), text
    assert not any(what in text for what in ("left out", "saw")), text


def test_after_a_graph_break_the_hook_of_a_linear_layer_is_not_compiled_either(tmp_path):
    model, inputs = nn.Sequential(Broken(), Broken()), batches(30, 8)
    expected = row(tmp_path / "plain", model, model, inputs)
    untracked, tracked = KeepGraphs(), KeepGraphs()
    torch.compile(model, backend=untracked)(inputs[0])
    torch._dynamo.reset()
    assert row(tmp_path / "run", model, torch.compile(model, backend=tracked), inputs) == expected
    known = {"linear", "tanh"} | operations(untracked.graphs)  # torch 2.4 has names of its own
    assert operations(tracked.graphs) <= known | {"detach", "receive"}
    assert len(tracked.graphs) == len(untracked.graphs)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("fullgraph", [True, False])
def test_recomputation_by_checkpointing_is_not_counted(tmp_path, reentrant, fullgraph):
    model, inputs = nn.Sequential(Block(), Block(reentrant)), batches(30, 8)
    expected = row(tmp_path / "plain", model, model, inputs)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=fullgraph)
    assert row(tmp_path / "run", model, compiled, inputs) == expected


def test_a_tracker_made_while_tensors_go_to_another_device_by_default(tmp_path):
    model, inputs = Block(), batches(30, 8)
    expected = row(tmp_path / "plain", model, model, inputs)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    writer = Recorder()
    with torch.device("meta"):
        tracker = SaturationTracker(tmp_path / "run", writer, model, stats=STATS)
    with tracker:
        for x in inputs:
            compiled(x).sum().backward()
        tracker.add_saturations()
    assert writer.rows[0] == expected


@pytest.mark.skipif(not hasattr(torch.compiler, "is_exporting"), reason="needs torch 2.7")
@pytest.mark.parametrize("strict", [True, False])
def test_an_exported_model_knows_nothing_of_delve(tmp_path, strict):
    model, x = Block().eval(), torch.randn(30, 8)
    plain = torch.export.export(model, (x,), strict=strict)
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        model(x)
        exported = torch.export.export(model, (x,), strict=strict)
        tracker.add_saturations()
    assert operations([exported.graph]) == operations([plain.graph])
    assert len(exported.graph_signature.input_specs) == len(plain.graph_signature.input_specs)
    assert writer.rows[0] == {"eval-samples/linear": len(x)}


def test_nested_tensors_in_a_compiled_model_are_passed_over(tmp_path, caplog):
    model = nn.Linear(4, 3)
    sequences = [torch.randn(length, 4) for length in (3, 5)]
    nested = torch.nested.nested_tensor(sequences, layout=torch.jagged)
    expected = model(nested).values()
    with SaturationTracker(tmp_path, Recorder(), model, stats=STATS):
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(nested).values(), expected)


def test_without_compiling_the_compiler_is_not_even_imported(tmp_path):
    program = (
        "import sys, torch; from delve import SaturationTracker;"
        "layer = torch.nn.Linear(4, 3);"
        "tracker = SaturationTracker(sys.argv[1], 'print', layer);"
        "layer(torch.randn(5, 4)).sum().backward();"
        "tracker.add_saturations(); tracker.close();"
        "print('torch._dynamo' in sys.modules)"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
