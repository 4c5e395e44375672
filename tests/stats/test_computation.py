"""Every statistic through the tracker, against numpy, scipy and scikit-learn."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.decomposition import PCA
from support.models import reference_saturation
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.records import MODES
from delve.stats.built_in import BUILT_IN as BUILT_IN
from delve.stats.computation import Statistics
from delve.stats.selection import SelectedStat
from delve.stats.stat import Stat


class Arrays(Recorder):
    """Keeps arrays too."""

    def __init__(self):
        super().__init__()
        self.arrays = {}

    def add_array(self, name, value, epoch):
        self.arrays[name, epoch] = value


ALL = list(dict.fromkeys(stat.key for stat in BUILT_IN))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """One epoch of one linear layer with all statistics, and its outputs of both modes."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 12)
    writer = Arrays()
    outputs = {"train": [], "eval": []}
    with SaturationTracker(tmp_path_factory.mktemp("run"), writer, layer, stats=ALL) as tracker:
        for mode, batches in (("train", 12), ("eval", 3)):
            layer.train(mode == "train")
            for i in range(batches):
                x = torch.randn(120, 6) * torch.logspace(0, -2, 6) + i
                outputs[mode].append(layer(x).detach().double().numpy())
        tracker.add_saturations()
    return writer, {mode: np.concatenate(batches) for mode, batches in outputs.items()}


@pytest.fixture(params=["train", "eval"])
def case(request, recorded):
    """The values of one mode by long name, the arrays, and the outputs they are of."""
    writer, outputs = recorded
    values = {key.stat: value for key, value in writer.rows[0].items() if key.mode == request.param}
    arrays = {
        key.stat: value for (key, _), value in writer.arrays.items() if key.mode == request.param
    }
    return values, arrays, outputs[request.param]


def test_every_statistic_is_there(case, request):
    values, arrays, _ = case
    # Rows are no sequences or images, no feature outweighs the others, and evaluation is what is
    # compared.
    lacking = {
        "within-sequence-share",
        "saturation-without-leading-feature",
        "receptive-field-share",
        "masked-positions",
    }
    if "[train]" in request.node.name:
        lacking.add("eval-train-variance")
    assert set(values) == {stat.name for stat in BUILT_IN if not stat.is_array} - lacking
    assert set(arrays) == {stat.name for stat in BUILT_IN if stat.is_array}


def test_saturation_and_dimensionality_are_those_of_scikit_learn(case):
    values, _, outputs = case
    shares = PCA().fit(outputs).explained_variance_ratio_
    k = int((np.cumsum(shares) < 0.99).sum()) + 1
    assert values["intrinsic-dimensionality"] == k
    assert values["saturation"] == k / 12


def test_the_covariance_matrix_is_numpys(case):
    _, arrays, outputs = case
    expected = np.cov(outputs.T, bias=True)
    bound = 1e-6 * scipy.linalg.eigvalsh(expected).max()
    assert arrays["covariance-matrix"].dtype == np.float64
    np.testing.assert_allclose(arrays["covariance-matrix"], expected, atol=bound)


def test_the_spectrum_is_scipys(case):
    values, arrays, outputs = case
    expected = scipy.linalg.eigvalsh(np.cov(outputs.T, bias=True))[::-1]
    np.testing.assert_allclose(arrays["spectrum"], expected, atol=1e-6 * expected[0])
    for n in range(1, 6):
        assert values[f"spectrum-{n}"] == arrays["spectrum"][n - 1]


def test_determinant_and_traces(case):
    values, arrays, outputs = case
    matrix = arrays["covariance-matrix"]
    variance = outputs.var(axis=0).sum()
    assert values["covariance-trace"] == pytest.approx(variance, rel=1e-6)
    assert values["diagonal-trace"] == pytest.approx(variance, rel=1e-6)
    # Six of twelve directions are empty, so the determinant is nothing but rounding.
    assert abs(values["covariance-determinant"]) <= abs(np.prod(np.diag(matrix)))


def test_effective_rank_is_the_exponential_of_scipys_entropy(case):
    values, arrays, _ = case
    expected = math.exp(scipy.stats.entropy(arrays["spectrum"]))
    assert values["effective-rank"] == pytest.approx(expected)


