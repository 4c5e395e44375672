"""What saturation cannot see: each number against numpy, on cases where saturation misleads."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from support.networks import Mixing
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.layer_spectrum import Company, LayerSpectrum
from delve.records import Metric
from delve.stats.functions import saturation
from delve.stats.health import (
    dead_share,
    extrapolated_saturation,
    saturation_error,
    standardised_dimensionality,
    standardised_effective_rank,
    standardised_saturation,
)


def covariance_of(*batches):
    covariance = TorchCovarianceMatrix()
    for batch in batches:
        covariance.update(torch.as_tensor(batch))
    return covariance


def recorded(tmp_path, model, batches, stats, modes=("train",), **arguments):
    """The metrics of one epoch, by mode, statistic and layer."""
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=stats, **arguments) as tracker:
        for mode in modes:
            model.train(mode == "train")
            with torch.no_grad():
                for batch in batches:
                    model(batch)
        tracker.add_saturations()
    return writer.rows.get(0, {})


@pytest.fixture
def outputs():
    generator = np.random.default_rng(0)
    return generator.normal(size=(400, 12)) @ generator.normal(size=(12, 12)) + 3


# --- the correlation matrix ----------------------------------------------------------------------


@pytest.mark.parametrize("samples", [8, 400])
def test_standardised_numbers_are_those_of_numpys_correlation(outputs, samples):
    x = outputs[:samples]
    spectrum = LayerSpectrum(covariance_of(x))
    values = np.linalg.eigvalsh(np.corrcoef(x, rowvar=False))[::-1].clip(0)
    shares = values / values.sum()
    k = int(np.argmax(np.cumsum(shares) >= 0.9 - 1e-12)) + 1
    assert standardised_dimensionality(spectrum, 0.9) == k
    assert standardised_saturation(spectrum, 0.9) == k / 12
    found = standardised_effective_rank(spectrum, 0.9)
    assert found == pytest.approx(np.exp(scipy.stats.entropy(shares[shares > 0])), rel=1e-6)


def test_the_same_function_with_one_unit_scaled_has_the_same_standardised_saturation(tmp_path):
    """One unit x 100 and its outgoing weights / 100: saturation falls, the correlations' stays."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    batches = [torch.randn(256, 20) for _ in range(8)]
    before = recorded(tmp_path / "a", model, batches, ["lsat", "csat", "cidim"])
    with torch.no_grad():
        model[0].weight[5] *= 100
        model[0].bias[5] *= 100
        model[2].weight[:, 5] /= 100
    after = recorded(tmp_path / "b", model, batches, ["lsat", "csat", "cidim"])
    assert after["train-saturation/0"] < 0.2 * before["train-saturation/0"]
    for layer in ("0", "2"):
        name = f"train-standardised-saturation/{layer}"
        assert after[name] == before[name]


def test_features_that_never_vary_add_nothing_to_it(outputs):
    x = np.concatenate([outputs, np.full((400, 4), 7.25)], axis=1)
    spectrum = LayerSpectrum(covariance_of(x.astype(np.float32)))
    of_the_rest = standardised_dimensionality(LayerSpectrum(covariance_of(outputs)), 0.99)
    assert standardised_dimensionality(spectrum, 0.99) == of_the_rest
    assert standardised_saturation(spectrum, 0.99) == of_the_rest / 16
    assert dead_share(spectrum, 0.99) == 4 / 16


def test_what_varies_by_little_beside_its_mean_is_not_dead():
    x = torch.randn(1000, 6, dtype=torch.float64) + 1e6
    assert dead_share(LayerSpectrum(covariance_of(x)), 0.99) == 0
    constant = torch.full((1000, 6), 0.1).float() * torch.tensor([1, 3, 7, 1e4, 1e-4, 0])
    batches = constant.split(37)
    assert dead_share(LayerSpectrum(covariance_of(*batches)), 0.99) == 1


# --- what leads ----------------------------------------------------------------------------------


