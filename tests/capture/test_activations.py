"""Each layer type by each method, against numpy computations written from the definitions."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from delve.capture.activations import SamplingMethods, first_tensor, is_trackable, samples
from delve.errors import ArgumentError

CONVOLUTIONS = [
    (nn.Conv1d(2, 3, 2), (4, 2, 9)),
    (nn.Conv2d(2, 3, 2), (4, 2, 5, 6)),
    (nn.Conv3d(2, 3, 2), (4, 2, 4, 5, 3)),
    (nn.ConvTranspose1d(2, 3, 2), (4, 2, 9)),
    (nn.ConvTranspose2d(2, 3, 2), (4, 2, 5, 6)),
    (nn.ConvTranspose3d(2, 3, 2), (4, 2, 4, 5, 3)),
]
BY_TYPE = [type(layer).__name__ for layer, _ in CONVOLUTIONS]


def positions(maps):
    return [
        maps[(i, slice(None), *p)] for i in range(len(maps)) for p in np.ndindex(maps.shape[2:])
    ]


def pooled(reduce):
    return lambda maps: [[reduce(channel) for channel in image] for image in maps]


def lower_median(channel):
    # torch's median: the lower of the two in the middle.
    return np.sort(channel, axis=None)[(channel.size - 1) // 2]


CONV_REFERENCES = {
    "channelwise": positions,
    "mean": pooled(np.mean),
    "max": pooled(np.max),
    "median": pooled(lower_median),
    "flatten": lambda maps: [image.ravel() for image in maps],
}


def rows(layer, output, **methods):
    found = samples(layer, first_tensor(output), SamplingMethods(**methods))
    return found.detach().reshape(-1, found.shape[-1]).double().numpy()


@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS, ids=BY_TYPE)
@pytest.mark.parametrize("method", CONV_REFERENCES)
def test_convolutions(layer, shape, method):
    output = layer(torch.randn(shape))
    expected = np.array(CONV_REFERENCES[method](output.detach().numpy()))
    np.testing.assert_allclose(rows(layer, output, conv=method), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS, ids=BY_TYPE)
def test_an_image_without_a_batch_is_a_batch_of_one(layer, shape):
    image = torch.randn(shape[1:])
    expected = rows(layer, layer(image[None]))
    np.testing.assert_allclose(rows(layer, layer(image)), expected, rtol=1e-5, atol=1e-6)


def largest_eigenvalue_error(found, expected):
    """The error of the covariance's eigenvalues, relative to the largest."""
    found, expected = (
        np.linalg.eigvalsh(np.cov(np.asarray(matrix, dtype=np.float64).T, bias=True))
        for matrix in (found, expected)
    )
    return np.abs(found - expected).max() / expected.max()


@pytest.mark.parametrize("method", ["mean", "max", "median"])
@pytest.mark.parametrize(
    ("dtype", "offset"),
    [
        (torch.bfloat16, 0),
        (torch.float16, 10),
        (torch.float32, 0),
        (torch.float32, 1e5),
        (torch.float64, 1e6),
    ],
)
def test_pooling_is_exact_enough_for_the_covariance(method, dtype, offset):
    maps = (torch.randn(64, 8, 16, 16) + offset).to(dtype)
    expected = CONV_REFERENCES[method](maps.double().numpy())
    found = rows(nn.Conv2d(1, 8, 1), maps, conv=method)
    assert largest_eigenvalue_error(found, expected) <= 1e-6


def nearest(length, size):
    """The weights of nearest-neighbour interpolation, (size x length)."""
    return np.eye(length)[[i * length // size for i in range(size)]]


def area(length, size):
    """The weights of averages over areas, which share what lies on their borders."""
    weights = np.zeros((size, length))
    for i in range(size):
        weights[i, i * length // size : -(-(i + 1) * length // size)] = 1
    return weights / weights.sum(axis=1, keepdims=True)


def linear(length, size):
    """The weights of linear interpolation between the centres of the cells."""
    centres = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(length)))


def shrunk(maps, weights, largest):
    """Maps, (batch x channels x space...), by the weights of each dimension of space."""
    for axis, length in enumerate(maps.shape[2:], 2):
        along = weights(length, min(length, largest))
        maps = np.moveaxis(np.moveaxis(maps, axis, -1) @ along.T, -1, axis)
    return maps


LINEAR_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS, ids=BY_TYPE)
@pytest.mark.parametrize("weights", [nearest, area, linear])
def test_large_maps_are_shrunk_first_where_asked(layer, shape, weights):
    mode = LINEAR_MODES[len(shape) - 2] if weights is linear else weights.__name__
    output = layer(torch.randn(shape))
    expected = positions(shrunk(output.detach().double().numpy(), weights, 3))
    got = rows(layer, output, interpolation=mode, largest=3)
    np.testing.assert_allclose(got, np.array(expected), rtol=1e-5, atol=1e-6)
    untouched = rows(layer, output, interpolation=mode, largest=50)
    np.testing.assert_array_equal(untouched, rows(layer, output))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize(("mode", "weights"), [("area", area), ("bilinear", linear)])
