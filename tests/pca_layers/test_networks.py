"""All PCA layers of a network at once, and random directions."""

import logging
import math

import numpy as np
import pytest
import torch
import torch._dynamo
from scipy import stats
from support.pca import FEATURES, network, samples, taught

from delve.pca_layers import (
    LinearPCALayer,
    change_all_pca_layer_thresholds,
    change_all_pca_layer_thresholds_and_inject_random_directions,
    rvs,
)


@pytest.fixture(autouse=True)
def _seeded():
    np.random.seed(0)
    torch.manual_seed(0)


def test_all_thresholds_are_changed_and_reported():
    x = torch.randn(200, 1, 6, 6)
    model = taught(network(), x)
    model(x)
    conv, linear, last = (module for module in model if isinstance(module, LinearPCALayer))

    saturations, dimensions, widths, names = change_all_pca_layer_thresholds(0.8, model)

    assert [layer.threshold for layer in (conv, linear, last)] == [0.8] * 3
    assert names == ["Conv-0", "Lin-0", "Lin-1"]
    assert widths == [6, 20, 10]
    for layer, dimension in zip((conv, linear, last), dimensions, strict=True):
        explained = layer.eigenvalues.cumsum(0) / layer.eigenvalues.sum()
        assert dimension == int((explained < 0.8).sum()) + 1
    assert saturations == [
        round(100 * dimension / width, 4)
        for dimension, width in zip(dimensions, widths, strict=True)
    ]


def test_random_directions_are_reported_like_the_eigenspace_they_replace():
    x = torch.randn(200, 1, 6, 6)
    model = taught(network(), x)
    expected = change_all_pca_layer_thresholds(0.8, model)
    inject = change_all_pca_layer_thresholds_and_inject_random_directions
    assert inject(0.8, model) == expected[:3]
    assert inject(0.8, model, include_names=True) == (
        *expected[:3],
        ["Conv-0", "Linear-0", "Linear-1"],
    )


def test_random_directions_keep_their_share_of_the_variance():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), x)
    layer(x)
    total = x.var(dim=0).sum()
    shares = []
    for _ in range(400):
        change_all_pca_layer_thresholds_and_inject_random_directions(0.9, layer)
        shares.append((layer(x).var(dim=0).sum() / total).item())
    error = np.std(shares) / math.sqrt(len(shares))
    assert abs(np.mean(shares) - layer.in_dim / FEATURES) < 4 * error
    assert error < 0.01


def test_random_directions_are_orthonormal_and_leave_with_the_next_change_of_threshold():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), x)
    expected = layer(x)
    change_all_pca_layer_thresholds_and_inject_random_directions(0.9, layer)
    directions = layer.random_directions
    torch.testing.assert_close(directions.T @ directions, torch.eye(layer.in_dim).double())
    assert not torch.allclose(layer(x), expected, atol=0.1)
    change_all_pca_layer_thresholds(0.9, layer)
    assert torch.equal(layer(x), expected)


def test_random_directions_leave_with_the_next_epoch():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), x)
    expected = layer(x)
    layer.inject_random_directions()
    assert torch.equal(taught(layer, x)(x), expected)


def test_random_directions_of_all_dimensions_keep_everything():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=2.0), x)
    layer.inject_random_directions()
    torch.testing.assert_close(layer(x), x)


def test_verbose_logs_and_otherwise_nothing_is_said(caplog, capsys):
    x = samples()
    with caplog.at_level(logging.INFO, "delve"):
        layer = taught(LinearPCALayer(FEATURES), x)
        layer(x)
        change_all_pca_layer_thresholds(0.8, layer)
        assert caplog.text == ""
        change_all_pca_layer_thresholds(0.8, layer, verbose=True)
        assert f"{layer.name}: the threshold is now 0.8" in caplog.text
        layer.verbose = True
        taught(layer, x)(x)
    assert f"{layer.name}: {layer.in_dim} of 12 directions explain 0.8" in caplog.text
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("dim", [1, 2, 3, 50])
def test_rvs_is_orthogonal(dim):
    matrix = rvs(dim)
    assert matrix.shape == (dim, dim)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(dim), atol=1e-12)


def test_rvs_has_three_dimensions_and_follows_numpys_seed():
    np.random.seed(5)
    first = rvs()
    np.random.seed(5)
    assert first.shape == (3, 3)
    assert np.array_equal(rvs(3), first)


@pytest.mark.parametrize(
    "measure",
    [np.trace, lambda m: m[0, 0], lambda m: m[1, 0] * m[2, 3], lambda m: np.abs(m).max()],
    ids=["trace", "first", "product", "largest"],
)
def test_rvs_is_distributed_as_scipys_orthogonal_matrices(measure):
    ours = [measure(rvs(4)) for _ in range(4000)]
    theirs = [measure(m) for m in stats.ortho_group.rvs(4, size=4000, random_state=1)]
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


def test_rvs_has_both_determinants_equally_often():
    positive = sum(np.linalg.det(rvs(4)) > 0 for _ in range(2000))
    assert stats.binomtest(positive, 2000).pvalue > 1e-3