def test_one_channel_that_outweighs_all_is_named_with_the_saturation_of_the_rest(tmp_path):
    torch.manual_seed(0)
    layer = nn.Linear(64, 384)
    with torch.no_grad():
        layer.weight[17] *= 100
    x = torch.randn(4096, 64)
    row = recorded(tmp_path, layer, [x], ["lsat", "top"])
    y = layer(x).detach().double().numpy()
    cov = np.cov(y, rowvar=False, bias=True)
    rest = np.delete(y, 17, axis=1)
    values = np.linalg.eigvalsh(np.cov(rest, rowvar=False, bias=True))[::-1]
    k = int(np.argmax(np.cumsum(values) >= 0.99 * values.sum())) + 1
    (name,) = {m.layer for m in row if isinstance(m, Metric)}
    top = np.linalg.eigvalsh(cov)[-1] / np.trace(cov)
    assert row[f"train-leading-share/{name}"] == pytest.approx(top, abs=1e-5)
    assert row[f"train-leading-feature/{name}"] == 17
    share = cov[17, 17] / np.trace(cov)
    assert row[f"train-leading-feature-share/{name}"] == pytest.approx(share, rel=1e-5)
    assert row[f"train-saturation-without-leading-feature/{name}"] == k / 383
    assert row[f"train-saturation/{name}"] < 0.6 * k / 383


def test_where_no_feature_outweighs_the_others_nothing_is_said_of_the_rest(tmp_path):
    row = recorded(tmp_path, nn.Linear(20, 30), [torch.randn(500, 20)], ["top"])
    assert not [name for name in row if "without" in name]


# --- the mean, the dead, the dormant -------------------------------------------------------------


def test_mean_share_dead_and_dormant_are_numpys(tmp_path):
    torch.manual_seed(1)
    layer = nn.Linear(5, 8)
    with torch.no_grad():
        layer.weight[:2] = 0  # never vary
        layer.bias[2] = -1000  # varies, and never exceeds 0
    batches = [torch.randn(64, 5) for _ in range(6)]
    stats = ["mshare", "dead", "dormant", "redo"]
    row = recorded(tmp_path, layer, batches, stats)
    y = torch.cat([layer(batch) for batch in batches]).detach().double().numpy()
    mean, trace = y.mean(axis=0), y.var(axis=0).sum()
    values = {name.stat: value for name, value in row.items()}
    assert values["mean-share"] == pytest.approx(mean @ mean / (mean @ mean + trace), rel=1e-6)
    assert values["dead-share"] == 2 / 8
    assert values["dormant-share"] == (y.max(axis=0) <= 0).mean()
    positive = y.clip(0).mean(axis=0)
    assert values["low-activity-share"] == (positive <= 0.025 * positive.mean()).mean()
    assert values["dormant-share"] >= 1 / 8