def test_participation_ratio_and_stable_rank(case):
    values, _, outputs = case
    matrix = np.cov(outputs.T, bias=True)
    # Unbiased estimates of both sums, from a covariance that is divided by its degrees of freedom.
    free = len(outputs) - 1
    unbiased = matrix * len(outputs) / free
    squares = np.trace(unbiased @ unbiased) - np.trace(unbiased) ** 2 / free
    squares *= free**2 / ((free - 1) * (free + 2))
    expected = (np.trace(unbiased) ** 2 - 2 * squares / free) / squares
    assert values["participation-ratio"] == pytest.approx(expected, rel=1e-5)
    largest = scipy.linalg.eigvalsh(matrix)[-1]
    assert values["stable-rank"] == pytest.approx(np.trace(matrix) / largest, rel=1e-5)


def test_the_power_law_exponent_is_scipys_regression(case):
    values, arrays, _ = case
    spectrum = arrays["spectrum"]
    kept = spectrum[spectrum > 1e-6 * spectrum[0]]
    assert len(kept) == 6  # so ranks 2 to 5 are fitted
    ranks = np.arange(2, 6)
    design = np.stack([np.log(ranks), np.ones(4)], axis=1) / np.sqrt(ranks)[:, None]
    slope = scipy.linalg.lstsq(design, np.log(kept[1:5]) / np.sqrt(ranks))[0][0]
    assert values["power-law-exponent"] == pytest.approx(-slope)


def test_the_number_of_samples(case):
    values, _, outputs = case
    assert values["samples"] == len(outputs)


def test_embedded_samples_are_scikit_learns_projection(case):
    _, arrays, outputs = case
    pca = PCA(2, svd_solver="full").fit(outputs)
    first = outputs[:1000]
    directions = pca.components_ * np.sign(
        pca.components_[[0, 1], np.abs(pca.components_).argmax(axis=1)]
    ).reshape(2, 1)
    expected = (first - outputs.mean(axis=0)) @ directions.T
    assert arrays["embedded-sample"].shape == (min(1000, len(outputs)), 2)
    np.testing.assert_allclose(arrays["embedded-sample"], expected, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 4, 40])
def test_few_samples_give_what_many_would(tmp_path, rows):
    """The spectrum of fewer samples than features comes from another matrix."""
    layer = nn.Linear(6, 30)
    writer = Arrays()
    with SaturationTracker(tmp_path, writer, layer, stats=ALL) as tracker:
        layer(torch.randn(rows, 6))
        tracker.add_saturations()
    values = {key.stat: value for key, value in writer.rows[0].items()}
    arrays = {key.stat: value for (key, _), value in writer.arrays.items()}
    matrix = arrays["covariance-matrix"]
    expected = np.clip(scipy.linalg.eigvalsh(matrix)[::-1], 0, None)
    np.testing.assert_allclose(arrays["spectrum"], expected, atol=1e-9 + 1e-6 * expected[0])
    assert values["covariance-trace"] == pytest.approx(np.trace(matrix), rel=1e-6, abs=1e-12)
    assert arrays["embedded-sample"].shape == (rows, 2)
    distances = np.linalg.norm(arrays["embedded-sample"], axis=1) ** 2
    assert distances.sum() / rows == pytest.approx(expected[:2].sum(), rel=1e-4, abs=1e-12)


@pytest.mark.parametrize(("rows", "features"), [(5, 12), (40, 64), (3, 3), (70, 64)])
def test_embedded_samples_have_nothing_along_a_direction_without_variance(tmp_path, rows, features):
    outputs = np.outer(np.arange(rows), np.arange(1.0, features + 1))  # of rank 1
    layer = nn.Linear(features, features, bias=False)
    layer.weight.data = torch.eye(features)
    writer = Arrays()
    with SaturationTracker(tmp_path, writer, layer, stats=["embed"]) as tracker:
        layer(torch.from_numpy(outputs).float())
        tracker.add_saturations()
    (embedded,) = writer.arrays.values()
    centred = outputs - outputs.mean(axis=0)
    _, vectors = scipy.linalg.eigh(centred.T @ centred)
    expected = np.abs(centred @ vectors[:, :-3:-1])
    np.testing.assert_allclose(np.abs(embedded), expected, atol=1e-6 * expected.max())


def test_outputs_that_never_vary_have_one_direction_and_no_nan(tmp_path):
    layer = nn.Linear(3, 4)
    writer = Arrays()
    with SaturationTracker(tmp_path, writer, layer, stats=ALL) as tracker:
        layer(torch.zeros(50, 3))
        tracker.add_saturations()
    values = {key.stat: value for key, value in writer.rows[0].items()}
    assert values["intrinsic-dimensionality"] == 1
    for name in ("effective-rank", "participation-ratio", "stable-rank"):
        assert values[name] == 1
    assert math.isnan(values["power-law-exponent"])  # there is no line through nothing


