"""Training as people do it: whatever the machinery, the numbers are those of the plain run."""

import copy
import functools
import importlib
import shutil
import threading

import numpy as np
import pytest
import torch
from support.models import reference_saturation
from support.writers import Recorder
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from delve import SaturationTracker
from delve.capture.activations import samples
from delve.capture.gathering import Gathering
from delve.capture.hooks import LayerHooks
from delve.capture.sample_limit import SampleLimit
from delve.errors import ArgumentError


class Network(nn.Module):
    """A network whose hidden layers can be checkpointed, and called twice."""

    def __init__(self, reentrant=None, twice=False):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(6, 8)
        self.hidden = nn.Linear(8, 8)
        self.last = nn.Linear(8, 3)
        self.reentrant = reentrant
        self.twice = twice

    def forward(self, x):
        x = torch.relu(self.first(x))
        if self.reentrant is None:
            x = torch.relu(self.hidden(x))
        else:
            x = checkpoint(lambda y: torch.relu(self.hidden(y)), x, use_reentrant=self.reentrant)
        if self.twice:
            x = torch.relu(self.hidden(x))
        return self.last(x)


BATCHES = [
    torch.randn(30, 6, generator=torch.Generator().manual_seed(i)) * (i + 1) for i in range(4)
]


def train(model, batches=BATCHES):
    for batch in batches:
        model(batch).sum().backward()


def row(folder, model, action=train, **arguments):
    """The row of one epoch in which ``action`` used the model."""
    writer = Recorder()
    arguments = {"stats": ["lsat", "idim"]} | arguments
    with SaturationTracker(folder, writer, model, **arguments) as tracker:
        action(model)
        tracker.add_saturations()
    return writer.rows.get(0, {})


@pytest.fixture
def plain(tmp_path):
    return row(tmp_path / "plain", Network())


# --- machinery -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_by_checkpointing_is_not_counted(tmp_path, plain, reentrant):
    counted = []

    def action(model):
        hook = model.hidden.register_forward_hook(lambda *_: counted.append(1))
        train(model)
        hook.remove()

    assert row(tmp_path / "run", Network(reentrant), action) == plain
    assert len(counted) == 2 * len(BATCHES)  # the hook of a user who does not look


@pytest.mark.parametrize("fullgraph", [True, False])
def test_a_model_compiled_before_the_tracker_is_made(tmp_path, plain, fullgraph):
    torch._dynamo.reset()
    compiled = torch.compile(Network(), fullgraph=fullgraph, backend="aot_eager")
    assert row(tmp_path / "run", compiled) == plain


def test_a_model_compiled_after_the_tracker_is_made(tmp_path, plain):
    torch._dynamo.reset()
    model = Network()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert row(tmp_path / "run", model, lambda _: train(compiled)) == plain


def test_a_model_compiled_in_place_keeps_its_names(tmp_path, plain):
    torch._dynamo.reset()
    model = Network()
    model.compile(fullgraph=True, backend="aot_eager")
    assert row(tmp_path / "run", model) == plain


@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
def test_inductor_keeps_the_hooks(tmp_path, plain):
    torch._dynamo.reset()
    assert row(tmp_path / "run", torch.compile(Network(), fullgraph=True)) == plain


def test_a_compiled_model_records_evaluation_apart(tmp_path):
    torch._dynamo.reset()

    def action(model):
        model.train()(BATCHES[0])
        with torch.no_grad():
            model.eval()(BATCHES[1])

    expected = row(tmp_path / "plain", Network(), action)
    compiled = torch.compile(Network(), backend="aot_eager")
    assert row(tmp_path / "run", compiled, action) == expected
    assert {key.mode for key in expected} == {"train", "eval"}


def test_a_tracker_made_after_the_first_compiled_call_names_the_layers_it_cannot_see(
    tmp_path, caplog
):
    torch._dynamo.reset()
    compiled = torch.compile(Network(), backend="aot_eager")
    compiled(BATCHES[0])
    found = row(tmp_path / "run", compiled)
    if not found:  # else this version of torch compiles anew, and nothing is missing
        assert "saw nothing in this epoch: first, hidden, last" in caplog.text