def test_units_that_died_are_counted_where_saturation_says_little(tmp_path):
    """Three quarters of the hidden units have a bias that keeps them below 0."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    with torch.no_grad():
        model[0].bias[:48] = -50
    row = recorded(tmp_path, model, [torch.randn(512, 20)] * 3, "health")
    assert row["train-dormant-share/0"] == 48 / 64
    assert row["train-dead-share/0"] == 0
    healthy = recorded(
        tmp_path / "healthy",
        nn.Sequential(nn.Linear(20, 64), nn.ReLU()),
        [torch.randn(512, 20)] * 3,
        "health",
    )
    assert abs(row["train-saturation/0"] - healthy["train-saturation/0"]) < 0.1
    assert healthy["train-dormant-share/0"] < 0.1


def test_outputs_of_a_deep_default_network_are_alike_for_all_inputs(tmp_path):
    torch.manual_seed(0)
    layers = [module for _ in range(10) for module in (nn.Linear(64, 64), nn.ReLU())]
    row = recorded(tmp_path, nn.Sequential(*layers), [torch.randn(512, 64)], ["mshare"])
    shares = list(row.values())
    assert shares[0] < 0.1
    assert shares[7] > 0.99
    assert shares == sorted(shares)


def test_outputs_that_are_not_finite_give_nan(tmp_path):
    batch = torch.randn(50, 6)
    batch[3] = math.nan
    row = recorded(tmp_path, nn.Linear(6, 9), [batch], "all")
    kept = {"ceiling", "samples"}
    assert all(math.isnan(value) or name.stat in kept for name, value in row.items())


# --- evaluation and training ---------------------------------------------------------------------


def test_statistics_of_batch_norm_that_lag_behind_show_in_the_ratio(tmp_path):
    torch.manual_seed(0)
    blocks = [
        module
        for _ in range(4)
        for module in (nn.Linear(32, 32), nn.BatchNorm1d(32, momentum=1e-4), nn.ReLU())
    ]
    model = nn.Sequential(*blocks)
    batches = [torch.randn(256, 32) * 0.1 for _ in range(10)]
    row = recorded(tmp_path, model, batches, ["lsat", "evratio", "trc"], modes=("train", "eval"))
    ratios = [row[f"eval-eval-train-variance/{layer}"] for layer in ("0", "3", "6", "9")]
    assert ratios[0] == pytest.approx(1)
    assert ratios[1] < 1 / 3
    assert ratios == sorted(ratios, reverse=True)
    expected = row["eval-covariance-trace/3"] / row["train-covariance-trace/3"]
    assert ratios[1] == pytest.approx(expected)
    assert not [name for name in row if name.startswith("train-eval-train")]


def test_without_training_in_the_row_there_is_no_ratio(tmp_path):
    batches = [torch.randn(64, 4)]
    assert not recorded(tmp_path, nn.Linear(4, 4), batches, ["evratio"], modes=("eval",))


# --- the ceiling ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(16, 64), (512, 16), 0.25),
        (nn.Linear(64, 16), (512, 64), 1.0),
        (nn.Conv2d(3, 36, 1), (64, 3, 4, 4), 3 / 36),  # a patch embedding is alike
        (nn.Conv2d(64, 128, 1, stride=2), (64, 64, 6, 6), 0.5),
        (nn.Conv2d(8, 32, 3, groups=8, padding=1), (64, 8, 6, 6), 1.0),
        (nn.Conv2d(8, 128, 3, groups=8, padding=1), (64, 8, 6, 6), 72 / 128),
        (nn.Conv1d(2, 30, 3), (64, 2, 12), 6 / 30),
        (nn.ConvTranspose2d(4, 40, 1), (64, 4, 5, 5), 4 / 40),
    ],
)
def test_the_ceiling_is_the_rank_that_noise_reaches(tmp_path, layer, shape, expected):
    torch.manual_seed(0)
    batches = [torch.randn(shape) for _ in range(12)]
    row = recorded(tmp_path, layer, batches, ["ceiling", "lsat_rel", "lsat"], sat_threshold=1)
    values = {name.stat: value for name, value in row.items()}
    assert values["ceiling"] == pytest.approx(expected)
    with torch.no_grad():
        y = torch.cat([layer(batch) for batch in batches])
    rows = y.flatten(2).transpose(1, 2).reshape(-1, y.shape[1]) if y.dim() > 2 else y
    rank = torch.linalg.matrix_rank(rows.double() - rows.double().mean(dim=0), rtol=1e-6)
    assert rank / rows.shape[1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("layer", "batch", "arguments"),
    [
        (nn.LSTM(4, 8, batch_first=True), torch.randn(9, 5, 4), {}),
        (nn.Conv2d(1, 8, 1), torch.randn(9, 1, 4, 4), {"conv_method": "max"}),
        (nn.Conv2d(1, 8, 1), torch.randn(9, 1, 4, 4), {"conv_method": "flatten"}),
    ],
)
def test_a_layer_whose_weight_does_not_bound_it_has_none(tmp_path, layer, batch, arguments):
    assert not recorded(tmp_path, layer, [batch], ["ceiling", "lsat_rel"], **arguments)


def test_what_exceeds_0_by_less_than_float32_can_tell_is_not_dormant(tmp_path):
    layer = nn.Linear(2, 2, bias=False).double()
    nn.init.eye_(layer.weight)
    batch = torch.tensor([[1e-60, -1.0], [1e-61, -2.0]], dtype=torch.float64)
    (value,) = recorded(tmp_path, layer, [batch], ["dormant"], layerwise_sat=False).values()
    assert value == 0.5


# --- halves --------------------------------------------------------------------------------------


def spectra(features):
    ranks = np.arange(1, features + 1.0)
    return {
        "power .5": ranks**-0.5,
        "power 1": ranks**-1,
        "power 2": ranks**-2,
        "exponential": np.exp(-ranks / (features / 8)),
        "slow exponential": np.exp(-ranks / (features / 4)),
        "power .75": ranks**-0.75,
    }


@pytest.mark.parametrize("name", spectra(2))
@pytest.mark.parametrize(("times", "within"), [(1, 0.13), (2, 0.10), (3, 0.04)])
def test_saturation_is_extrapolated(name, times, within):
    features = 256
    variances = spectra(features)[name]
    explained = np.cumsum(variances) / variances.sum()
    truth = (int(np.argmax(explained >= 0.99)) + 1) / features
    found, plain = [], []
    for seed in range(3):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=(times * features, features)) * np.sqrt(variances)
        batches = np.array_split(x, 8)
        half = covariance_of(*batches[::2])
        spectrum = LayerSpectrum(covariance_of(*batches), company=Company(half=half))
        found.append(extrapolated_saturation(spectrum, 0.99))
        plain.append(saturation(spectrum, 0.99))
    assert np.mean(found) == pytest.approx(truth, rel=within)
    assert abs(np.mean(found) - truth) <= abs(np.mean(plain) - truth) + 0.5 / features


def test_where_few_directions_stand_out_from_a_flat_rest_it_stays_low():
    """What is lacking falls slower than by the number of samples: better, and not right."""
    variances = np.where(np.arange(256) < 64, 1.0, 0.02)
    explained = np.cumsum(variances) / variances.sum()
    truth = (int(np.argmax(explained >= 0.99)) + 1) / 256
    x = np.random.default_rng(0).normal(size=(256, 256)) * np.sqrt(variances)
    batches = np.array_split(x, 8)
    company = Company(half=covariance_of(*batches[::2]))
    spectrum = LayerSpectrum(covariance_of(*batches), company=company)
    found, plain = extrapolated_saturation(spectrum, 0.99), saturation(spectrum, 0.99)
    assert plain < 0.65 * truth
    assert plain < found < 0.85 * truth


def test_the_halves_are_every_second_batch_and_the_others(tmp_path):
    torch.manual_seed(0)
    layer = nn.Linear(40, 40)
    batches = [torch.randn(8, 40) * torch.linspace(1, 0.1, 40) for _ in range(11)]
    row = recorded(tmp_path, layer, batches, ["lsat", "lsat2", "error"])
    values = {name.stat: value for name, value in row.items()}

    def dimensions(some):
        y = layer(torch.cat(some)).detach().double().numpy()
        eigenvalues = np.linalg.eigvalsh(np.cov(y, rowvar=False, bias=True))[::-1]
        return int(np.argmax(np.cumsum(eigenvalues) >= 0.99 * eigenvalues.sum())) + 1

    whole = dimensions(batches) / 40
    half = (dimensions(batches[::2]) + dimensions(batches[1::2])) / 80
    assert values["saturation"] == whole
    assert values["saturation-error"] == pytest.approx(abs(whole - half))
    assert values["extrapolated-saturation"] == pytest.approx(min(2 * whole - half, 1))


def test_one_batch_has_no_halves(tmp_path):
    row = recorded(tmp_path, nn.Linear(4, 4), [torch.randn(64, 4)], ["lsat", "lsat2", "error"])
    assert {name.stat for name in row} == {"saturation"}


def test_the_error_of_samples_without_number_is_none():
    spectrum = LayerSpectrum(covariance_of(torch.randn(50, 4)))
    assert saturation_error(spectrum, 0.99) is None


# --- sequences -----------------------------------------------------------------------------------


def test_the_variance_within_sequences_is_numpys_without_padding(tmp_path):
    torch.manual_seed(0)
    layer = nn.Linear(6, 9)
    real = torch.ones(16, 7, dtype=torch.bool)
    real[3, 4:] = real[9, 1:] = False
    batches = [torch.randn(16, 7, 6) + 2 * torch.randn(16, 1, 6) for _ in range(3)]
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, layer, stats=["token_var"]) as tracker:
        for batch in batches:
            with tracker.mask(real):
                layer(torch.where(real[..., None], batch, 1e6))
        tracker.add_saturations()
    (found,) = writer.rows[0].values()
    within, tokens = 0.0, []
    for batch in batches:
        for sequence, kept in zip(layer(batch).detach().double(), real, strict=True):
            y = sequence[kept].numpy()
            tokens.append(y)
            within += ((y - y.mean(axis=0)) ** 2).sum()
    every = np.concatenate(tokens)
    total = ((every - every.mean(axis=0)) ** 2).sum()
    assert found == pytest.approx(within / total, rel=1e-5)


def test_tokens_that_become_alike_over_depth_show(tmp_path):
    """Attention without residuals and norms makes the tokens of a sequence the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), *(Mixing(16) for _ in range(8))).double()
    x = torch.randn(64, 10, 16, dtype=torch.float64)
    row = recorded(tmp_path, model, [x], ["token_var", "lsat"])
    shares = [value for name, value in row.items() if name.stat == "within-sequence-share"]
    assert shares[0] > 0.5
    assert shares[-1] < 1e-10
    falling = [share for share in shares if share > 1e-25]  # what is below is rounding
    assert falling == sorted(falling, reverse=True)


