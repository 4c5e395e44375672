"""A statistic of a recorded run's layers, and the run for programs."""

import json
import math
from dataclasses import replace

import pytest
from support.journals import saturations, write_run

from delve.cli.choice import Choice
from delve.cli.report import as_json, layer_table
from delve.cli.runs import Damage, find_damage, read_recorded
from delve.errors import ArgumentError
from delve.journal.journal import Journal
from delve.journal.stored_run import read_run

SATURATION = Choice("saturation")


def run(folder, *rows, **options):
    return read_run(write_run(folder, rows, **options))


def test_a_change_is_counted_from_the_first_epoch_that_has_the_layer(tmp_path):
    rows = [saturations({"a": 0.5}), saturations({"a": 0.25, "b": 1.0}), saturations({"b": 0.5})]
    table = layer_table(run(tmp_path, *rows), SATURATION, 1)
    assert table.layers == ("a", "b")
    assert (table.cells["train"]["a"].value, table.cells["train"]["a"].change) == (0.25, -0.25)
    assert table.cells["eval"]["b"].change == 0


def test_a_change_is_counted_from_the_first_value_that_is_finite(tmp_path):
    rows = [saturations({"a": value}) for value in (math.nan, 0.25, math.inf, 0.75)]
    recorded = run(tmp_path, *rows)
    changes = [layer_table(recorded, SATURATION, n).cells["eval"]["a"].change for n in (1, 3)]
    assert changes == [0, 0.5]
    assert math.isnan(layer_table(recorded, SATURATION, 0).cells["eval"]["a"].change)


def test_the_last_epoch_that_holds_the_statistic_is_shown(tmp_path):
    # close() saves a final test accuracy as one more epoch, which has no layers
    rows = [saturations({"a": 0.5}), saturations({"a": 0.25}), {"test accuracy": 0.9}]
    assert layer_table(run(tmp_path, *rows), SATURATION).epoch == 1


def test_layers_stand_in_forward_order(tmp_path):
    recorded = run(tmp_path, saturations({"b": 0.5, "a": 0.5}), layers=["a", "b", "unused"])
    assert layer_table(recorded, SATURATION).layers == ("a", "b")


def test_an_epoch_that_is_not_there_is_an_error_that_says_which_are(tmp_path):
    recorded = run(tmp_path, saturations({"a": 0.5}), saturations({"a": 0.5}))
    with pytest.raises(ArgumentError, match=r"no saturation of epoch 7; it does of epochs 0-1"):
        layer_table(recorded, SATURATION, 7)


def test_nothing_can_have_changed_at_the_first_epoch_that_holds_the_statistic(tmp_path):
    recorded = run(tmp_path, {"loss": 1.0}, saturations({"a": 0.5}), saturations({"a": 0.25}))
    assert [layer_table(recorded, SATURATION, epoch).is_first for epoch in (1, 2)] == [True, False]


def test_the_layers_that_saw_few_samples_are_known_for_each_mode(tmp_path):
    recorded = run(tmp_path, saturations({"a": 0.5, "b": 0.5}))
    journal = Journal.reopen(tmp_path)
    few = {"train": ["b", "gone"], "eval": ["a", "b"]}
    journal.write_epoch(replace(recorded.records[0], epoch=1, few_samples=few), recorded.layers)
    journal.close()
    earlier, later = (layer_table(read_recorded(tmp_path), SATURATION, epoch) for epoch in (0, 1))
    assert earlier.few_samples == {"train": (), "eval": ()}
    assert later.few_samples == {"train": ("b",), "eval": ("a", "b")}
    (told,) = as_json(read_recorded(tmp_path), [later], Damage((), ()))["stats"]
    assert told["few_samples"] == {"train": ["b"], "eval": ["a", "b"]}


def test_json_holds_no_number_that_is_not_finite(tmp_path):
    rows = [{"loss": math.nan, **saturations({"a": 0.5})}, saturations({"a": math.nan})]
    recorded = run(tmp_path, *rows, config={"lr": 0.1})
    report = as_json(recorded, [layer_table(recorded, SATURATION)], find_damage(recorded))
    text = json.dumps(report, allow_nan=False)
    assert json.loads(text)["stats"][0]["layers"]["a"]["eval"] == {"value": None, "change": None}
    assert report["scalars"]["loss"]["best"] is None
    assert (report["epochs"], report["config"]) == ([0, 1], {"lr": 0.1})
