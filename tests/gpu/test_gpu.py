"""On a GPU: the numbers of the CPU, nothing to wait for in a hook, few kernels, little memory.

    pytest tests/gpu -s

It takes less than six minutes, and prints the card and what it has measured. Without CUDA all of it
is skipped.
"""

import copy
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from delve import SaturationTracker
from delve.capture.activations import SamplingMethods
from delve.capture.gathering import Gathering
from delve.capture.hooks import LayerHooks
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.decomposition import spectrum_of
from delve.numerics.directions import Directions
from delve.numerics.sketch import Sketch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import models

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]

BOUND = 1e-6  # of the largest eigenvalue
MOST_KERNELS = 12  # a call


class Keeping:
    """A writer that keeps what it gets."""

    def __init__(self):
        self.rows = []

    def add_scalars(self, value_dict, global_step):
        self.rows.append(dict(value_dict))


@pytest.fixture(autouse=True, scope="module")
def card():
    yield
    print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}")


LAYERS = {
    "linear": (lambda: nn.Linear(20, 300), (700, 20)),
    "few features": (lambda: nn.Linear(20, 10), (9001, 20)),
    "series": (lambda: nn.Linear(20, 150), (40, 300, 20)),
    "convolution": (lambda: nn.Conv2d(3, 64, 3), (8, 3, 66, 66)),
    "many channels": (lambda: nn.Conv2d(3, 600, 3), (16, 3, 9, 9)),
    "transposed convolution": (lambda: nn.ConvTranspose2d(3, 40, 2, 2), (4, 3, 60, 60)),
    "convolution over time": (lambda: nn.Conv1d(3, 70, 3), (6, 3, 9000)),
    "lstm": (lambda: nn.LSTM(20, 90, batch_first=True), (30, 50, 20)),
    "gru": (lambda: nn.GRU(20, 90), (50, 30, 20)),
    "attention": (lambda: nn.MultiheadAttention(64, 4, batch_first=True), (16, 60, 64)),
}


def outputs_of(name, dtype, batches=4):
    """Outputs on the GPU, of the layer there."""
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer = make().cuda().to(dtype)
    with torch.no_grad():
        given = [torch.randn(shape, device="cuda").to(dtype) + 2 * i for i in range(batches)]
        calls = [(x, x, x) if name == "attention" else (x,) for x in given]
        return layer, [layer(*call) for call in calls]


def on(output, device):
    if isinstance(output, tuple):
        return tuple(None if one is None else on(one, device) for one in output)
    return output.to(device)


def gathered(layer, outputs):
    hooks = LayerHooks(
        {"layer": layer}, Gathering(methods=SamplingMethods(timeseries="timestepwise"))
    )
    try:
        for output in outputs:
            hooks.receive("layer", layer, output, "train", None)
        return hooks.fresh()["train", "layer"]
    finally:
        hooks.remove()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LAYERS)
def test_a_gpu_gives_what_the_cpu_gives(name, dtype):
    layer, outputs = outputs_of(name, dtype)
    there = gathered(layer, outputs)
    here = gathered(layer, [on(output, "cpu") for output in outputs])
    assert there.device.type == "cuda"
    assert there.samples == here.samples
    expected = here.fix().numpy()
    largest = np.linalg.eigvalsh(expected).max()
    assert np.abs(there.fix().cpu().numpy() - expected).max() <= BOUND * largest
    one, other = (spectrum_of(c, threshold=0.99).eigenvalues for c in (there, here))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("drift", [0.0, 5.0])
def test_a_sketch_on_a_gpu_proves_what_it_does_on_the_cpu(dtype, drift):
    torch.manual_seed(0)
    scales = torch.arange(1, 1025).double().pow(-1.5).float()
    batches = [(torch.randn(700, 1024) * scales + drift * i).to(dtype) for i in range(4)]
    directions = Directions.random(1024, 128, torch.device("cpu"))
    here, there = Sketch(directions), Sketch(directions.to(torch.device("cuda")))
    exact = TorchCovarianceMatrix()
    for batch in batches:
        here.update(batch)
        there.update(batch.cuda())
        exact.update(batch)
    assert there.trace() == pytest.approx(here.trace(), rel=1e-6)
    found = spectrum_of(there).bounds
    known = spectrum_of(exact).eigenvalues
    for threshold in (0.5, 0.9, 0.99):
        explained = np.cumsum(known)
        count = int(np.searchsorted(explained, threshold * explained[-1]) + 1)
        low, high = found.intrinsic_dimensionality(threshold)
        assert low <= count <= high


@pytest.mark.parametrize("name", LAYERS)
def test_a_hook_waits_for_nothing(name):
    layer, outputs = outputs_of(name, torch.float32, batches=6)
    hooks = LayerHooks(
        {"layer": layer}, Gathering(methods=SamplingMethods(timeseries="timestepwise"))
    )
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for output in outputs:
            hooks.receive("layer", layer, output, "train", None)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        hooks.remove()
    assert not hooks._gatherer.spoiled  # an error in a hook leaves the layer out


@pytest.mark.parametrize("name", LAYERS)
def test_a_call_starts_few_kernels(name):
    layer, outputs = outputs_of(name, torch.float32)
    hooks = LayerHooks(
        {"layer": layer}, Gathering(methods=SamplingMethods(timeseries="timestepwise"))
    )
    for output in outputs[:3]:
        hooks.receive("layer", layer, output, "train", None)
    kernels = kernels_of(lambda: hooks.receive("layer", layer, outputs[3], "train", None))
    hooks.remove()
    assert kernels <= MOST_KERNELS