def test_outputs_that_are_not_finite_give_nan_in_every_statistic(tmp_path, caplog):
    layer = nn.Linear(3, 4)
    writer = Arrays()
    with SaturationTracker(tmp_path, writer, layer, stats=ALL) as tracker:
        layer(torch.full((50, 3), math.inf))
        tracker.add_saturations()
    values = {key.stat: value for key, value in writer.rows[0].items()}
    assert values.pop("samples") == 50
    assert values.pop("ceiling") == 3 / 4  # which its weight tells
    assert all(math.isnan(value) for value in values.values()), values
    assert "not finite" in caplog.text


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("key", ALL)
def test_a_suffix_keeps_one_mode_of_any_statistic(tmp_path, key, mode):
    layer = nn.Linear(3, 4)
    writer = Arrays()
    with SaturationTracker(tmp_path, writer, layer, stats=[f"{key}_{mode}"]) as tracker:
        real = torch.arange(4) < torch.randint(1, 5, (50, 1))
        for _ in range(2):
            with tracker.mask(real):
                layer.train()(torch.randn(50, 4, 3))
            with tracker.mask(real):
                layer.eval()(torch.randn(50, 4, 3))
        tracker.add_saturations()
    found = [*writer.rows.get(0, {}), *(name for name, _ in writer.arrays)]
    if (key, mode) == ("evratio", "train") or key == "field":  # compared is evaluation; no image
        assert not found
        return
    assert found
    assert {metric.mode for metric in found} == {mode}


def test_averages_over_the_layers(tmp_path):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    writer = Recorder()
    with SaturationTracker(
        tmp_path, writer, model, average_sat=True, stats=["lsat", "idim"]
    ) as tracker:
        model.train()(torch.randn(90, 6))
        model.eval()(torch.randn(90, 6) * 3)
        tracker.add_saturations()
    row = writer.rows[0]
    for mode in ("train", "eval"):
        layers = [value for key, value in row.items() if str(key).startswith(f"{mode}-saturation/")]
        assert len(layers) == 2
        assert row[f"average-{mode}-sat"] == pytest.approx(np.mean(layers))


def test_layerwise_sat_false_leaves_the_averages(tmp_path):
    model = nn.Linear(6, 8)
    writer = Recorder()
    with SaturationTracker(
        tmp_path, writer, model, average_sat=True, layerwise_sat=False, stats=["lsat", "n"]
    ) as tracker:
        model(torch.randn(90, 6))
        tracker.add_saturations()
    assert set(writer.rows[0]) == {"average-train-sat", "train-samples/Linear-0"}


def test_arrays_that_no_writer_stores_are_named_once(tmp_path, caplog):
    model = nn.Linear(6, 8)
    with SaturationTracker(tmp_path, Recorder(), model, stats=["lsat", "cov", "embed"]) as tracker:
        for _ in range(2):
            model(torch.randn(90, 6))
            tracker.add_saturations()
    assert caplog.text.count("not saved as such: cov, embed; npy does") == 1


def test_nosave_records_numbers_and_tells_writers_to_draw_nothing(tmp_path):
    writer, model = Recorder(), nn.Linear(6, 8)
    with SaturationTracker(tmp_path, writer, model, nosave=True) as tracker:
        model(torch.randn(90, 6))
        tracker.add_saturations()
    assert writer.calls[0][1]["run"].images is False
    assert set(writer.rows[0]) == {"train-saturation/Linear-0"}


def test_an_array_selected_twice_is_announced_and_written_once(tmp_path):
    writer, layer = Arrays(), nn.Linear(6, 4)
    with SaturationTracker(tmp_path, writer, layer, stats=["cov", "cov_eval"]) as tracker:
        layer.eval()(torch.randn(90, 6))
        tracker.add_saturations()
    run = writer.calls[0][1]["run"]
    assert run.arrays == ("train-covariance-matrix", "eval-covariance-matrix")
    assert [name for name, _ in writer.arrays] == ["eval-covariance-matrix/Linear-0"]


def test_saturations_alone_compute_nothing_else_and_warn_of_nothing(caplog):
    def explode(spectrum, threshold):
        raise AssertionError("computed")

    x = torch.randn(9, 12) * torch.logspace(0, -2, 12)
    covariance = TorchCovarianceMatrix()
    covariance.update(x)
    key = ("train", "wide")
    statistics = Statistics([SelectedStat(Stat("mine", "mine", explode), MODES)], 0.99)
    assert statistics.saturations({key: covariance}) == {key: reference_saturation(x.numpy())}
    assert not caplog.text
    with pytest.raises(AssertionError, match="computed"):
        statistics.compute({key: covariance})