def test_autocast_does_not_change_how_half_precision_outputs_are_added_up(tmp_path):
    outputs = {}

    def action(model):
        for name in ("first", "hidden", "last"):
            layer = getattr(model, name)
            layer.register_forward_hook(
                lambda _, __, output, name=name: outputs.setdefault(name, []).append(output)
            )
        with torch.autocast("cpu", torch.bfloat16):
            train(model)

    found = row(tmp_path / "run", Network(), action)
    for name, batches in outputs.items():
        assert batches[0].dtype == torch.bfloat16
        seen = torch.cat(batches).detach().double().numpy()
        assert found[f"train-saturation/{name}"] == reference_saturation(seen)


def test_gradient_accumulation_counts_every_micro_batch(tmp_path, plain):
    def action(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        for batch in BATCHES:
            for micro in batch.split(7):
                model(micro).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    assert row(tmp_path / "run", Network(), action) == plain


def test_inference_mode_is_recorded(tmp_path):
    def action(model):
        model.eval()
        with torch.inference_mode():
            for batch in BATCHES:
                model(batch)
        with torch.no_grad():
            model(BATCHES[0])

    expected = row(tmp_path / "plain", Network().eval(), lambda m: train(m, [*BATCHES, BATCHES[0]]))
    assert row(tmp_path / "run", Network(), action) == expected


@pytest.mark.parametrize("wrapper", [nn.DataParallel, lambda model: model])
def test_wrappers_keep_the_names_of_the_model_inside(tmp_path, plain, wrapper):
    assert row(tmp_path / "run", wrapper(Network())) == plain


def test_replicas_of_data_parallel_count(tmp_path, plain):
    def action(model):
        # What DataParallel does on several devices: shallow copies that share the hooks.
        replica = model._replicate_for_data_parallel()
        for name, child in model._modules.items():
            replica._modules[name] = child._replicate_for_data_parallel()
            replica._modules[name]._parameters = child._parameters
        train(model, BATCHES[:2])
        for batch in BATCHES[2:]:
            x = torch.relu(replica._modules["first"](batch))
            replica._modules["last"](torch.relu(replica._modules["hidden"](x)))

    assert row(tmp_path / "run", Network(), action) == plain


def test_several_calls_of_a_module_in_a_pass_all_count(tmp_path):
    outputs = []

    def action(model):
        model.hidden.register_forward_hook(lambda *call: outputs.append(call[2].detach().numpy()))
        train(model)

    found = row(tmp_path / "run", Network(twice=True), action)
    assert len(outputs) == 2 * len(BATCHES)
    assert found["train-saturation/hidden"] == reference_saturation(np.concatenate(outputs))


def test_a_shared_module_is_one_layer(tmp_path):
    shared = nn.Linear(6, 6)
    found = row(tmp_path / "run", nn.Sequential(shared, nn.ReLU(), shared))
    assert set(found) == {"train-saturation/0", "train-intrinsic-dimensionality/0"}


def test_a_recurrent_and_an_attention_layer(tmp_path):
    class Sequences(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(6, 8)
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x):
            series, _ = self.gru(x)
            return self.attention(series, series, series)[0]

    model = Sequences()
    x = torch.randn(5, 40, 6)
    with torch.no_grad():
        series = model.gru(x)[0]
        attended = model.attention(series, series, series)[0]
    found = row(tmp_path / "run", model, lambda m: m(x))
    assert found["train-saturation/gru"] == reference_saturation(series[-1].numpy())
    assert found["train-saturation/attention"] == reference_saturation(attended[-1].numpy())
    assert {key.layer for key in found} == {"gru", "attention"}  # not attention.out_proj


@pytest.mark.parametrize("method", ["last_timestep", "timestepwise"])
def test_packed_sequences_give_what_each_sequence_gives_alone(tmp_path, method):
    torch.manual_seed(0)
    layer = nn.LSTM(6, 8, batch_first=True)
    padded, lengths = torch.randn(40, 9, 6), torch.arange(40) % 9 + 1

    def together(model):
        for part, sizes in zip(padded.split(10), lengths.split(10), strict=True):
            model(pack_padded_sequence(part, sizes, batch_first=True, enforce_sorted=False))

    def one_by_one(model):
        for sequence, length in zip(padded, lengths, strict=True):
            model(sequence[:length])

    arguments = {"stats": ["lsat", "idim", "trc", "n"], "timeseries_method": method}
    expected = row(tmp_path / "plain", layer, one_by_one, **arguments)
    found = row(tmp_path / "run", layer, together, **arguments)
    assert found == pytest.approx(expected, rel=1e-6)
    assert found["train-samples/LSTM-0"] == (len(padded) if method[0] == "l" else lengths.sum())


# --- passes without data -------------------------------------------------------------------------


def fake(model):
    with FakeTensorMode(allow_non_fake_inputs=True):
        model(torch.empty(30, 6))


def meta(model):
    on_meta = {name: p.to("meta") for name, p in model.named_parameters()}
    torch.func.functional_call(model, on_meta, torch.empty(30, 6, device="meta"))


def trace(model):
    torch.jit.trace(model, BATCHES[0])


def trace_function(model):
    model.requires_grad_(False)  # a function's constants must not require gradients
    torch.jit.trace(lambda x: model(x), BATCHES[0], check_trace=False)
    model.requires_grad_(True)


def vmap(model):
    torch.func.vmap(model)(BATCHES[0])


def gradients_of_each_sample(model):
    def loss(parameters, x):
        return torch.func.functional_call(model, parameters, (x[None],)).sum()

    parameters = {name: p.detach() for name, p in model.named_parameters()}
    torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, BATCHES[0])


