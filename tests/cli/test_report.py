import json
import math
from dataclasses import replace

import pytest
from support.journals import saturations, write_run

from delve.cli.choice import Choice, choose_stats, shown_together
from delve.cli.report import as_json, layer_table
from delve.cli.runs import Damage, counted, find_damage, read_recorded, run_names
from delve.cli.scalars import summarise_scalars
from delve.errors import ArgumentError, JournalError
from delve.journal.journal import Journal
from delve.journal.recorded_run import read_run
from delve.records import EpochRecord

SATURATION = Choice("saturation")


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


def names_of(choices):
    return [choice.stat for choice in choices]


def test_statistics_are_chosen_by_either_name_and_saturation_by_default(tmp_path):
    row = {"train-intrinsic-dimensionality/a": 2.0, **saturations({"a": 0.5})}
    recorded = run(tmp_path, row | {"train-spectrum-1/a": 3.0, "train-spectrum-2/a": 1.0})
    assert choose_stats(recorded, []) == [SATURATION]
    assert names_of(choose_stats(recorded, ["idim", "saturation", "lsat"])) == [
        "intrinsic-dimensionality",
        "saturation",
    ]
    assert names_of(choose_stats(recorded, ["spectrum"])) == ["spectrum-1", "spectrum-2"]
    with pytest.raises(ArgumentError, match="no statistic 'det'") as caught:
        choose_stats(recorded, ["det"])
    assert str(caught.value).endswith(
        "it holds idim (intrinsic-dimensionality), lsat (saturation), "
        "spectrum (spectrum-1 to spectrum-2)"
    )


def test_a_suffix_chooses_one_mode(tmp_path):
    row = {"train-stable-rank/a": 2.0, **saturations({"a": 0.5})}
    recorded = run(tmp_path, row, saturations({"a": 0.25}, modes=["train"]))
    assert choose_stats(recorded, ["lsat_train", "saturation_eval"]) == [SATURATION]
    (evaluation,) = choose_stats(recorded, ["lsat_eval"])
    assert evaluation == Choice("saturation", ("eval",))
    table = layer_table(recorded, evaluation)
    assert (table.epoch, list(table.cells)) == (0, ["eval"])
    with pytest.raises(ArgumentError, match="no statistic 'srank_eval'"):
        choose_stats(recorded, ["srank_eval"])


def test_without_saturation_the_first_statistic_is_shown(tmp_path):
    assert names_of(choose_stats(run(tmp_path, {"train-stable-rank/a": 2.0}), [])) == [
        "stable-rank"
    ]
    assert choose_stats(run(tmp_path / "none", {"loss": 2.0}), []) == []


def test_an_array_is_not_shown_but_where_it_lies_is_said(tmp_path):
    recorded = run(tmp_path, saturations({"a": 0.5}))
    with pytest.raises(ArgumentError, match=r"holds no covariance-matrix, .*stats=\['cov'\]"):
        choose_stats(recorded, ["cov"])
    for mode in ("train", "eval"):
        (tmp_path / "npy" / f"{mode}-covariance-matrix").mkdir(parents=True)
    for name in ("cov", "covariance-matrix"):
        with pytest.raises(ArgumentError, match=f"delve recompute {tmp_path}") as caught:
            choose_stats(recorded, [name])
        for mode in ("train", "eval"):
            assert f"{tmp_path}/npy/{mode}-covariance-matrix" in str(caught.value)
    with pytest.raises(ArgumentError) as caught:
        choose_stats(recorded, ["cov_eval"])
    assert "train-covariance-matrix" not in str(caught.value)


def test_eigenvalues_are_shown_together_and_others_alone(tmp_path):
    row = {"train-spectrum-1/a": 3.0, "train-spectrum-2/a": 1.0, **saturations({"a": 0.5})}
    chosen = choose_stats(run(tmp_path, row), ["spectrum", "lsat"])
    assert {key: names_of(choices) for key, choices in shown_together(chosen).items()} == {
        "spectrum": ["spectrum-1", "spectrum-2"],
        "lsat": ["saturation"],
    }


