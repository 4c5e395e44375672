"""Which statistics of a run are looked at."""

import re

import pytest
from support.journals import saturations, write_run

from delve.cli.choice import Choice, choose_stats, shown_together
from delve.cli.report import layer_table
from delve.errors import ArgumentError
from delve.journal.stored_run import read_run

SATURATION = Choice("saturation")


def run(folder, *rows, **options):
    return read_run(write_run(folder, rows, **options))


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


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_arrays_are_found_where_another_program_had_the_folder_of_that_name(tmp_path, mode):
    recorded = run(tmp_path, saturations({"a": 0.5}))
    (tmp_path / "npy").mkdir()  # another program's
    place = tmp_path / "npy-delve" / f"{mode}-covariance-matrix"
    place.mkdir(parents=True)
    (tmp_path / "npy-delve" / "checksums.jsonl").touch()
    with pytest.raises(ArgumentError, match=f"which lies in {re.escape(str(place))}; delve recom"):
        choose_stats(recorded, [f"cov_{mode}"])
