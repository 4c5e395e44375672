import copy
import math

import numpy as np
import pytest
import torch
import torch._dynamo
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from support.pca import (
    FEATURES,
    maps,
    reference_projection,
    samples,
    save_and_load,
    scikit_projection,
    taught,
)
from torch import nn

from delve.errors import ArgumentError
from delve.pca_layers import (
    Conv2DPCALayer,
    LinearPCALayer,
)


@pytest.fixture(autouse=True)
def _seeded():
    np.random.seed(0)
    torch.manual_seed(0)


# Learning


def test_training_passes_the_input_itself():
    x = samples()
    layer = LinearPCALayer(FEATURES)
    assert layer.train()(x) is x


def test_the_projection_is_scikit_learns_over_all_batches():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), x)
    pca = PCA(n_components=0.9, svd_solver="full").fit(x.double().numpy())

    projected = layer(x)

    assert layer.in_dim == pca.n_components_ < FEATURES
    np.testing.assert_allclose(projected, scikit_projection(pca, x.numpy()), atol=1e-5)


def test_mean_eigenvalues_and_eigenvectors_are_those_of_all_batches():
    x = samples().double()
    layer = taught(LinearPCALayer(FEATURES), x, batch=7)
    layer(x)
    pca = PCA(svd_solver="full").fit(x.numpy())

    assert layer.seen_samples == len(x)
    np.testing.assert_allclose(layer.mean, pca.mean_, rtol=1e-12)
    population = pca.explained_variance_ * (len(x) - 1) / len(x)
    np.testing.assert_allclose(layer.eigenvalues, population, rtol=1e-9)
    cosines = np.abs((layer.eigenvectors.numpy() * pca.components_.T).sum(axis=0))
    np.testing.assert_allclose(cosines, 1, rtol=1e-9)


def test_the_largest_component_of_each_eigenvector_is_positive():
    layer = taught(LinearPCALayer(FEATURES), samples())
    layer(samples())
    vectors = layer.eigenvectors.numpy()
    assert (vectors[np.abs(vectors).argmax(axis=0), range(FEATURES)] > 0).all()


def test_an_epoch_begins_with_the_first_training_after_an_evaluation():
    first, second = samples(seed=1), samples(seed=2)
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), first)
    layer(first)
    layer(first)  # a second evaluation batch belongs to the same epoch
    assert layer.epoch == 1
    taught(layer, second)

    projected = layer(second)

    assert (layer.epoch, layer.seen_samples) == (2, len(second))
    expected = reference_projection(second, layer.in_dim, centering=True)
    np.testing.assert_allclose(projected, expected, atol=1e-5)


def test_looking_at_the_layer_in_the_middle_of_an_epoch_does_not_end_it():
    x = samples()
    layer = LinearPCALayer(FEATURES).train()
    layer(x[:200])
    assert layer.in_dim < FEATURES
    layer(x[200:])
    assert layer.seen_samples == len(x)
    layer.eval()(x)
    np.testing.assert_allclose(layer.mean, x.double().mean(dim=0), rtol=1e-6)


def test_before_anything_was_learned_evaluation_changes_nothing():
    x = samples()
    layer = LinearPCALayer(FEATURES).eval()
    x[0, 0] = math.inf
    assert torch.equal(layer(x), x)
    assert (layer.in_dim, layer.sat, layer.seen_samples, layer.epoch) == (FEATURES, 100, 0, 0)


def test_an_empty_batch_teaches_nothing():
    layer = LinearPCALayer(FEATURES).train()
    layer(torch.empty(0, FEATURES))
    assert layer.seen_samples == 0
    assert layer.eval()(torch.empty(0, FEATURES)).shape == (0, FEATURES)


def test_leading_dimensions_are_all_samples():
    x = samples()
    flat = taught(LinearPCALayer(FEATURES), x)
    series = taught(LinearPCALayer(FEATURES), x.view(60, 10, FEATURES))
    expected = flat(x).view(60, 10, FEATURES)
    torch.testing.assert_close(series(x.view(60, 10, FEATURES)), expected)