WITHOUT_DATA = [fake, meta, trace, trace_function, vmap, gradients_of_each_sample]


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.* is (deprecated|not supported)")
@pytest.mark.parametrize("look", WITHOUT_DATA)
@pytest.mark.parametrize("before", [0, 2, 4])
@pytest.mark.parametrize("limit", [{}, {"log_interval": 2}, {"max_samples": 75}])
def test_a_pass_without_data_leaves_no_trace(tmp_path, caplog, look, before, limit):
    def action(model):
        train(model, BATCHES[:before])
        look(model)
        train(model, BATCHES[before:])

    arguments = {"stats": ["idim", "n", "trc"]} | limit
    expected = row(tmp_path / "plain", Network(), **arguments)
    assert row(tmp_path / "run", Network(), action, **arguments) == expected
    assert not caplog.text


def test_layers_that_saw_nothing_but_vmap_are_named(tmp_path, caplog):
    model = Network()

    def action(model):
        model.first(BATCHES[0])
        vmap(model)

    row(tmp_path, model, action)
    assert "saw nothing in this epoch: hidden, last. " in caplog.text
    assert "torch.func.vmap" in caplog.text


# --- nested tensors ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_that_leaves_padding_out_in_evaluation(tmp_path):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x, lengths = torch.randn(60, 7, 8), torch.arange(60) % 7 + 1
    padding = torch.arange(7) >= lengths[:, None]
    with torch.no_grad():
        untracked = model(x, src_key_padding_mask=padding)

    def together(model):
        with torch.no_grad():
            found = model(x, src_key_padding_mask=padding)
        torch.testing.assert_close(found, untracked)

    def one_by_one(model):
        # A mask keeps the layers out of the path that is fused, and calls no hooks.
        mask = torch.zeros(1, 7, dtype=torch.bool)
        with torch.no_grad():
            for sequence, length in zip(x, lengths, strict=True):
                model(sequence[None, :length], src_key_padding_mask=mask[:, :length])

    arguments = {"stats": ["idim", "trc", "n"], "timeseries_method": "timestepwise"}
    expected = row(tmp_path / "plain", model, one_by_one, **arguments)
    found = row(tmp_path / "run", model, together, **arguments)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found["eval-samples/layers.0.linear1"] == lengths.sum()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_that_cannot_be_used_is_named(tmp_path, caplog, layout):
    nested = torch.nested.nested_tensor([torch.randn(n, 6) for n in (2, 3)], layout=layout)
    row(tmp_path, with_registered(ValueError("no")), lambda model: model(nested))
    assert "layer 0 (Registered) gave float32 of " in caplog.text
    assert "(ValueError: no); it is left out" in caplog.text