def test_shrinking_rounds_nothing_to_half_precision(dtype, mode, weights):
    maps = torch.randn(64, 8, 16, 16).to(dtype)
    expected = positions(shrunk(maps.double().numpy(), weights, 5))
    found = rows(nn.Conv2d(1, 8, 1), maps, interpolation=mode, largest=5)
    assert largest_eigenvalue_error(found, expected) <= 1e-6


def test_a_mode_that_does_not_fit_says_which_do():
    layer = nn.Conv1d(2, 3, 2)
    message = "'bilinear' does not fit 1-dimensional maps; these do: nearest, .*area, linear$"
    with pytest.raises(ValueError, match=message):
        rows(layer, layer(torch.randn(4, 2, 50)), interpolation="bilinear")


def test_numpys_whole_numbers_are_sizes():
    methods = SamplingMethods(interpolation="area", largest=np.int64(3))
    assert methods == SamplingMethods(interpolation="area", largest=3)
    assert type(methods.largest) is int


def test_linear_rows_are_samples():
    layer = nn.Linear(5, 3)
    x = torch.randn(7, 5)
    expected = x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(rows(layer, layer(x)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("shape", "count"), [((5,), 1), ((2, 3, 4, 5), 24)])
def test_linear_outputs_of_other_ranks(shape, count):
    layer = nn.Linear(5, 3)
    output = layer(torch.randn(shape))
    np.testing.assert_array_equal(rows(layer, output), output.detach().numpy().reshape(count, 3))


def test_linear_outputs_of_three_dimensions_are_time_series():
    layer = nn.Linear(5, 3)
    output = layer(torch.randn(4, 6, 5))
    steps = output.detach().numpy()
    np.testing.assert_array_equal(rows(layer, output), steps[:, 5])
    every = np.array([steps[b, t] for b in range(4) for t in range(6)])
    np.testing.assert_array_equal(rows(layer, output, timeseries="timestepwise"), every)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_layers(kind, batch_first, bidirectional, layers):
    layer = kind(4, 3, layers, batch_first=batch_first, bidirectional=bidirectional)
    x = torch.randn(5, 7, 4)  # sequences x steps
    output = layer(x if batch_first else x.transpose(0, 1))
    series = output[0].detach().numpy()
    series = series if batch_first else series.swapaxes(0, 1)
    np.testing.assert_array_equal(rows(layer, output), series[:, -1])
    every = np.array([series[b, t] for b in range(5) for t in range(7)])
    got = rows(layer, output, timeseries="timestepwise")
    assert sorted(map(tuple, got)) == sorted(map(tuple, every))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences_use_true_steps_and_no_padding(kind, enforce_sorted):
    layer = kind(4, 3, batch_first=True)
    lengths = [6, 4, 4, 1] if enforce_sorted else [4, 6, 1, 4]
    x = torch.randn(4, 6, 4)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=enforce_sorted)
    alone = [layer(x[i, :n])[0].detach().numpy() for i, n in enumerate(lengths)]
    last = np.array([series[-1] for series in alone])
    every = np.concatenate(alone)
    output = layer(packed)
    close = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(ordered(rows(layer, output)), ordered(last), **close)
    got = rows(layer, output, timeseries="timestepwise")
    np.testing.assert_allclose(ordered(got), ordered(every), **close)


def ordered(matrix):
    return matrix[np.lexsort(np.round(matrix, 4).T)]


def test_one_packed_sequence():
    layer = nn.GRU(4, 3)
    x = torch.randn(5, 4)
    expected = layer(x)[0][-1:].detach().numpy()
    output = layer(pack_sequence([x]))
    np.testing.assert_allclose(rows(layer, output), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["last_timestep", "first", "mean", "timestepwise"])
