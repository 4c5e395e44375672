"""What the marks beside the values say."""

from dataclasses import replace

import pytest
from support.journals import saturations, write_run
from support.terminal import plain_lines

from delve.cli import bars
from delve.cli.choice import Choice
from delve.cli.notes import notes
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


def with_few_samples(run, few_samples):
    """The run, whose layers of these modes saw fewer samples than they have features."""
    *earlier, last = run.records
    return replace(run, records=(*earlier, replace(last, few_samples=few_samples)))


def layer_bars(names, runs, width):
    return plain_lines(bars.layer_bars(names, runs, width), width)


@pytest.fixture
def marked():
    """A row with a tail, d and e."""
    values = dict(zip("abcdef", (0.5, 0.5, 0.5, 0.05, 0.05, 0.9), strict=True))
    return saturations(values) | {"train-covariance-trace/d": 1.0}


FEW = {"train": ["c", "d"], "eval": ["f"]}  # d counts in evaluation


def joined(lines):
    return " ".join(" ".join(lines).split())


def test_tail_and_few_samples_are_marked_and_explained_with_the_source(tmp_path, marked):
    (table,) = tables(tmp_path, marked, few_samples=FEW)
    marks = {line[0]: line.split("%")[1:] for line in layer_bars(["run"], [table], 80)[3:]}
    assert [name for name, cells in marks.items() if "~" in cells[0]] == ["d", "e"]
    assert [name for name, (train, _) in marks.items() if "!" in train] == ["c", "d"]
    assert [name for name, (_, evaluated) in marks.items() if "!" in evaluated] == ["f"]
    text = joined(plain_lines(notes(["run"], [table]), 80))
    assert "~ tail: the saturation of d to e (2 layers) is below half" in text
    assert "a hint" in text
    assert "did not always drop" in text
    assert "arXiv 2006.08679" in text
    assert "! fewer samples than features, so saturation is biased low, in: c, d, f." in text
    assert plain_lines(notes(["run"], tables(tmp_path / "b", saturations({"a": 0.5}))), 80) == []


def test_the_notes_speak_of_the_statistics_shown_and_come_once(tmp_path, marked):
    row = marked | {"train-effective-rank/d": 1.5}
    stats = ["saturation", "effective-rank", "covariance-trace"]
    (both,) = tables(tmp_path / "a", row, stats=stats, few_samples=FEW)
    text = joined(plain_lines(notes(["run"], [both]), 80))
    assert "so saturation and effective rank are biased low, in: c, d, f." in text
    assert text.count("!") == text.count("~") == 1
    (trace,) = tables(tmp_path / "b", row, stats=["covariance-trace"], few_samples=FEW)
    assert plain_lines(notes(["run"], [trace]), 80) == []  # is not biased by few samples
    assert "!" not in joined(layer_bars(["run"], [trace], 80))


def test_the_notes_on_several_runs_name_them(tmp_path, marked):
    shown = tables(tmp_path, marked, saturations({"a": 0.5}), marked, few_samples=FEW)
    text = joined(plain_lines(notes(["one", "two", "three"], shown), 80))
    assert "of d to e (2 layers of one), d to e (2 layers of three) is below half" in text
    assert "in: c, d, f (one); c, d, f (three)." in text
    assert text.count("a hint") == 1


def test_the_note_on_a_tail_passes_over_a_layer_that_is_not_finite(tmp_path):
    low = {"d": 0.1, "e": float("nan"), "f": 0.1, "g": 0.05, "h": 0.9}
    (table,) = tables(tmp_path, saturations(dict.fromkeys("abc", 0.8) | low))
    text = joined(plain_lines(notes(["run"], [table]), 80))
    assert "the saturation of d and f to g (3 layers) is" in text


def test_layers_of_too_few_samples_are_no_tail(tmp_path, marked):
    """They are low for that alone; an untrained network of 100 samples was marked so."""
    few = {"train": ["d", "e"], "eval": ["d", "e"]}
    (table,) = tables(tmp_path, marked, few_samples=few)
    assert all(not one.tail for one in table)


def test_dimensionalities_tell_of_the_tail_where_there_are_any(tmp_path):
    values = dict(zip("abcdefg", (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9), strict=True))
    dimensions = dict(zip("abcdefg", (40, 22, 8, 6, 5, 6, 5), strict=True))
    row = saturations(values) | {
        f"{mode}-intrinsic-dimensionality/{layer}": float(one)
        for mode in ("train", "eval")
        for layer, one in dimensions.items()
    }
    (table,) = tables(tmp_path, row)
    assert table[0].tail == ("c", "d", "e", "f")
    text = joined(plain_lines(notes(["run"], [table]), 80))
    assert "the intrinsic dimensionality of c to f (4 layers) has dropped, to 0.6" in text
    assert "arXiv 2305.19753" in text