# --- which layers --------------------------------------------------------------------------------


def layers_of(folder, modules, **arguments):
    with SaturationTracker(folder, Recorder(), modules, **arguments) as tracker:
        return tracker._hooks.layers


MIXED = {"conv": nn.Conv2d(1, 2, 3), "head": nn.Linear(2, 2), "tail": nn.Linear(2, 2)}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ("conv", "head", "tail")),
        ({"include_conv": False}, ("head", "tail")),
        ({"ignore_layer_names": ["head"]}, ("conv", "tail")),
        ({"ignore_layer_names": "head"}, ("conv", "tail")),
        ({"layer_filter": lambda ls: {k: v for k, v in ls.items() if k == "tail"}}, ("tail",)),
    ],
)
def test_layers_can_be_left_out(tmp_path, arguments, expected):
    assert layers_of(tmp_path, nn.ModuleDict(MIXED), **arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer_filter": lambda layers: {}}, "leave no layer to track of: conv, head, tail"),
        ({"layer_filter": lambda layers: None}, "layer_filter must return the dictionary"),
        ({"layer_filter": lambda layers: {"new": nn.Linear(1, 1)}}, "these are new: new"),
    ],
)
def test_a_filter_that_cannot_be_followed_is_refused(tmp_path, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        layers_of(tmp_path, nn.ModuleDict(MIXED), **arguments)


def test_an_ignored_name_that_is_no_layer_is_named(tmp_path, caplog):
    layers_of(tmp_path, nn.ModuleDict(MIXED), ignore_layer_names=["haed"])
    assert "there is no layer 'haed'" in caplog.text


def test_a_list_names_its_modules_by_type_and_position(tmp_path):
    modules = [nn.Linear(2, 2), nn.Conv2d(1, 1, 1), nn.Sequential(nn.ReLU(), nn.Linear(2, 2))]
    assert layers_of(tmp_path, modules) == ("Linear-0", "Conv2d-1", "Sequential-2.1")


def test_a_dictionary_names_its_modules_by_its_keys(tmp_path):
    modules = {"encoder": nn.Sequential(nn.Linear(2, 2)), "head": nn.Linear(2, 2)}
    assert layers_of(tmp_path, modules) == ("encoder.0", "head")


def test_a_name_that_another_layer_has_is_refused():
    recorder = LayerHooks({"head": nn.Linear(6, 4)}, Gathering())
    other = nn.Linear(6, 4)
    with pytest.raises(ArgumentError, match="Linear cannot be tracked as 'head': another layer"):
        recorder.track("head", other)
    other(BATCHES[0])
    assert not recorder.fresh()


def test_a_layer_that_is_tracked_already_keeps_its_name_and_counts_once():
    layer = nn.Linear(6, 4)
    recorder = LayerHooks({"head": layer}, Gathering())
    recorder.track("again", layer)
    layer(BATCHES[0])
    assert recorder.layers == ("head",)
    assert recorder.fresh()["train", "head"].samples == len(BATCHES[0])


# --- how much ------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 29, 30, 31, 75, 1000])
def test_max_samples_is_exact(tmp_path, most):
    model = Network()
    seen = torch.cat(BATCHES)[:most]
    expected = row(tmp_path / "plain", Network(), lambda m: train(m, [seen]))
    assert row(tmp_path / "run", model, max_samples=most) == expected


def test_max_samples_counts_each_layer_and_mode_apart(tmp_path):
    def action(model):
        model.train()(BATCHES[0])
        model.eval()(BATCHES[1])

    def halves(model):
        model.train()(BATCHES[0][:20])
        model.eval()(BATCHES[1][:20])

    found = row(tmp_path / "run", Network(), action, max_samples=20)
    assert found == row(tmp_path / "plain", Network(), halves)


@pytest.mark.parametrize("reset", [True, False])
def test_max_samples_counts_each_epoch_apart(tmp_path, reset):
    writer, model = Recorder(), Network()
    with SaturationTracker(
        tmp_path / "run", writer, model, stats=["n"], max_samples=40, reset_covariance=reset
    ) as tracker:
        for _ in range(3):
            train(model)
            tracker.add_saturations()
    counts = [writer.rows[epoch]["train-samples/hidden"] for epoch in range(3)]
    assert counts == ([40, 40, 40] if reset else [40, 80, 120])


def test_a_checkpoint_keeps_how_many_samples_the_epoch_has_had():
    model = Network()
    recorder = LayerHooks({"first": model.first}, Gathering(limit=SampleLimit(40)))
    model(BATCHES[0])
    recorder.mark_used(forget=False)
    model(BATCHES[1])
    state = recorder.state_dict()
    recorder.remove()
    other = LayerHooks({"first": model.first}, Gathering(limit=SampleLimit(40)))
    other.load_state_dict(state)
    train(model)
    assert other.fresh()["train", "first"].samples == len(BATCHES[0]) + 40


def test_log_interval_uses_every_so_many_batches(tmp_path):
    expected = row(tmp_path / "plain", Network(), lambda m: train(m, [BATCHES[0], BATCHES[2]]))
    assert row(tmp_path / "run", Network(), log_interval=2) == expected


def test_without_reset_the_samples_of_all_epochs_count(tmp_path):
    writer, model = Recorder(), Network()
    with SaturationTracker(
        tmp_path / "run", writer, model, stats=["lsat", "idim"], reset_covariance=False
    ) as tracker:
        for batch in BATCHES:
            train(model, [batch])
            tracker.add_saturations()
        tracker.save()  # an epoch in which nothing new was seen
    assert writer.rows[3] == row(tmp_path / "plain", Network())
    assert 4 not in writer.rows


def test_a_stopped_tracker_records_nothing(tmp_path):
    def action(model):
        train(model, BATCHES[:1])

    writer, model = Recorder(), Network()
    with SaturationTracker(tmp_path / "run", writer, model, stats=["lsat", "idim"]) as tracker:
        train(model, BATCHES[:1])
        tracker.stop()
        assert not tracker.is_recording()
        train(model, BATCHES[1:])
        tracker.resume()
        assert tracker.is_recording()
        tracker.add_saturations()
    assert writer.rows[0] == row(tmp_path / "plain", Network(), action)


@pytest.mark.parametrize("name", ["log_interval", "max_samples"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_count_that_is_none_is_refused(tmp_path, name, value):
    with pytest.raises(ArgumentError, match=name):
        layers_of(tmp_path, Network(), **{name: value})


# --- what cannot be used -------------------------------------------------------------------------


def test_a_layer_that_saw_nothing_is_named_once_with_likely_causes(tmp_path, caplog):
    model = Network()
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        for _ in range(3):
            model.first(BATCHES[0])
            tracker.add_saturations()
    assert caplog.text.count("saw nothing in this epoch: hidden, last") == 1
    assert "compiled model" in caplog.text


def test_a_process_without_batches_does_not_miss_what_others_saw(caplog):
    recorder = LayerHooks(dict(Network().named_children()), Gathering())
    seen = [("train", "first"), ("train", "hidden"), ("eval", "last")]
    recorder.mark_used(forget=True, used=seen)
    assert not caplog.text
    recorder.mark_used(forget=True, used=seen[:2])
    assert "saw nothing in this epoch: last. " in caplog.text


def test_nothing_is_missed_while_the_tracker_is_stopped(tmp_path, caplog):
    """A validation that is not tracked, or a pause of many epochs."""
    model = Network()
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        tracker.stop()
        for _ in range(2):
            train(model)
            tracker.add_saturations()
        tracker.save()
        model.first(BATCHES[0])
        tracker.add_saturations()
        assert not caplog.text
        tracker.resume()
        model.first(BATCHES[0])
        tracker.add_saturations()
    assert caplog.text.count("saw nothing in this epoch: hidden, last. ") == 1


def test_what_was_called_while_recording_was_off_is_not_said_to_have_seen_nothing(tmp_path, caplog):
    model = Network()
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        tracker.stop()
        train(model)
        tracker.resume()
        tracker.add_saturations()
        assert "saw nothing" not in caplog.text
        tracker.stop()
        train(model)
        tracker.resume()
        model.first(BATCHES[0])
        tracker.add_saturations()
        assert "saw nothing" not in caplog.text
        model.first(BATCHES[0])
        tracker.add_saturations()
    assert caplog.text.count("saw nothing in this epoch: hidden, last. ") == 1


def test_calls_that_log_interval_leaves_out_are_not_said_to_have_seen_nothing(tmp_path, caplog):
    model = Network()
    with SaturationTracker(tmp_path, Recorder(), model, log_interval=10) as tracker:
        for _ in range(2):
            train(model)
            tracker.add_saturations()
    assert "saw nothing" not in caplog.text


def test_an_output_that_cannot_be_used_is_named_and_the_rest_goes_on(tmp_path, caplog):
    class Odd(nn.Linear):
        def forward(self, x):
            return {"nothing": super().forward(x).long()}

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.odd = Odd(6, 4)
            self.fine = nn.Linear(6, 4)

        def forward(self, x):
            self.odd(x)
            return self.fine(x)

    found = row(tmp_path, Model())
    assert {key.layer for key in found} == {"fine"}
    assert caplog.text.count("layer odd (Odd) gave int64 of shape (30, 4)") == 1


class Registered(nn.Linear):
    """A layer whose samples come from a function of the user's, which raises ``error``."""

    error: BaseException


@samples.register
def _(layer: Registered, output, methods):
    raise layer.error


def with_registered(error):
    model = nn.Sequential(Registered(6, 8), nn.Linear(8, 3))
    model[0].error = error
    return model


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("missing"), "KeyError: 'missing'"),
        (ZeroDivisionError("a\nb"), "ZeroDivisionError: a"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_whatever_a_function_of_the_users_raises_the_training_goes_on(
    tmp_path, caplog, error, reason
):
    found = row(tmp_path, with_registered(error))
    assert {key.layer for key in found} == {"1"}
    assert "layer 0 (Registered) gave float32 of shape (30, 8), which cannot" in caplog.text
    assert caplog.text.count(f"({reason}); it is left out") == 1


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError(), MemoryError()])
def test_a_lack_of_memory_ends_no_training_and_blames_no_layer(tmp_path, caplog, error):
    found = row(tmp_path, with_registered(error))
    assert {key.layer for key in found} == {"1"}
    assert caplog.text.count("layer 0 gave an output that no memory was left for") == 1
    assert "this one does not count (train)" in caplog.text
    assert "cannot be turned into samples" not in caplog.text


def test_a_mode_of_interpolation_that_does_not_fit_is_named(tmp_path, caplog):
    model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Flatten(), nn.Linear(150, 2))
    row(tmp_path, model, lambda m: m(torch.randn(9, 2, 50)), interpolation_strategy="bilinear")
    assert "layer 0 (Conv1d) gave float32 of shape (9, 3, 50)" in caplog.text
    assert (
        "interpolation_strategy 'bilinear' does not fit 1-dimensional maps; these do: nearest, "
        in caplog.text
    )