def test_packed_sequences_while_new_tensors_go_to_another_device_by_default(method):
    layer = nn.LSTM(4, 3)
    output = layer(pack_sequence([torch.randn(5, 4), torch.randn(3, 4)]))
    expected = rows(layer, output, timeseries=method)
    with torch.device("meta"):
        found = rows(layer, output, timeseries=method)
    np.testing.assert_array_equal(found, expected)


LAYOUTS = [torch.strided, torch.jagged]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nested_tensors_use_true_steps(layout):
    layer = nn.Linear(4, 3)
    sequences = [torch.randn(length, 4) for length in (5, 1, 7)]
    output = layer(torch.nested.nested_tensor(sequences, layout=layout))
    weight, bias = (p.detach().double().numpy() for p in layer.parameters())
    alone = [sequence.double().numpy() @ weight.T + bias for sequence in sequences]
    last = np.array([series[-1] for series in alone])
    close = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(rows(layer, output), last, **close)
    every = rows(layer, output, timeseries="timestepwise")
    np.testing.assert_allclose(every, np.concatenate(alone), **close)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_sequence_of_a_nested_tensor_has_no_last_step(layout):
    sequences = [torch.randn(length, 4) for length in (2, 0, 3)]
    output = torch.nested.nested_tensor(sequences, layout=layout)
    expected = np.array([sequences[0][-1].numpy(), sequences[2][-1].numpy()])
    np.testing.assert_array_equal(rows(nn.Linear(4, 4), output), expected)


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_sequence_without_a_batch_is_one_sequence(batch_first):
    layer = nn.LSTM(4, 3, batch_first=batch_first)
    output = layer(torch.randn(6, 4))
    np.testing.assert_array_equal(rows(layer, output), output[0][-1:].detach().numpy())


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention(batch_first):
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first)
    x = torch.randn(5, 7, 8) if batch_first else torch.randn(7, 5, 8)
    output = layer(x, x, x)
    series = output[0].detach().numpy()
    series = series if batch_first else series.swapaxes(0, 1)
    np.testing.assert_array_equal(rows(layer, output), series[:, -1])
    every = np.array([series[b, t] for b in range(5) for t in range(7)])
    np.testing.assert_array_equal(rows(layer, output, timeseries="timestepwise"), every)


def test_any_type_can_be_registered():
    class Doubled(nn.Module):
        def forward(self, x):
            return x, 2 * x

    assert not is_trackable(Doubled())

    @samples.register
    def _(layer: Doubled, output, methods):
        return methods.of_series(output)

    layer = Doubled()
    x = torch.randn(3, 4, 5)
    assert is_trackable(layer)
    np.testing.assert_array_equal(rows(layer, layer(x)), x[:, -1].numpy())


ModelOutput = namedtuple("ModelOutput", "loss last_hidden_state")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: (x, 1),
        lambda x: [None, (x,)],
        lambda x: {"first": x, "second": x + 1},
        lambda x: {"first": x + 1, "last_hidden_state": x},
        lambda x: ModelOutput(x + 1, x),
    ],
)
def test_the_first_tensor_of_a_nested_output_stands_for_it(wrap):
    x = torch.randn(3)
    assert first_tensor(wrap(x)) is x


def test_no_tensor_is_no_output():
    assert first_tensor((1, "a", {"b": None})) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"conv": "sum"}, "conv_method: 'sum' is not one of 'channelwise', 'mean'"),
        ({"timeseries": "median"}, "timeseries_method: 'median' is not one of 'last_timestep'"),
        ({"interpolation": "cubic"}, "interpolation_strategy: 'cubic' is not one of 'nearest'"),
        *[
            ({"largest": size}, "interpolation_downsampling must be a whole number of at least 1")
            for size in (0, True, 1.5, "32")
        ],
    ],
)
def test_an_unknown_method_is_refused_with_the_choices(wrong, message):
    with pytest.raises(ArgumentError, match=message):
        SamplingMethods(**wrong)


def test_the_modes_are_those_that_torch_knows():
    from delve.capture.activations import INTERPOLATION_MODES

    for mode, dimensions in INTERPOLATION_MODES.items():
        for n in (1, 2, 3):
            maps = torch.randn(1, 1, *[4] * n)
            if n in dimensions:
                nn.functional.interpolate(maps, size=[2] * n, mode=mode)
            else:
                with pytest.raises(NotImplementedError):
                    nn.functional.interpolate(maps, size=[2] * n, mode=mode)
