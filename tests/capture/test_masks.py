"""Padding gives no samples, against numpy computations over the real positions alone."""

import collections
import copy
import pickle
import threading

import numpy as np
import pytest
import torch
from support.writers import Recorder
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from delve import SaturationTracker
from delve.capture.activations import MASKED_METHODS, TIMESERIES_METHODS
from delve.errors import ArgumentError

BATCH, TIME, WIDTH = 12, 7, 4
LENGTHS = [7, 3, 5, 1, 6, 2, 7, 4, 1, 3, 5, 6]
RIGHT = torch.arange(TIME) < torch.tensor(LENGTHS)[:, None]
MASKS = {"right": RIGHT, "left": RIGHT.flip(1), "none": torch.ones_like(RIGHT)}
STATS = ["n", "trc", "lsat"]

METHODS = {
    "last_timestep": lambda series, real: [s[r][-1] for s, r in zip(series, real, strict=True)],
    "first": lambda series, real: [s[r][0] for s, r in zip(series, real, strict=True)],
    "mean": lambda series, real: [s[r].mean(axis=0) for s, r in zip(series, real, strict=True)],
    "timestepwise": lambda series, real: series[real],
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
    # The compiler looks at inputs that are not leaves, whether or not anything is tracked.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    torch._dynamo.reset()


def row(folder, model, action, method="timestepwise", **arguments):
    """The row of one epoch; ``action`` gets the tracker."""
    writer = Recorder()
    arguments = {"stats": STATS, "timeseries_method": method} | arguments
    with SaturationTracker(folder, writer, model, **arguments) as tracker:
        action(tracker)
        tracker.add_saturations()
    return writer.rows.get(0, {})


def assert_statistics(found, samples, layer, mode="train"):
    """A layer's row against the definitions."""
    samples = np.asarray(samples, dtype=np.float64).reshape(-1, np.shape(samples)[-1])
    assert found[f"{mode}-samples/{layer}"] == len(samples)
    covariance = np.cov(samples, rowvar=False, bias=True)
    assert found[f"{mode}-covariance-trace/{layer}"] == pytest.approx(covariance.trace(), rel=1e-5)
    shares = np.sort(np.linalg.eigvalsh(covariance))[::-1].cumsum() / covariance.trace()
    dimensions = int((shares < 0.99).sum()) + 1
    assert found[f"{mode}-saturation/{layer}"] == pytest.approx(dimensions / len(covariance))


def outputs_of(layer, *inputs):
    output = layer(*inputs)
    output = output[0] if isinstance(output, tuple) else output
    return output.detach().double().numpy()


LAYERS = {
    "linear": (lambda: nn.Linear(WIDTH, 3), True, 1),
    "lstm": (lambda: nn.LSTM(WIDTH, 3, batch_first=True), True, 1),
    "lstm, time first": (lambda: nn.LSTM(WIDTH, 3), False, 1),
    "gru": (lambda: nn.GRU(WIDTH, 3, batch_first=True), True, 1),
    "rnn, time first, both ways": (lambda: nn.RNN(WIDTH, 3, bidirectional=True), False, 1),
    "attention": (lambda: nn.MultiheadAttention(WIDTH, 2, batch_first=True), True, 3),
    "attention, time first": (lambda: nn.MultiheadAttention(WIDTH, 2), False, 3),
    "linear, time first": (lambda: nn.Linear(WIDTH, 3), False, 1),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", MASKS)
@pytest.mark.parametrize("name", LAYERS)
def test_the_real_positions_alone_are_samples(tmp_path, name, side, method):
    make, batch_first, times = LAYERS[name]
    layer, mask = make(), MASKS[side]
    x = torch.randn(BATCH, TIME, WIDTH) * 3
    x = x if batch_first else x.transpose(0, 1)
    series = outputs_of(layer, *[x] * times)
    series = series if batch_first else series.swapaxes(0, 1)

    def action(tracker):
        with tracker.mask(mask):
            layer(*[x] * times)

    found = row(tmp_path, {"layer": layer}, action, method)
    assert_statistics(found, METHODS[method](series, mask.numpy()), "layer")


@pytest.mark.parametrize("method", METHODS)
def test_without_a_mask_all_positions_are_samples(tmp_path, method):
    layer, x = nn.Linear(WIDTH, 3), torch.randn(BATCH, TIME, WIDTH)
    found = row(tmp_path, {"layer": layer}, lambda _: layer(x), method)
    every = np.ones((BATCH, TIME), dtype=bool)
    assert_statistics(found, METHODS[method](outputs_of(layer, x), every), "layer")


def test_methods_of_whole_and_of_masked_series_have_the_same_names():
    assert list(MASKED_METHODS) == list(TIMESERIES_METHODS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("masked", [True, False])
def test_packed_and_nested_sequences_hold_no_padding(tmp_path, method, masked):
    lstm, linear = nn.LSTM(WIDTH, 3, batch_first=True), nn.Linear(WIDTH, 3)
    x = torch.randn(BATCH, TIME, WIDTH) * 3
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    nested = torch.nested.nested_tensor([x[i, :n] for i, n in enumerate(LENGTHS)])

    def action(tracker):
        with tracker.mask(RIGHT if masked else None):
            lstm(packed)
            linear(nested)

    found = row(tmp_path, {"lstm": lstm, "linear": linear}, action, method)
    real = RIGHT.numpy()
    # From left to right: what comes after a sequence's end changes nothing in it.
    assert_statistics(found, METHODS[method](outputs_of(lstm, x), real), "lstm")
    assert_statistics(found, METHODS[method](outputs_of(linear, x), real), "linear")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_what_stands_at_padding_may_be_anything(tmp_path, method, dtype):
    layer = nn.Linear(WIDTH, 3, dtype=dtype)
    x = torch.randn(BATCH, TIME, WIDTH, dtype=dtype)
    series = outputs_of(layer, x)
    x[~RIGHT] = float("nan")
    x[0, 0] = x[0, 0]

    def action(tracker):
        with tracker.mask(RIGHT):
            layer(x)

    found = row(tmp_path, {"layer": layer}, action, method)
    assert_statistics(found, METHODS[method](series, RIGHT.numpy()), "layer")


@pytest.mark.parametrize(
    "mask",
    [
        RIGHT.long(),
        RIGHT.float(),
        RIGHT.to(torch.uint8).numpy(),
        RIGHT.tolist(),
    ],
    ids=["int64", "float", "array", "list"],
)
def test_a_mask_may_be_of_any_numbers(tmp_path, mask):
    layer, x = nn.Linear(WIDTH, 3), torch.randn(BATCH, TIME, WIDTH)

    def action(tracker):
        with tracker.mask(mask):
            layer(x)

    assert row(tmp_path, {"layer": layer}, action)["train-samples/layer"] == sum(LENGTHS)


class Classifier(nn.Module):
    """Outputs of many shapes."""

    def __init__(self):
        super().__init__()
        self.image = nn.Linear(5, 4)  # (batch x places x features), of other places
        self.tokens = nn.Linear(4, 4)
        self.heads = nn.Linear(2, 3)  # (batch x time x heads x features)
        self.pooled = nn.Linear(4, 3)  # (batch x features)

    def forward(self, x, places):
        self.image(places)
        x = self.tokens(x).relu_()
        self.heads(x.unflatten(-1, (2, 2)))
        return self.pooled(x[:, 0])


def test_a_mask_holds_for_outputs_of_its_own_shape(tmp_path):
    model = Classifier()
    x, places = torch.randn(BATCH, TIME, 4), torch.randn(BATCH, 9, 5)

    def action(tracker):
        with tracker.mask(RIGHT):
            model(x, places)

    found = row(tmp_path, model, action)
    assert found["train-samples/image"] == BATCH * 9
    assert_statistics(found, outputs_of(model.image, places), "image")
    assert found["train-samples/tokens"] == sum(LENGTHS)
    assert found["train-samples/heads"] == 2 * sum(LENGTHS)
    assert found["train-samples/pooled"] == BATCH


def test_outputs_without_time_pass_by(tmp_path):
    layer, x = nn.Linear(4, 3), torch.randn(BATCH, 4)

    def action(tracker):
        with tracker.mask(RIGHT):
            layer(x)

    found = row(tmp_path, {"layer": layer}, action)
    assert_statistics(found, outputs_of(layer, x), "layer")


# --- bad input ------------------------------------------------------------------------------------

HOLED = RIGHT.clone()
HOLED[2] = False
BAD = {
    "one dimension": (RIGHT[0], r"batch x time.*shape \(7,\)"),
    "four dimensions": (RIGHT[:, None, None], r"batch x time.*shape \(12, 1, 1, 7\)"),
    "no sequence": (RIGHT[:0], r"shape \(0, 7\)"),
    "additive": (torch.where(RIGHT, 0.0, -torch.inf), "other numbers than 0 and 1"),
    "token types": (RIGHT.long() + 1, "other numbers than 0 and 1"),
    "a padding sequence": (HOLED, "sequence 2 has no real position"),
    "padding alone": (torch.zeros(12, 7), "sequences 0, 1, 2, 3, 4 and 7 more have no real"),
    "a text": ("auto", "mask must be a tensor or array"),
    "of two lengths": ([[1, 1], [1]], "mask must be a tensor or array"),
    "sparse": (RIGHT.to_sparse(), "not a Tensor"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_mask_is_named_at_the_call(tmp_path, case):
    mask, message = BAD[case]
    with (
        SaturationTracker(tmp_path, Recorder(), nn.Linear(4, 3)) as tracker,
        pytest.raises(ArgumentError, match=message),
    ):
        tracker.mask(mask)


@pytest.mark.parametrize("mask", [RIGHT[:-1], RIGHT[:, :-1], RIGHT.T.flip(0)[:, :3]])
def test_a_mask_that_fits_no_series_of_the_pass_is_named_and_the_pass_is_not_recorded(
    tmp_path, mask
):
    model = Classifier()
    x, places = torch.randn(BATCH, TIME, 4), torch.randn(BATCH, 9, 5)

    def action(tracker):
        came = r"its shape is .*\(12, 9, 4\), \(12, 7, 4\)"
        with pytest.raises(ArgumentError, match=came), tracker.mask(mask):
            model(x, places)
        assert not tracker._hooks.fresh()
        with tracker.mask(RIGHT):
            model(x, places)

    found = row(tmp_path, model, action)
    assert found["train-samples/pooled"] == BATCH
    assert found["train-samples/tokens"] == sum(LENGTHS)


def test_an_error_of_the_pass_is_the_one_that_is_seen(tmp_path):
    layer = nn.Linear(4, 3)

    def fail():
        layer(torch.randn(BATCH, TIME, 4))
        1 / 0  # noqa: B018

    with SaturationTracker(tmp_path, Recorder(), {"layer": layer}, stats=STATS) as tracker:
        with pytest.raises(ZeroDivisionError), tracker.mask(RIGHT[:-1]):
            fail()
        assert not tracker._hooks.fresh()
        layer(torch.randn(BATCH, TIME, 4))  # outside of the block there is no mask
        assert tracker._hooks.fresh()["train", "layer"].samples == BATCH


# --- masks that the model is called with ----------------------------------------------------------

IDS = torch.randint(1, 50, (BATCH, TIME))


class Model(nn.Module):
    """Reads tokens."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, WIDTH)
        self.linear = nn.Linear(WIDTH, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        if input_ids.is_floating_point():
            raise TypeError("ids are whole numbers")
        return self.head(self.linear(self.embedding(input_ids)))


class OfBatch(nn.Module):
    """Gets a batch as a dictionary, and reads it itself."""

    def __init__(self, is_masked=True):
        super().__init__()
        self.inner = Model()
        self.is_masked = is_masked

    def forward(self, batch):
        mask = batch["attention_mask"] if self.is_masked else None
        return self.inner(batch["input_ids"], attention_mask=mask)


class OfAnything(OfBatch):
    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


class OwnName(Model):
    def forward(self, attention_mask, position_ids, tokens):
        return super().forward(tokens)


ENCODING = {"input_ids": IDS, "attention_mask": RIGHT.long()}
CALLS = {
    "keyword": (Model, lambda m: m(IDS, attention_mask=RIGHT.long())),
    "keywords": (Model, lambda m: m(**ENCODING)),
    "position": (Model, lambda m: m(IDS, RIGHT.long())),
    "truth values": (Model, lambda m: m(IDS, RIGHT)),
    "dictionary": (OfBatch, lambda m: m(ENCODING)),
    "dictionary by name": (OfBatch, lambda m: m(batch=ENCODING)),
    "encoding": (OfBatch, lambda m: m(collections.UserDict(ENCODING))),
    "read without it": (lambda: OfBatch(False), lambda m: m(ENCODING)),
    "any arguments": (OfAnything, lambda m: m(**ENCODING)),
    "own name": (OwnName, lambda m: m(RIGHT.long(), IDS * 0, IDS)),
    "longer": (Model, lambda m: m(IDS, torch.cat([RIGHT.flip(1), RIGHT], 1).long())),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_a_mask_among_the_arguments_is_taken(tmp_path, call, compiled):
    make, act = CALLS[call]
    model = make()
    called = torch.compile(model, backend="aot_eager", fullgraph=True) if compiled else model
    found = row(tmp_path, model, lambda _: act(called), "last_timestep")
    inner = getattr(model, "inner", model)
    series = inner.linear(inner.embedding(IDS)).detach().double().numpy()
    name = "linear" if inner is model else "inner.linear"
    assert_statistics(found, METHODS["last_timestep"](series, RIGHT.numpy()), name)


NOT_TAKEN = {
    "none": (lambda m: m(IDS), {}),
    "switched off": (lambda m: m(IDS, RIGHT.long()), {"mask": None}),
    "added to scores": (lambda m: m(IDS, torch.where(RIGHT, 0.0, -1e9)), {}),
    "of four dimensions": (lambda m: m(IDS, RIGHT[:, None, None]), {}),
    "of another batch": (lambda m: m(IDS, RIGHT[:-1]), {}),
    "shorter": (lambda m: m(IDS, RIGHT[:, :-1]), {}),
}


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_what_may_be_no_mask_of_padding_is_not_taken(tmp_path, case):
    model = Model()
    act, arguments = NOT_TAKEN[case]
    found = row(tmp_path, model, lambda _: act(model), **arguments)
    assert found["train-samples/linear"] == BATCH * TIME


def test_what_the_user_says_goes_before(tmp_path):
    model = Model()

    def action(tracker):
        with tracker.mask(RIGHT):
            model(IDS, attention_mask=torch.ones_like(IDS))
            with tracker.mask(None):
                model(IDS, attention_mask=RIGHT)

    found = row(tmp_path, model, action)
    assert found["train-samples/linear"] == sum(LENGTHS) + BATCH * TIME


def test_a_mask_ends_with_its_pass(tmp_path):
    model = Model()

    def action(_):
        model(IDS, RIGHT)
        with pytest.raises(TypeError, match="whole numbers"):
            model(IDS.float(), RIGHT)
        model.linear(model.embedding(IDS))
        model(IDS)

    found = row(tmp_path, model, action)
    assert found["train-samples/linear"] == sum(LENGTHS) + 2 * BATCH * TIME
    assert found["train-samples/head"] == sum(LENGTHS) + BATCH * TIME


def test_a_sequence_that_is_padding_alone_gives_no_sample(tmp_path):
    for method in METHODS:
        model = Model()
        found = row(tmp_path / method, model, lambda _, m=model: m(IDS, HOLED), method)
        series = model.linear(model.embedding(IDS)).detach().double().numpy()
        kept = np.arange(BATCH) != 2
        expected = METHODS[method](series[kept], HOLED.numpy()[kept])
        assert_statistics(found, expected, "linear")


def test_a_batch_of_padding_alone_is_no_data(tmp_path):
    model = Model()
    found = row(tmp_path, model, lambda _: model(IDS, torch.zeros_like(IDS)))
    assert not [name for name in found if "samples" in name]


def test_it_is_said_once_that_masks_count(tmp_path, caplog):
    caplog.set_level("INFO")
    model = Model()
    row(tmp_path, model, lambda _: [model(IDS, RIGHT) for _ in range(3)])
    assert caplog.text.count("what is padding gives no samples") == 1


@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
def test_traces_know_nothing_of_masks(tmp_path):
    model = Model()

    def action(_):
        traced = torch.jit.trace(model, (IDS, RIGHT.long()))
        assert "receive" not in str(traced.graph)
        exported = torch.export.export(model, (IDS, RIGHT.long()))
        assert "receive" not in str(exported.graph)
        model(IDS, RIGHT)

    assert row(tmp_path, model, action)["train-samples/linear"] == sum(LENGTHS)


class Pair(nn.Module):
    """An encoder and a decoder, both of plain layers."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, WIDTH)
        self.encoder = nn.Linear(WIDTH, 3)
        self.decoder = nn.Linear(WIDTH, 3)

    def forward(
        self, input_ids, attention_mask=None, decoder_input_ids=None, decoder_attention_mask=None
    ):
        return self.encoder(self.embedding(input_ids)), self.decoder(
            self.embedding(decoder_input_ids)
        )


@pytest.mark.parametrize("masked", [True, False])
def test_encoder_and_decoder_have_masks_of_their_own_also_where_the_lengths_are_the_same(
    tmp_path, masked
):
    model = Pair()
    longer = torch.ones_like(RIGHT)
    longer[5, 3:] = False
    mask = longer if masked else None
    found = row(tmp_path, model, lambda _: model(IDS, RIGHT, IDS, mask))
    assert found["train-samples/encoder"] == sum(LENGTHS)
    assert found["train-samples/decoder"] == (BATCH * TIME - 4 if masked else BATCH * TIME)


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Linear(5, 3)

    def forward(self, pixel_values):
        return self.patches(pixel_values)


class TextAndImages(nn.Module):
    def __init__(self):
        super().__init__()
        self.text, self.images = Model(), Images()

    def forward(self, input_ids, pixel_values, attention_mask=None):
        return self.text(input_ids, attention_mask), self.images(pixel_values)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_mask_of_texts_is_none_of_images_of_as_many_places(tmp_path, compiled):
    model, images = TextAndImages(), torch.randn(BATCH, TIME, 5)
    called = torch.compile(model, backend="aot_eager", fullgraph=True) if compiled else model
    found = row(tmp_path, model, lambda _: called(IDS, images, attention_mask=RIGHT))
    assert found["train-samples/text.linear"] == sum(LENGTHS)
    assert found["train-samples/images.patches"] == BATCH * TIME


def test_replicas_in_threads_have_masks_of_their_own(tmp_path):
    model = Model()
    begun = threading.Barrier(2)

    class Waits(nn.Module):
        def forward(self, x):
            begun.wait(timeout=60)  # both have taken their masks
            return x

    model.linear = nn.Sequential(Waits(), model.linear)  # type: ignore[assignment]

    def replica(part):
        copied = model._replicate_for_data_parallel()
        for name, child in model._modules.items():
            copied._modules[name] = child
        copied(IDS[part], RIGHT[part])

    def action(_):
        halves = (slice(0, 6), slice(6, 12))
        threads = [threading.Thread(target=replica, args=(half,)) for half in halves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = row(tmp_path, model, action)
    assert found["train-samples/linear.1"] == sum(LENGTHS)


# --- torch's transformers -------------------------------------------------------------------------


class Encoder(nn.Module):
    def __init__(self, batch_first=True, layers=2):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=batch_first)

    def forward(self, x, lengths):
        padding = torch.arange(lengths.max())[None] >= lengths[:, None]
        return self.encoder(x, src_key_padding_mask=padding)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(("batch_first", "batch"), [(True, 12), (False, 12), (False, 7)])
def test_an_encoder_has_the_same_samples_in_training_and_evaluation(
    tmp_path, method, said, batch_first, batch
):
    if said and batch == TIME:
        pytest.skip("a linear layer does not tell which of two dimensions of one length is time")
    model = Encoder(batch_first)
    lengths, mask = torch.tensor(LENGTHS[:batch]), RIGHT[:batch]
    x = torch.randn(batch, TIME, 8)

    def action(tracker):
        given = x if batch_first else x.transpose(0, 1)
        with tracker.mask(mask) if said else tracker.mode("train"):
            model(given, lengths)
        model.eval()
        with torch.no_grad(), tracker.mask(mask) if said else tracker.mode("eval"):
            model(given, lengths)

    found = row(tmp_path, model, action, method)
    name = "encoder.layers.1.linear2"
    expected = sum(LENGTHS[:batch]) if method == "timestepwise" else batch
    assert found[f"train-samples/{name}"] == found[f"eval-samples/{name}"] == expected
    for stat in ("covariance-trace", "saturation"):
        train, evaluation = (found[f"{mode}-{stat}/{name}"] for mode in ("train", "eval"))
        assert train == pytest.approx(evaluation, rel=1e-4)


def test_an_encoder_s_positions_are_those_that_are_real(tmp_path):
    """64 texts of up to 20 tokens, 318 of them real: 1280 in training and 318 in evaluation."""
    lengths = torch.tensor([20] + 17 * [4] + 46 * [5])
    model, x = Encoder(), torch.randn(64, 20, 8)

    def action(_):
        model(x, lengths)
        model.eval()
        with torch.no_grad():
            model(x, lengths)

    found = row(tmp_path, model, action)
    assert {number for name, number in found.items() if "samples" in name} == {318}


def test_the_decoder_of_a_transformer_has_a_mask_of_its_own(tmp_path):
    model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    source, target = torch.randn(BATCH, TIME, 8), torch.randn(BATCH, TIME, 8)
    longer = torch.ones_like(RIGHT)
    longer[5, 3:] = False
    masks = {"src_key_padding_mask": ~RIGHT, "tgt_key_padding_mask": ~longer}
    found = row(tmp_path, model, lambda _: model(source, target, **masks))
    assert found["train-samples/encoder.layers.0.linear1"] == sum(LENGTHS)
    assert found["train-samples/decoder.layers.0.linear1"] == BATCH * TIME - 4
    assert found["train-samples/decoder.layers.0.self_attn"] == BATCH * TIME - 4


# --- compiled -------------------------------------------------------------------------------------


class Broken(Model):
    """The compiler does not take up recurrent layers: the graph breaks at this one."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 3, batch_first=True)

    def forward(self, input_ids, attention_mask=None):
        return self.head(self.lstm(self.linear(self.embedding(input_ids)))[0])


@pytest.mark.parametrize("said", [True, False])
def test_beside_a_graph_break_the_mask_holds(tmp_path, said):
    model = Broken()
    called = torch.compile(model, backend="aot_eager")

    def action(tracker):
        for _ in range(3):
            if said:
                with tracker.mask(RIGHT):
                    called(IDS)
            else:
                called(IDS, RIGHT)
        called(IDS)

    found = row(tmp_path, model, action)
    expected = 3 * sum(LENGTHS) + BATCH * TIME
    assert {found[f"train-samples/{name}"] for name in ("linear", "lstm", "head")} == {expected}


def test_compiled_parts_of_a_model_have_its_mask(tmp_path):
    model = Model()
    model.linear.compile(backend="aot_eager", fullgraph=True)
    found = row(tmp_path, model, lambda _: [model(IDS, RIGHT), model(IDS), model(IDS, RIGHT)])
    assert found["train-samples/linear"] == 2 * sum(LENGTHS) + BATCH * TIME


def test_masks_and_their_sizes_come_and_go_without_a_compilation_for_each(tmp_path):
    model = Model()
    graphs = []

    def backend(module, _inputs):
        graphs.append(module)
        return module.forward

    called = torch.compile(model, backend=backend, fullgraph=True)

    def action(tracker):
        for time in (7, 6, 5, 4, 3):
            called(IDS[:, :time], RIGHT[:, :time])
        with tracker.mask(RIGHT):
            called(IDS, RIGHT)

    found = row(tmp_path, model, action)
    assert len(graphs) <= 2  # one of this size, one of any
    expected = sum(int(RIGHT[:, :time].sum()) for time in (7, 6, 5, 4, 3, 7))
    assert found["train-samples/linear"] == expected


# --- what is left on the model --------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_tracked_model_takes_no_masks(tmp_path, copied):
    model = Model()

    def action(_):
        twin = copied(model)
        twin(IDS, RIGHT)
        model(IDS, RIGHT)

    assert row(tmp_path, model, action)["train-samples/linear"] == sum(LENGTHS)


def test_a_closed_tracker_leaves_the_model_as_it_was(tmp_path):
    model = OfBatch()
    row(tmp_path, model, lambda _: model(ENCODING))
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


def test_what_holds_no_tracked_layer_is_not_hooked(tmp_path):
    model = nn.Sequential(nn.Linear(8, 8), Encoder())
    tracker = SaturationTracker(
        tmp_path, Recorder(), model, layer_filter=lambda layers: {"0": layers["0"]}
    )
    with tracker:
        assert not any(m._forward_pre_hooks for m in model[1].modules())
    with SaturationTracker(tmp_path, Recorder(), model, mask=None):
        assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_part_that_is_no_longer_there_is_let_go_of(tmp_path):
    model = nn.ModuleDict({"first": nn.Linear(8, 8), "encoder": Encoder()})
    encoder = model["encoder"]
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        assert encoder._forward_pre_hooks or encoder.encoder._forward_pre_hooks
        model["encoder"] = Encoder()
        tracker.retrack()
        assert not any(m._forward_pre_hooks or m._forward_hooks for m in encoder.modules())


def test_a_part_that_came_later_has_its_mask(tmp_path):
    model = nn.ModuleDict({"first": nn.Linear(8, 8)})

    def action(tracker):
        model["encoder"] = Encoder()
        tracker.retrack()
        model["encoder"](torch.randn(BATCH, TIME, 8), torch.tensor(LENGTHS))

    found = row(tmp_path, model, action)
    assert found["train-samples/encoder.encoder.layers.0.linear1"] == sum(LENGTHS)