def test_input_of_another_width_is_refused_by_name():
    layer = LinearPCALayer(FEATURES)
    with pytest.raises(ArgumentError, match=rf"{layer.name} was made for 12 features and got 5"):
        layer(torch.zeros(3, 5))


def test_a_mean_a_million_times_the_deviation_costs_no_direction():
    x = samples(dtype=torch.float64) + 1e6
    layer = taught(LinearPCALayer(FEATURES), x)
    layer(x)
    np.testing.assert_allclose(
        layer.eigenvalues, np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True))[::-1], rtol=1e-6
    )


def test_input_that_is_not_finite_gives_nan_and_says_so_until_the_next_epoch(caplog):
    x = samples()
    layer = taught(LinearPCALayer(FEATURES), x.clone().fill_diagonal_(math.inf))
    assert layer(x).isnan().all()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert layer.name in caplog.text
    assert taught(layer, x)(x).isfinite().all()


# Thresholds


@pytest.mark.parametrize(
    ("threshold", "directions"), [(0.5, 1), (0.6, 2), (0.95, 2), (0.96, 3), (1.0, 3), (3.0, 4)]
)
def test_the_fewest_directions_that_reach_the_threshold(threshold, directions):
    # Variances 10, 9, 1, 0 along the axes.
    axes = torch.diag(torch.tensor([10.0, 9.0, 1.0, 0.0]).sqrt())
    layer = taught(LinearPCALayer(4, threshold), torch.cat([axes, -axes]))
    assert layer.in_dim == directions
    assert layer.sat == 25 * directions
    assert layer.fs_dim == 4


@settings(max_examples=30)
@given(st.floats(min_value=0.01, max_value=1))
def test_the_projection_keeps_the_threshold_and_one_direction_less_does_not(threshold):
    x = samples(dtype=torch.float64)
    layer = taught(LinearPCALayer(FEATURES, threshold), x)
    kept = (layer(x).var(dim=0, correction=0).sum() / x.var(dim=0, correction=0).sum()).item()
    assert kept >= threshold - 1e-9
    shares = np.linalg.eigvalsh(np.cov(x.numpy().T))[::-1]
    assert layer.in_dim == 1 or shares[: layer.in_dim - 1].sum() < threshold * shares.sum()


def test_a_new_threshold_counts_from_the_next_evaluation():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.99), x)
    layer(x)
    layer.threshold = 0.7
    assert layer.threshold == 0.7
    expected = taught(LinearPCALayer(FEATURES, threshold=0.7), x)(x)
    torch.testing.assert_close(layer(x), expected)


def test_a_threshold_above_one_keeps_everything():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=10.0), x)
    assert layer.in_dim == FEATURES
    torch.testing.assert_close(layer(x), x)


def test_input_that_never_varies_has_one_direction_and_survives():
    x = torch.ones(20, FEATURES)
    layer = taught(LinearPCALayer(FEATURES), x)
    assert layer.in_dim == 1
    torch.testing.assert_close(layer(x), x)


def test_eigenvalues_of_features_that_depend_on_each_other_are_not_negative():
    x = samples(dtype=torch.float64)
    layer = taught(LinearPCALayer(2 * FEATURES, threshold=1.0), torch.cat([x, x], dim=1))
    assert layer.in_dim == FEATURES
    assert (layer.eigenvalues >= 0).all()


@pytest.mark.parametrize("threshold", [0, -0.5, math.nan])
def test_a_threshold_that_is_not_positive_is_refused(threshold):
    with pytest.raises(ArgumentError, match="must be positive"):
        LinearPCALayer(FEATURES, threshold)
    with pytest.raises(ArgumentError, match="must be positive"):
        LinearPCALayer(FEATURES).threshold = threshold


# Centering


@pytest.mark.parametrize("centering", [True, False])
def test_centering_chooses_the_origin(centering):
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9, centering=centering), x)
    expected = reference_projection(x, layer.in_dim, centering)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_around_zero_the_mean_takes_the_leading_direction():
    x = samples()
    centred, raw = (taught(LinearPCALayer(FEATURES, 0.9, centering=c), x) for c in (True, False))
    assert raw.in_dim == 1 < centred.in_dim


