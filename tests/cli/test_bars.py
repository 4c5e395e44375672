"""A statistic of every layer as bars."""

from dataclasses import replace

import pytest
from support.journals import saturations, write_run
from support.terminal import plain_lines

from delve.cli import bars
from delve.cli.bars import merge_orders
from delve.cli.choice import Choice
from delve.cli.facts import facts, names_that_fit
from delve.cli.report import layer_table
from delve.journal.stored_run import read_run


def tables(folder, *runs, stats=("saturation",), few_samples=None):
    """The tables of runs of one epoch, or of several where a list of rows is given."""
    recorded = [
        read_run(write_run(folder / str(n), rows if isinstance(rows, list) else [rows]))
        for n, rows in enumerate(runs)
    ]
    if few_samples:
        recorded = [with_few_samples(run, few_samples) for run in recorded]
    return [[layer_table(run, Choice(stat)) for stat in stats] for run in recorded]


def layer_bars(names, runs, width):
    return plain_lines(bars.layer_bars(names, runs, width), width)


def with_few_samples(run, few_samples):
    """The run, whose layers of these modes saw fewer samples than they have features."""
    *earlier, last = run.records
    return replace(run, records=(*earlier, replace(last, few_samples=few_samples)))


def test_a_bar_is_as_long_as_its_share(tmp_path):
    (table,) = tables(tmp_path, saturations({"a": 0.0, "b": 0.25, "c": 0.999, "d": 1.0}))
    lines = layer_bars(["run"], [table], 80)[3:]
    bars = [line.split()[1] for line in lines]
    assert len(set(map(len, bars))) == 1
    shares = [bar.count("█") / len(bar) for bar in bars]
    assert shares == pytest.approx([0, 0.25, 1, 1], abs=0.5 / len(bars[0]))


@pytest.mark.parametrize("runs", [1, 2, 3, 7])
@pytest.mark.parametrize("width", [30, 40, 80, 160, 300])
def test_no_line_is_wider_than_the_terminal_and_every_value_is_there(tmp_path, runs, width):
    row = saturations({f"encoder.layers.{n}.attention.out_proj": n / 16 for n in range(1, 17)})
    shown = tables(tmp_path, *[row] * runs)
    lines = layer_bars([f"run-{n}" for n in range(runs)], shown, width)
    assert max(map(len, lines)) <= width
    assert " ".join(lines).count("62.5%") == 2 * runs


def test_changes_go_before_bars_where_there_is_no_room(tmp_path):
    rows = [saturations({"layer": 0.5})] * 2
    shown = tables(tmp_path, rows, rows)
    texts = ["\n".join(layer_bars(["a", "b"], shown, width)) for width in (120, 70, 42)]
    assert [("+0.0" in text, "█" in text) for text in texts] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    assert ["change" in text for text in texts] == [True, False, False]


def test_at_the_first_epoch_there_are_no_changes(tmp_path):
    row = saturations({"layer": 0.5})
    shown = tables(tmp_path, [row], [row, row])
    first, *_ = (layer_bars(["a"], [one], 120) for one in shown)
    assert "change" not in first[0]
    assert "+0.0" not in " ".join(first)
    both = " ".join(layer_bars(["a", "b"], shown, 160))
    assert both.count("+0.0") == 2  # of the run that has gone on


def test_runs_at_different_epochs_have_their_epochs_above_them(tmp_path):
    row = saturations({"layer": 0.5})
    shown = tables(tmp_path, [row] * 3, [row])
    title, _, names, epochs, modes, _ = layer_bars(["a", "b"], shown, 120)
    assert title.startswith("saturation at each run's last epoch (")
    assert (names.split(), modes.split()) == (["a", "b"], ["train", "eval"] * 2)
    assert [names.index(x) for x in "ab"] == [epochs.index(f"epoch {n}") for n in (2, 0)]


EIGENVALUES = {
    f"{mode}-spectrum-{rank}/{layer}": 10.0**-rank
    for layer in ("first", "second")
    for mode in ("train", "eval")
    for rank in range(1, 6)
}