def test_empty_batches_are_ignored(tmp_path, plain):
    batches = [BATCHES[0], torch.empty(0, 6), *BATCHES[1:]]
    assert row(tmp_path / "run", Network(), lambda m: train(m, batches)) == plain


@pytest.mark.parametrize("method", ["last_timestep", "timestepwise"])
def test_series_without_steps_are_ignored(tmp_path, caplog, method):
    batches = [torch.randn(40, 5, 6), torch.randn(40, 3, 6)]

    def action(model):
        model(batches[0])
        model(torch.empty(4, 0, 6))
        model(batches[1])

    layer = nn.Linear(6, 8)
    expected = row(tmp_path / "plain", layer, lambda m: train(m, batches), timeseries_method=method)
    assert row(tmp_path / "run", layer, action, timeseries_method=method) == expected
    assert not caplog.text


class Tied(nn.Module):
    """A layer whose samples are what another tracked layer makes of its output."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return 2 * x


@samples.register
def _(layer: Tied, output, methods):
    return layer.head(output)


def test_a_function_of_the_users_may_call_a_tracked_layer(tmp_path):
    model = nn.Sequential(Tied())
    seen = np.concatenate([model[0].head(2 * batch).detach().double().numpy() for batch in BATCHES])

    def action(model):
        def run():
            for batch in BATCHES:
                model(batch)
            model[0].head(BATCHES[0])

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(timeout=60)
        assert not thread.is_alive()

    found = row(tmp_path, model, action, stats=["lsat", "n"])
    assert found["train-saturation/0"] == reference_saturation(seen)
    assert found["train-samples/0"] == len(seen)
    assert found["train-samples/0.head"] == len(BATCHES[0])


class Secretive(dict):
    """An output that does not let itself be looked into."""

    def values(self):
        raise RuntimeError("secret")


def test_an_output_that_cannot_be_looked_into_is_named(tmp_path, caplog):
    class Odd(nn.Linear):
        def forward(self, x):
            super().forward(x)
            return Secretive()

    row(tmp_path, Odd(6, 4), lambda model: model(BATCHES[0]))
    assert "(Odd) gave a Secretive, which cannot be turned into samples" in caplog.text


def test_few_samples_are_named_once(tmp_path, caplog):
    model = Network()
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        for _ in range(2):
            model(BATCHES[0][:5])
            tracker.add_saturations()
    assert caplog.text.count("fewer samples than features") == 1
    assert "in: first, hidden" in caplog.text


# --- checkpoints ---------------------------------------------------------------------------------


def test_a_checkpoint_inside_an_epoch_goes_on_to_the_same_bits(tmp_path):
    def batches(begin, end):
        return [
            torch.randn(300, 6, generator=torch.Generator().manual_seed(i))
            for i in range(begin, end)
        ]

    whole, first, second = Recorder(), Recorder(), Recorder()
    model = Network()
    with SaturationTracker(tmp_path / "whole", whole, model) as tracker:
        tracker.save()
        train(model, batches(0, 40))
        tracker.add_scalar("half", 1.0)
        tracker.add_saturations()
    model = Network()
    tracker = SaturationTracker(tmp_path / "run", first, model)
    tracker.save()
    train(model, batches(0, 23))
    tracker.add_scalar("half", 1.0)
    torch.save(tracker.state_dict(), tmp_path / "state.pt")
    tracker.close(RuntimeError("killed"))
    model = Network()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    with SaturationTracker(tmp_path / "run", second, model, initial_epoch=1) as tracker:
        tracker.load_state_dict(state)
        train(model, batches(23, 40))
        covariance = tracker._hooks.fresh()["train", "hidden"].fix()
        tracker.add_saturations()
    assert second.rows[1] == whole.rows[1]
    reference = Network()
    with SaturationTracker(tmp_path / "reference", Recorder(), reference) as tracker:
        train(reference, batches(0, 40))
        assert torch.equal(tracker._hooks.fresh()["train", "hidden"].fix(), covariance)


def test_a_checkpoint_keeps_what_is_off_and_what_is_left_out(caplog):
    model = with_registered(KeyError("missing"))
    layers = dict(model.named_children())
    recorder = LayerHooks(layers, Gathering())
    model(BATCHES[0])
    recorder.is_recording = False
    state = recorder.state_dict()
    recorder.remove()
    other = LayerHooks(layers, Gathering())
    other.load_state_dict(state)
    assert not other.is_recording
    other.is_recording = True
    model(BATCHES[1])
    assert caplog.text.count("it is left out") == 1
    assert list(other.fresh()) == [("train", "1")]


def test_a_state_that_says_nothing_of_either_is_taken():
    recorder = LayerHooks(dict(Network().named_children()), Gathering())
    recorder.load_state_dict({"order": ["hidden"], "calls": [], "covariances": []})
    assert recorder.is_recording
    assert recorder.layers == ("hidden", "first", "last")


def test_a_state_of_another_epoch_is_refused(tmp_path):
    with SaturationTracker(tmp_path / "a", Recorder(), Network()) as tracker:
        tracker.save()
        state = tracker.state_dict()
    with (
        SaturationTracker(tmp_path / "b", Recorder(), Network()) as tracker,
        pytest.raises(ArgumentError, match="make it with initial_epoch=1"),
    ):
        tracker.load_state_dict(state)


def test_a_copied_model_can_be_tracked_itself(tmp_path, plain):
    model = Network()
    with SaturationTracker(tmp_path / "a", Recorder(), model):
        duplicate = copy.deepcopy(model)
        assert row(tmp_path / "b", duplicate) == plain


# --- the training is the user's ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "dtype", "steps"), [(4000, torch.float32, 2), (32, torch.float64, 130)]
)
def test_selective_checkpointing_gets_its_own_products_back(tmp_path, samples, dtype, steps):
    """Its cache is by the order of operations: with Delve's among them gradients would be wrong."""
    kept = [torch.ops.aten.mm.default, torch.ops.aten.addmm.default]
    contexts = functools.partial(create_selective_checkpoint_contexts, kept)

    def gradients(track):
        torch.manual_seed(0)
        layers = (nn.Linear(32, 32, bias=False), nn.Tanh(), nn.Linear(32, 32, bias=False))
        model = nn.Sequential(*layers, nn.Tanh(), nn.Linear(32, 32)).to(dtype)
        tracker = SaturationTracker(tmp_path, Recorder(), model) if track else None
        found = []
        for _ in range(steps):
            model.zero_grad()
            x = torch.randn(samples, 32, dtype=dtype)
            outputs = checkpoint(model, x, use_reentrant=False, context_fn=contexts)
            outputs.sin().sum().backward()
            found.append([parameter.grad.clone() for parameter in model.parameters()])
        if tracker is not None:
            tracker.add_saturations()
            tracker.close()
        return found

    for plain, tracked in zip(gradients(False), gradients(True), strict=True):
        assert all(map(torch.equal, plain, tracked))


def test_a_weight_that_is_computed_is_not_computed_once_more(tmp_path):
    """Spectral norm remembers each time: a hook that asks for the weight changes the training."""
    importlib.import_module("torch.distributed.tensor")  # as an optimizer may do

    def train(track):
        torch.manual_seed(0)
        norm = nn.utils.parametrizations.spectral_norm
        model = nn.Sequential(norm(nn.Linear(10, 32)), nn.ReLU(), norm(nn.Linear(32, 4)))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        tracker = SaturationTracker(tmp_path, Recorder(), model) if track else None
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(16, 10)).square().mean().backward()
            optimizer.step()
        if tracker is not None:
            tracker.add_saturations()
            tracker.close()
        return model.state_dict()

    plain, tracked = train(False), train(True)
    assert plain.keys() == tracked.keys()
    assert all(torch.equal(plain[name], tracked[name]) for name in plain)