def test_time_first_recurrent_layers_are_taken_by_sequences(tmp_path):
    torch.manual_seed(0)
    layer = nn.GRU(4, 5)
    x = torch.randn(11, 3, 4)
    (found,) = recorded(tmp_path, layer, [x], ["token_var"]).values()
    y = layer(x)[0].detach().double().numpy()  # (time x batch x features)
    within = ((y - y.mean(axis=0)) ** 2).sum()
    assert found == pytest.approx(within / ((y - y.mean(axis=(0, 1))) ** 2).sum(), rel=1e-5)


def test_rows_and_feature_maps_are_no_sequences(tmp_path):
    for number, (layer, x) in enumerate(
        [(nn.Linear(4, 5), torch.randn(9, 4)), (nn.Conv1d(4, 5, 1), torch.randn(9, 4, 6))]
    ):
        assert not recorded(tmp_path / str(number), layer, [x], ["token_var"])


# --- what each costs -----------------------------------------------------------------------------

WITHOUT = ["trc", "mshare", "dead", "dormant", "redo", "evratio", "pr", "ceiling", "n", "token_var"]


@pytest.mark.parametrize("samples", [10, 400])
def test_what_needs_no_spectrum_takes_no_decomposition(tmp_path, monkeypatch, samples):
    taken = []
    for name in ("eigvalsh", "eigh"):
        original = getattr(torch.linalg, name)
        monkeypatch.setattr(
            torch.linalg, name, lambda *a, o=original, **k: taken.append(a) or o(*a, **k)
        )
    batches = [torch.randn(samples, 20)]
    row = recorded(tmp_path / "a", nn.Linear(20, 30), batches, WITHOUT, modes=("train", "eval"))
    assert row
    assert taken == []
    recorded(tmp_path / "b", nn.Linear(20, 30), batches, "health")
    assert len(taken) == 1


def test_saturation_alone_gathers_nothing_beside(tmp_path):
    tracker = SaturationTracker(tmp_path, Recorder(), nn.Linear(4, 4))
    assert tracker.state_dict().keys()
    assert "beside" not in str(tracker.state_dict().keys())
    assert tracker._gathering.beside is None
    tracker.close()


def test_padded_positions_are_counted(tmp_path):
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    x, real = torch.randn(6, 7, 5), torch.arange(7) < torch.tensor([7, 3, 1, 5, 2, 6])[:, None]
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=["masked", "n"]) as tracker:
        for _ in range(2):
            with tracker.mask(real):
                model(x)
        tracker.add_saturations()
        model(x)
        tracker.add_saturations()
    left_out = 2 * (6 * 7 - (7 + 3 + 1 + 5 + 2 + 6))
    assert writer.rows[0]["train-masked-positions/0"] == left_out
    assert writer.rows[0]["train-masked-positions/2"] == left_out
    assert not any("masked" in name for name in writer.rows[1])