def test_a_change_of_centering_counts_from_the_next_evaluation():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9, centering=True), x)
    layer(x)
    layer.centering = False
    np.testing.assert_allclose(layer(x), reference_projection(x, 1, centering=False), atol=1e-5)
    layer.centering = True
    expected = reference_projection(x, layer.in_dim, centering=True)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


# Coordinates and matrices


@pytest.mark.parametrize("centering", [True, False])
def test_without_keepdim_the_output_is_coordinates(centering):
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, 0.9, keepdim=False, centering=centering), x)
    coordinates = layer(x)
    assert coordinates.shape == (len(x), layer.in_dim)
    back = coordinates.double() @ layer.eigenvectors[:, : layer.in_dim].T
    back += layer.mean if centering else 0
    expected = reference_projection(x, layer.in_dim, centering)
    np.testing.assert_allclose(back, expected, atol=1e-5)


def test_coordinates_are_scikit_learns_but_for_signs():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9, keepdim=False), x)
    expected = PCA(n_components=layer.in_dim, svd_solver="full").fit_transform(x.double().numpy())
    np.testing.assert_allclose(layer(x).abs(), np.abs(expected), atol=1e-5)


def test_the_transformation_matrices_are_what_the_layer_does():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9, centering=False), x)
    directions, projection = layer.reduced_transformation_matrix, layer.transformation_matrix
    assert directions.shape == (FEATURES, layer.in_dim)
    torch.testing.assert_close(projection, directions @ directions.T)
    torch.testing.assert_close(layer(x), x @ projection, atol=1e-4, rtol=1e-5)


# Dtypes, gradients, modes of execution


@pytest.mark.parametrize(
    ("dtype", "rounding"),
    [(torch.float16, 2**-10), (torch.bfloat16, 2**-7), (torch.float64, 1e-12)],
)
def test_every_dtype_comes_back_and_is_rounded_only_once(dtype, rounding):
    x = samples(dtype=dtype)
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), x)
    projected = layer(x)
    assert projected.dtype == dtype
    expected = reference_projection(x.double(), layer.in_dim, centering=True)
    np.testing.assert_allclose(projected.double(), expected, rtol=rounding)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_input_gives_the_eigenvalues_of_its_exact_values(dtype):
    x = samples(dtype=dtype)
    layer = taught(LinearPCALayer(FEATURES), x)
    layer(x)
    exact = np.linalg.eigvalsh(np.cov(x.double().numpy().T, bias=True))[::-1]
    np.testing.assert_allclose(layer.eigenvalues, exact, atol=1e-6 * exact[0])


def test_autocast_does_not_reach_into_the_projection():
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), x)
    plain = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), plain)


def test_a_model_in_half_precision_keeps_what_was_learned_in_float64():
    x = samples()
    model = nn.Sequential(nn.Linear(FEATURES, FEATURES), LinearPCALayer(FEATURES)).train()
    model(x)
    model.half()
    _, layer = model.eval()
    layer(x)
    assert model[0].weight.dtype == torch.float16
    assert {buffer.dtype for buffer in layer.buffers()} == {torch.float64}
    assert layer.is_floating_point() is False


def test_gradients_pass_unchanged_in_training():
    x = samples().requires_grad_()
    weights = torch.randn(x.shape)
    (LinearPCALayer(FEATURES, gradient_epoch_start=0).train()(x) * weights).sum().backward()
    assert torch.equal(x.grad, weights)