def kernels_of(act):
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        act()
        torch.cuda.synchronize()
    return sum(
        "memset" not in event.name.lower()
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    )


def steps_of(model, batch):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    inputs, labels = (one.cuda() for one in batch)

    def step():
        outputs = model(inputs)
        loss = nn.functional.cross_entropy(outputs.flatten(0, -2), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


@pytest.mark.parametrize("name", ["resnet50", "gpt124m"])
def test_a_step_is_little_slower_and_holds_little_more(name, tmp_path):
    make_model, make_batch = models.MODELS[name]
    torch.manual_seed(0)
    plain = make_model().cuda()
    tracked, batch = copy.deepcopy(plain), make_batch()
    with SaturationTracker(
        tmp_path, Keeping(), tracked, stats=["lsat"], timeseries_method="timestepwise"
    ) as tracker:
        steps = {"plain": steps_of(plain, batch), "tracked": steps_of(tracked, batch)}
        times, peaks = {name: [] for name in steps}, {}
        for _ in range(12):
            for kind, step in steps.items():
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
                began = time.perf_counter()
                step()
                torch.cuda.synchronize()
                times[kind].append(time.perf_counter() - began)
                peaks[kind] = torch.cuda.max_memory_allocated() / 2**20
        kernels = {kind: kernels_of(step) for kind, step in steps.items()}
        began = time.perf_counter()
        tracker.add_saturations()
        end = time.perf_counter() - began
    ratio = statistics.median(times["tracked"][2:]) / statistics.median(times["plain"][2:])
    print(
        f"\n{name}: step {ratio:.2f} of untracked, kernels {kernels['tracked']} for "
        f"{kernels['plain']}, peak {peaks['tracked']:.0f} MiB for {peaks['plain']:.0f}, "
        f"end of epoch {end:.2f} s"
    )
    layers = sum(isinstance(one, nn.Linear | nn.Conv2d) for one in tracked.modules())
    assert kernels["tracked"] <= kernels["plain"] + MOST_KERNELS * layers
    assert ratio < 2


def test_layers_share_the_memory_that_is_needed_for_a_moment(tmp_path):
    """Sixteen convolutions once held 16 MiB each in either mode, beside their sums."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(16, 16, 3, padding=1) for _ in range(16)]
    model = nn.Sequential(*layers).cuda()
    inputs = torch.randn(32, 16, 64, 64, device="cuda")
    with SaturationTracker(tmp_path, Keeping(), model, stats=["lsat"]):
        with torch.no_grad():
            model(inputs)
            torch.cuda.synchronize()
            before = torch.cuda.memory_allocated()
            model(inputs)
        torch.cuda.synchronize()
        assert torch.cuda.memory_allocated() - before < 2**21


def test_another_stream_sees_its_own_numbers(tmp_path):
    """Scratch that two streams shared would be overwritten before it was read."""
    torch.manual_seed(0)
    layers = {f"l{i}": nn.Linear(256, 256).cuda() for i in range(2)}
    batches = [torch.randn(6000, 256, device="cuda") for _ in range(8)]
    hooks = LayerHooks(layers, Gathering())
    streams = [torch.cuda.Stream() for _ in layers]
    torch.cuda.synchronize()
    with torch.no_grad():
        for batch in batches:
            for layer, stream in zip(layers.values(), streams, strict=True):
                with torch.cuda.stream(stream):
                    layer(batch)
    torch.cuda.synchronize()
    found = hooks.fresh()
    hooks.remove()
    for name, layer in layers.items():
        exact = TorchCovarianceMatrix()
        with torch.no_grad():
            for batch in batches:
                exact.update(layer(batch).cpu())
        expected = exact.fix().numpy()
        got = found["train", name].fix().cpu().numpy()
        assert np.abs(got - expected).max() <= BOUND * np.linalg.eigvalsh(expected).max()


def test_a_cuda_graph_counts_once_or_says_so(tmp_path, caplog):
    """A replay calls no hook: what it computes is not seen, and the capture is harmless."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)).cuda()
    inputs = torch.randn(300, 64, device="cuda")
    writer = Keeping()
    with SaturationTracker(tmp_path, writer, model, stats=["lsat"]) as tracker, torch.no_grad():
        model(inputs)
        tracker.add_saturations()
        seen = writer.rows[-1]
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with tracker.mode("off"), torch.cuda.graph(graph):
            model(inputs)
        for _ in range(3):
            graph.replay()
        torch.cuda.synchronize()
        model(inputs)
        tracker.add_saturations()
    assert writer.rows[-1] == seen


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_model_gives_the_same(tmp_path, mode):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 80)).cuda()
    batches = [torch.randn(300, 64, device="cuda") for _ in range(5)]
    rows = []
    for name, model in (("plain", plain), ("compiled", copy.deepcopy(plain))):
        writer = Keeping()
        with SaturationTracker(tmp_path / name, writer, model, stats=["lsat", "idim"]) as tracker:
            called = torch.compile(model, mode=mode) if name == "compiled" else model
            with torch.no_grad():
                for batch in batches:
                    called(batch)
            tracker.add_saturations()
        rows.append(writer.rows[-1])
    assert rows[0] == pytest.approx(rows[1], rel=1e-6)