@pytest.mark.parametrize(("width", "blocks"), [(160, 1), (60, 2)])
def test_eigenvalues_stand_in_one_table(tmp_path, width, blocks):
    shown = tables(tmp_path, EIGENVALUES, stats=[f"spectrum-{rank}" for rank in range(1, 6)])
    lines = layer_bars(["run"], shown, width)
    assert lines[0] == "spectrum, the 5 largest eigenvalues at epoch 0"
    assert max(map(len, lines)) <= width
    ranks = [line.split() for line in lines if line.split()[:1] == ["1"]]
    assert ranks == [["1", "2", "3", "4", "5"] * (2 // blocks)] * blocks
    (first, *_) = (line.split() for line in lines if line.startswith("first"))
    assert first[1:6] == ["0.1", "0.01", "0.001", "0.0001", "1e-05"]
    assert "█" not in "".join(lines)


@pytest.mark.parametrize("width", range(20, 80, 3))
def test_the_columns_of_a_run_stay_together(tmp_path, width):
    shown = tables(tmp_path, *[saturations({"layer": 0.5})] * 3)
    lines = [line.split() for line in layer_bars(["a", "b", "c"], shown, width)]
    modes = [line for line in lines if "train" in line or "eval" in line]
    assert sum(map(len, modes)) == 6
    assert all(line == ["train", "eval"] * (len(line) // 2) for line in modes)


def test_values_that_are_not_finite_have_no_bar(tmp_path):
    (table,) = tables(tmp_path, saturations({"a": float("nan"), "b": 0.5}))
    nan, half = layer_bars(["run"], [table], 80)[3:]
    assert nan.split() == ["a", "nan", "nan"]
    assert "█" in half


def test_a_name_above_spans_the_columns_of_its_run(tmp_path):
    shown = tables(tmp_path, *[saturations({"a": 0.5})] * 2)
    *_, names, modes, _ = layer_bars(["first", "second"], shown, 80)
    assert names.split() == ["first", "second"]
    assert modes.split() == ["train", "eval"] * 2
    assert names.index("second") == modes.index("train", modes.index("eval"))


def test_orders_are_merged_without_losing_either():
    assert merge_orders([["a", "c"], ["a", "b", "c", "d"]]) == ["a", "b", "c", "d"]
    assert merge_orders([["b", "c"], ["a", "b"]]) == ["a", "b", "c"]
    assert merge_orders([["x", "y"], ["a", "b"]]) == ["x", "y", "a", "b"]


def test_a_long_name_of_a_run_is_shortened_in_one_way(tmp_path):
    row = saturations({"a": 0.5})
    long = [f"training-of-a-large-model-{letter}" for letter in "abc"]
    short = names_that_fit(long, 80)
    assert len(set(short)) == 3
    recorded = [read_run(write_run(tmp_path / n, [row])) for n in long]
    lines = plain_lines(facts(recorded, short, [], 80), 80)
    drawn = layer_bars(short, tables(tmp_path, *[row] * 3), 80)
    for name in short:
        assert name in lines[0]
        assert name in "".join(drawn)


def test_two_runs_look_like_this(tmp_path):
    values = {"encoder.conv": 0.5, "encoder.层": 0.25, "encoder.fc": 1.0}
    before = {layer: value / 2 for layer, value in values.items()}
    shown = tables(tmp_path, [saturations(before), saturations(values)], saturations(before))
    assert layer_bars(["first", "second"], shown, 64) == [
        "saturation in encoder at each run's last epoch",
        "",
        "      first                         second",
        "      epoch 1                       epoch 0",
        "      train          eval           train          eval",
        "conv  ███░░░  50.0%  ███░░░  50.0%  ██░░░░  25.0%  ██░░░░  25.0%",
        "层    ██░░░░  25.0%  ██░░░░  25.0%  █░░░░░  12.5%  █░░░░░  12.5%",
        "fc    ██████ 100.0%  ██████ 100.0%  ███░░░  50.0%  ███░░░  50.0%",
    ]


def test_eigenvalues_look_like_this(tmp_path):
    shown = tables(tmp_path, EIGENVALUES, stats=[f"spectrum-{rank}" for rank in range(1, 6)])
    assert layer_bars(["run"], shown, 60) == [
        "spectrum, the 5 largest eigenvalues at epoch 0",
        "",
        "        train",
        "             1       2       3       4       5",
        "first      0.1    0.01   0.001  0.0001   1e-05",
        "second     0.1    0.01   0.001  0.0001   1e-05",
        "",
        "        eval",
        "             1       2       3       4       5",
        "first      0.1    0.01   0.001  0.0001   1e-05",
        "second     0.1    0.01   0.001  0.0001   1e-05",
    ]
