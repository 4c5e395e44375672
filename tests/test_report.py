import json
import math

import pytest
from support.journals import saturations, write_run

from delve.cli.report import as_json, choose_stats, layer_table
from delve.cli.scalars import summarise_scalars
from delve.errors import ArgumentError
from delve.recorded_run import read_run


def run(folder, *rows, **options):
    return read_run(write_run(folder, rows, **options))


def test_the_best_value_of_a_loss_is_its_lowest_and_of_other_scalars_the_highest(tmp_path):
    rows = [
        {"val_loss": 0.5, "accuracy": 0.7},
        {"val_loss": 0.2, "accuracy": 0.9},
        {"val_loss": 0.3, "accuracy": 0.8},
    ]
    loss, accuracy = summarise_scalars(run(tmp_path, *rows))
    assert (loss.last, loss.best, loss.best_epoch, loss.lowest) == (0.3, 0.2, 1, True)
    assert (accuracy.last, accuracy.best, accuracy.best_epoch) == (0.8, 0.9, 1)


def test_a_best_value_is_finite_and_the_first_of_equals_and_may_come_rarely(tmp_path):
    rows = [{"loss": math.nan, "rare": 2.0}, {"loss": 1.0}, {"loss": 1.0}, {"loss": math.inf}]
    loss, rare = summarise_scalars(run(tmp_path, *rows))
    assert (loss.last, loss.best, loss.best_epoch) == (math.inf, 1.0, 1)
    assert (rare.last, rare.best_epoch) == (2.0, 0)
    (never,) = summarise_scalars(run(tmp_path / "nan", {"loss": math.nan}))
    assert never.best is None


def test_a_change_is_counted_from_the_first_epoch_that_has_the_layer(tmp_path):
    rows = [saturations({"a": 0.5}), saturations({"a": 0.25, "b": 1.0}), saturations({"b": 0.5})]
    table = layer_table(run(tmp_path, *rows), "saturation", 1)
    assert table.layers == ("a", "b")
    assert (table.cells["train"]["a"].value, table.cells["train"]["a"].change) == (0.25, -0.25)
    assert table.cells["eval"]["b"].change == 0


def test_the_last_epoch_that_holds_the_statistic_is_shown(tmp_path):
    # close() saves a final test accuracy as one more epoch, which has no layers
    rows = [saturations({"a": 0.5}), saturations({"a": 0.25}), {"test accuracy": 0.9}]
    assert layer_table(run(tmp_path, *rows), "saturation").epoch == 1


def test_layers_stand_in_forward_order(tmp_path):
    recorded = run(tmp_path, saturations({"b": 0.5, "a": 0.5}), layers=["a", "b", "unused"])
    assert layer_table(recorded, "saturation").layers == ("a", "b")


def test_an_epoch_that_is_not_there_is_an_error_that_says_which_are(tmp_path):
    recorded = run(tmp_path, saturations({"a": 0.5}), saturations({"a": 0.5}))
    with pytest.raises(ArgumentError, match=r"no saturation of epoch 7; it does of epochs 0-1"):
        layer_table(recorded, "saturation", 7)


def test_statistics_are_chosen_by_either_name_and_saturation_by_default(tmp_path):
    row = {"train-intrinsic-dimensionality/a": 2.0, **saturations({"a": 0.5})}
    recorded = run(tmp_path, row | {"train-spectrum-1/a": 3.0, "train-spectrum-2/a": 1.0})
    assert choose_stats(recorded, []) == ["saturation"]
    assert choose_stats(recorded, ["idim", "saturation", "lsat"]) == [
        "intrinsic-dimensionality",
        "saturation",
    ]
    assert choose_stats(recorded, ["spectrum"]) == ["spectrum-1", "spectrum-2"]
    with pytest.raises(ArgumentError, match=r"no statistic 'det'; it holds intrinsic-dim"):
        choose_stats(recorded, ["det"])


def test_without_saturation_the_first_statistic_is_shown(tmp_path):
    assert choose_stats(run(tmp_path, {"train-stable-rank/a": 2.0}), []) == ["stable-rank"]
    assert choose_stats(run(tmp_path / "none", {"loss": 2.0}), []) == []


def with_samples(samples, *shares):
    return [{"train-saturation/a": share, "train-samples/a": samples} for share in shares]


@pytest.mark.parametrize(("samples", "few"), [(63.0, ("a",)), (64.0, ())])
def test_features_are_inferred_from_the_saturations_to_tell_where_samples_are_few(
    tmp_path, samples, few
):
    shares = (32 / 64, 48 / 64, 9 / 64)  # 1/2, 3/4 and 9/64 in lowest terms
    recorded = run(tmp_path, *with_samples(samples, *shares))
    assert layer_table(recorded, "saturation").few_samples == few


def test_features_are_inferred_from_all_epochs_together(tmp_path):
    recorded = run(tmp_path, *with_samples(11.0, 4 / 12, 3 / 12))  # 1/3 and 1/4
    assert layer_table(recorded, "saturation").few_samples == ("a",)


def test_features_are_inferred_from_any_share_of_up_to_thousands(tmp_path):
    for features in (3, 10, 127, 768, 4096):
        shares = [k / features for k in (1, features // 2, features - 1, features)]
        for samples, few in ((features - 1, ("a",)), (features, ())):
            recorded = run(tmp_path / f"{features}-{samples}", *with_samples(samples, *shares))
            assert layer_table(recorded, "saturation").few_samples == few


def test_without_the_number_of_samples_or_with_values_that_are_no_shares_nothing_is_said(tmp_path):
    recorded = run(tmp_path / "a", saturations({"a": 1 / 64}))
    assert layer_table(recorded, "saturation").few_samples == ()
    odd = run(tmp_path / "b", *with_samples(10.0, 0.123456789, 0.987654321, math.nan))
    assert layer_table(odd, "saturation", 0).few_samples == ()


def test_json_holds_no_number_that_is_not_finite(tmp_path):
    rows = [{"loss": math.nan, **saturations({"a": 0.5})}, saturations({"a": math.nan})]
    recorded = run(tmp_path, *rows, config={"lr": 0.1})
    report = as_json(recorded, [layer_table(recorded, "saturation")])
    text = json.dumps(report, allow_nan=False)
    assert json.loads(text)["stats"][0]["layers"]["a"]["eval"] == {"value": None, "change": None}
    assert report["scalars"]["loss"]["best"] is None
    assert (report["epochs"], report["config"]) == ([0, 1], {"lr": 0.1})