@pytest.mark.parametrize("centering", [True, False])
def test_gradients_are_projected_in_evaluation(centering):
    x = samples(dtype=torch.float64)
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9, centering=centering), x)
    layer(x)
    assert torch.autograd.gradcheck(layer, x[:3].clone().requires_grad_())
    some = x[:3].clone().requires_grad_()
    weights = torch.randn(some.shape, dtype=torch.float64)
    (layer(some) * weights).sum().backward()
    vectors = layer.eigenvectors[:, : layer.in_dim]
    torch.testing.assert_close(some.grad, weights @ vectors @ vectors.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_graph_of_an_evaluation_outlives_its_epoch(dtype):
    x, later = samples(dtype=dtype), samples(seed=1, dtype=dtype)
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), x)
    some = x[:3].clone().requires_grad_()
    total = layer(some).sum()
    vectors = layer.eigenvectors[:, : layer.in_dim].to(dtype)
    expected = torch.ones_like(some) @ vectors @ vectors.T

    taught(layer, later)(later)

    total.backward()
    torch.testing.assert_close(some.grad, expected)


def test_nothing_of_the_graph_is_kept():
    x = samples().requires_grad_()
    layer = taught(LinearPCALayer(FEATURES), x * 2)
    layer(x)
    assert list(layer.parameters()) == []
    assert not any(buffer.requires_grad for buffer in layer.buffers())


def test_a_pass_in_inference_mode_leaves_gradients_possible():
    x, layer = samples(), LinearPCALayer(FEATURES)
    with torch.inference_mode():
        taught(layer, x)(x)
    some = x.clone().requires_grad_()
    layer(some).sum().backward()
    assert some.grad.isfinite().all()
    layer.load_state_dict(copy.deepcopy(layer.state_dict()))


def test_a_compiled_model_learns_and_projects_the_same():
    x = samples()
    plain = nn.Sequential(nn.Tanh(), LinearPCALayer(FEATURES, threshold=0.9))
    compiled = torch.compile(copy.deepcopy(plain), backend="eager")
    torch.testing.assert_close(taught(compiled, x)(x), taught(plain, x)(x))


def test_a_compiled_model_is_not_compiled_anew_each_epoch():
    torch._dynamo.reset()
    blocks = [nn.Sequential(nn.Linear(8, 8), nn.Tanh(), LinearPCALayer(8)) for _ in range(10)]
    model = torch.compile(nn.Sequential(*blocks), backend="eager")
    frames = torch._dynamo.utils.counters["frames"]
    counts = []
    for epoch in range(12):
        x = torch.randn(40 + epoch, 8)
        taught(model, x, batch=20)
        with torch.no_grad():
            model(x[:20])
        counts.append(frames["total"])
    assert blocks[-1][-1].epoch == 12
    assert counts[2:] == counts[2:3] * 10  # by then every shape and mode has come


def test_a_replica_of_data_parallel_learns_nothing_and_says_so_once(caplog):
    x = samples()
    layer = LinearPCALayer(FEATURES).train()
    for _ in range(2):
        for part in x.split(300):  # what DataParallel does on two devices, in each pass
            replica = layer._replicate_for_data_parallel()
            assert replica(part) is part
    assert layer.seen_samples == 0
    assert caplog.text.count(f"{layer.name} learns nothing: it is inside nn.DataParallel") == 1
    expected = taught(layer, x)(x)
    assert torch.equal(layer._replicate_for_data_parallel()(x), expected)


def test_a_solver_that_gives_up_is_tried_again_on_the_cpu(monkeypatch):
    x = samples()
    layer, expected = (taught(LinearPCALayer(FEATURES), x) for _ in range(2))
    expected(x)
    solve, calls = torch.linalg.eigh, []

    def fail_once(matrix):
        calls.append(matrix)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("failed to converge")
        return solve(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", fail_once)
    torch.testing.assert_close(layer(x), expected(x))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("make", [LinearPCALayer, Conv2DPCALayer])
def test_cuda_gives_the_same_as_the_cpu(make):
    x = samples() if make is LinearPCALayer else maps(filters=FEATURES)
    here = taught(make(FEATURES, threshold=0.9), x)
    there = taught(make(FEATURES, threshold=0.9).cuda(), x.cuda())
    torch.testing.assert_close(there(x.cuda()).cpu(), here(x), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(there.cpu()(x), here(x), atol=1e-4, rtol=1e-5)


# Saving and loading


def test_a_loaded_layer_projects_identically(tmp_path):
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9, keepdim=False), x)
    layer(x)
    layer.threshold, layer.centering = 0.8, False
    expected = layer(x)

    loaded = save_and_load(layer, LinearPCALayer(FEATURES, keepdim=False), tmp_path / "state.pt")

    assert torch.equal(loaded(x), expected)
    assert (loaded.threshold, loaded.centering) == (0.8, False)
    assert (loaded.epoch, loaded.seen_samples) == (1, len(x))