def test_nothing_can_have_changed_at_the_first_epoch_that_holds_the_statistic(tmp_path):
    recorded = run(tmp_path, {"loss": 1.0}, saturations({"a": 0.5}), saturations({"a": 0.25}))
    assert [layer_table(recorded, SATURATION, epoch).is_first for epoch in (1, 2)] == [True, False]


# The runs


def damage(folder, *lines):
    """Change a letter in the middle of these lines of the journal."""
    path = folder / "journal.jsonl"
    held = path.read_bytes().splitlines(keepends=True)
    for line in lines:
        middle = len(held[line - 1]) // 2
        held[line - 1] = held[line - 1][:middle] + b"\x7f" + held[line - 1][middle + 1 :]
    path.write_bytes(b"".join(held))


def test_damaged_lines_are_told_of_with_the_epochs_that_they_lost(tmp_path):
    rows = [saturations({"a": 0.5})] * 6
    assert (str(find_damage(run(tmp_path, *rows))), find_damage(read_recorded(tmp_path)).lines) == (
        "",
        (),
    )
    damage(tmp_path, 3, 4, 6)  # the header is line 1, epoch 0 is line 2
    found = find_damage(read_recorded(tmp_path))
    assert (found.lines, found.missing) == ((3, 4, 6), ((1, 2), (4, 4)))
    assert str(found) == "journal lines 3-4, 6; missing: epochs 1-2, 4"
    report = as_json(read_recorded(tmp_path), [], found)
    assert (report["damaged_lines"], report["missing_epochs"]) == ([3, 4, 6], [[1, 2], [4, 4]])


def test_damage_without_a_gap_and_a_gap_without_damage(tmp_path):
    recorded = run(tmp_path, {"loss": 1.0}, {"loss": 0.5})
    damage(tmp_path, 3)  # that there was another epoch is not known
    assert str(find_damage(read_recorded(tmp_path))) == "journal line 3"
    journal = Journal.resume(recorded.folder, 4)
    journal.record(EpochRecord(4, 0, {"loss": 0.1}, {}), ())
    journal.close()
    assert str(find_damage(read_recorded(tmp_path))) == "journal line 3; missing: epochs 1-3"
    damage(run(tmp_path / "whole", {"loss": 1.0}).folder)
    assert find_damage(read_recorded(tmp_path / "whole")).missing == ()


def test_for_a_folder_of_runs_these_are_named(tmp_path):
    runs = [write_run(tmp_path / name, [{"loss": 1.0}]) for name in ("a", "b", "more/c")]
    with pytest.raises(ArgumentError) as caught:
        read_recorded(tmp_path)
    assert f"{tmp_path} is no run itself" in str(caught.value)
    assert str(caught.value).endswith(", ".join(map(str, runs)))
    for number in range(4):
        write_run(tmp_path / f"d{number}", [])
    with pytest.raises(ArgumentError, match=r"d2 and 2 more$"):
        read_recorded(tmp_path)


def test_a_folder_without_runs_is_no_run(tmp_path):
    with pytest.raises(JournalError, match="no journal"):
        read_recorded(tmp_path)


def test_runs_are_named_by_as_many_folders_as_tell_them_apart(tmp_path):
    runs = [
        read_recorded(write_run(tmp_path / name, [{"x": 1.0}])) for name in ("a/run", "b/run", "c")
    ]
    assert run_names(runs) == ["a/run", "b/run", f"{tmp_path.name}/c"]
    assert run_names(runs[:1]) == ["run"]
    assert run_names([runs[0], runs[0]]) == ["run", "run"]


def test_numbers_are_counted_in_words():
    assert [counted("epoch", text) for text in ("2", "0-2", "1, 3")] == [
        "epoch 2",
        "epochs 0-2",
        "epochs 1, 3",
    ]


# Where samples are few


def test_the_layers_that_saw_few_samples_are_known_for_each_mode(tmp_path):
    recorded = run(tmp_path, saturations({"a": 0.5, "b": 0.5}))
    journal = Journal.reopen(tmp_path)
    few = {"train": ["b", "gone"], "eval": ["a", "b"]}
    journal.record(replace(recorded.records[0], epoch=1, few_samples=few), recorded.layers)
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
