"""The layer that projects the channels of maps."""

import numpy as np
import pytest
import torch
import torch._dynamo
from support.pca import maps, reference_projection, taught

from delve.errors import ArgumentError
from delve.pca_layers import (
    Conv2DPCALayer,
)


@pytest.fixture(autouse=True)
def _seeded():
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.mark.parametrize("centering", [True, False])
def test_every_position_of_a_map_is_a_sample(centering):
    x = maps()
    layer = taught(Conv2DPCALayer(6, threshold=0.9, verbose=False, centering=centering), x, 7)
    projected = layer(x)

    positions = x.permute(0, 2, 3, 1).reshape(-1, 6)
    assert layer.seen_samples == len(positions)
    expected = reference_projection(positions, layer.in_dim, centering)
    np.testing.assert_allclose(
        projected.permute(0, 2, 3, 1).reshape(-1, 6), expected, rtol=1e-5, atol=1e-5
    )
    assert projected.shape == x.shape
    assert projected.is_contiguous()


def test_a_map_without_batch_dimension():
    x = maps()
    layer = Conv2DPCALayer(6, verbose=False).train()
    for one in x:
        layer(one)
    expected = taught(Conv2DPCALayer(6, verbose=False), x)
    torch.testing.assert_close(layer.eval()(x[0]), expected(x)[0])


def test_downsampled_maps_are_learned_from_and_whole_maps_projected():
    x = maps(side=6)
    layer = taught(Conv2DPCALayer(6, threshold=0.9, verbose=False, downsampling=3), x)
    projected = layer(x)

    assert layer.seen_samples == 40 * 3 * 3
    positions = x.double().permute(0, 2, 3, 1)
    learned_from = positions[:, ::2, ::2].reshape(-1, 6)  # the nearest neighbours
    vectors = np.linalg.svd(learned_from.numpy(), full_matrices=False)[2][: layer.in_dim].T
    np.testing.assert_allclose(
        projected.permute(0, 2, 3, 1), positions.numpy() @ vectors @ vectors.T, atol=1e-4
    )


def test_maps_smaller_than_the_downsampling_are_taken_as_they_are():
    x = maps(side=5)
    layer = taught(Conv2DPCALayer(6, verbose=False, downsampling=8), x)
    assert layer.seen_samples == 40 * 5 * 5


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "6"])
def test_sizes_that_are_not_positive_whole_numbers_are_refused(size):
    with pytest.raises(ArgumentError, match="features of a PCA layer must be a whole"):
        Conv2DPCALayer(size)
    with pytest.raises(ArgumentError, match="downsampling of a PCA layer must be a whole"):
        Conv2DPCALayer(6, downsampling=size)


def test_half_precision_maps():
    x = maps().half()
    layer = taught(Conv2DPCALayer(6, threshold=0.9, verbose=False, centering=True), x)
    expected = reference_projection(
        x.double().permute(0, 2, 3, 1).reshape(-1, 6), layer.in_dim, centering=True
    )
    projected = layer(x)
    assert projected.dtype == torch.float16
    np.testing.assert_allclose(
        projected.double().permute(0, 2, 3, 1).reshape(-1, 6), expected, atol=2e-2
    )