def test_a_layer_saved_before_its_evaluation_projects_identically(tmp_path):
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), x)
    loaded = save_and_load(layer, LinearPCALayer(FEATURES), tmp_path / "state.pt")
    assert torch.equal(loaded(x), layer(x))
    assert loaded.in_dim < FEATURES


def test_a_layer_loaded_in_the_middle_of_an_epoch_goes_on_with_it(tmp_path):
    x = samples()
    layer = taught(LinearPCALayer(FEATURES), x[:250])
    loaded = save_and_load(layer, LinearPCALayer(FEATURES), tmp_path / "state.pt")
    for each in (layer, loaded):
        taught(each, x[250:])(x)
        assert each.seen_samples == len(x)
        np.testing.assert_allclose(each.mean, x.double().mean(dim=0), rtol=1e-6)
    assert torch.equal(loaded.eigenvectors, layer.eigenvectors)


def test_an_epoch_that_was_loaded_in_inference_mode_goes_on_outside_of_it():
    x = samples()
    layer, loaded = taught(LinearPCALayer(FEATURES), x[:250]), LinearPCALayer(FEATURES)
    with torch.inference_mode():
        loaded.load_state_dict(copy.deepcopy(layer.state_dict()))
    assert torch.equal(taught(loaded, x[250:])(x), taught(layer, x[250:])(x))


def test_an_epoch_that_began_in_inference_mode_goes_on_outside_of_it():
    x = samples()
    layer = LinearPCALayer(FEATURES)
    with torch.inference_mode():
        layer.train()(x[:250])
        layer.state_dict()
    taught(layer, x[250:])(x)
    np.testing.assert_allclose(layer.mean, x.double().mean(dim=0), rtol=1e-6)


def test_loading_replaces_what_was_learned_since(tmp_path):
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), x)
    busy = taught(LinearPCALayer(FEATURES), samples(seed=1))
    loaded = save_and_load(layer, busy, tmp_path / "state.pt")
    assert torch.equal(loaded(x), layer(x))
    assert loaded.seen_samples == len(x)


def test_random_directions_are_saved_and_are_gone_where_there_were_none(tmp_path):
    x = samples()
    layer = taught(LinearPCALayer(FEATURES, threshold=0.9), x)
    plain = save_and_load(layer, LinearPCALayer(FEATURES), tmp_path / "plain.pt")
    expected = plain(x)
    layer.inject_random_directions()

    loaded = save_and_load(layer, LinearPCALayer(FEATURES), tmp_path / "random.pt")

    assert torch.equal(loaded(x), layer(x))
    assert not torch.allclose(loaded(x), expected, atol=0.1)
    assert torch.equal(save_and_load(plain, loaded, tmp_path / "plain.pt")(x), expected)


@pytest.mark.parametrize("again", [copy.deepcopy, None], ids=["deepcopy", "torch.save"])
def test_a_copied_or_pickled_layer_projects_identically(tmp_path, again):
    x = samples()
    layer = taught(Conv2DPCALayer(6, verbose=False), maps())
    if again is None:
        torch.save(layer, tmp_path / "layer.pt")
        copied = torch.load(tmp_path / "layer.pt", weights_only=False)
    else:
        copied = again(layer)
    x = maps(seed=3)
    assert torch.equal(copied(x), layer(x))


def test_the_state_dictionary_is_made_of_tensors():
    state = taught(LinearPCALayer(FEATURES), samples()).state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())


# Feature maps


# All layers of a network


# Random orthogonal matrices
