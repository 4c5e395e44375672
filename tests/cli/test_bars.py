import re
from dataclasses import replace

import pytest
from support.journals import saturations, write_run
from support.terminal import plain_lines

from delve.cli import bars
from delve.cli.bars import merge_orders
from delve.cli.choice import Choice
from delve.cli.facts import facts, names_that_fit
from delve.cli.labels import layer_labels, shorten
from delve.cli.notes import notes
from delve.cli.report import layer_table
from delve.cli.runs import Damage, run_names
from delve.journal.journal import Journal
from delve.journal.recorded_run import read_run


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


@pytest.fixture
def marked():
    """A row with a tail, d and e."""
    values = dict(zip("abcdef", (0.5, 0.5, 0.5, 0.05, 0.05, 0.9), strict=True))
    return saturations(values) | {"train-covariance-trace/d": 1.0}


FEW = {"train": ["c", "d"], "eval": ["d"]}


def joined(lines):
    return " ".join(" ".join(lines).split())


def test_tail_and_few_samples_are_marked_and_explained_with_the_source(tmp_path, marked):
    (table,) = tables(tmp_path, marked, few_samples=FEW)
    marks = {line[0]: line.split("%")[1:] for line in layer_bars(["run"], [table], 80)[3:]}
    assert [name for name, cells in marks.items() if "~" in cells[0]] == ["d", "e"]
    assert [name for name, (train, _) in marks.items() if "!" in train] == ["c", "d"]
    assert [name for name, (_, evaluated) in marks.items() if "!" in evaluated] == ["d"]
    text = joined(plain_lines(notes(["run"], [table]), 80))
    assert "~ tail: the saturation of d to e (2 layers) is below half" in text
    assert "a hint" in text
    assert "did not always drop" in text
    assert "arXiv 2006.08679" in text
    assert "! fewer samples than features, so saturation is biased low, in: c, d." in text
    assert plain_lines(notes(["run"], tables(tmp_path / "b", saturations({"a": 0.5}))), 80) == []


def test_the_notes_speak_of_the_statistics_shown_and_come_once(tmp_path, marked):
    row = marked | {"train-effective-rank/d": 1.5}
    stats = ["saturation", "effective-rank", "covariance-trace"]
    (both,) = tables(tmp_path / "a", row, stats=stats, few_samples=FEW)
    text = joined(plain_lines(notes(["run"], [both]), 80))
    assert "so saturation and effective rank are biased low, in: c, d." in text
    assert text.count("!") == text.count("~") == 1
    (trace,) = tables(tmp_path / "b", row, stats=["covariance-trace"], few_samples=FEW)
    assert plain_lines(notes(["run"], [trace]), 80) == []  # is not biased by few samples
    assert "!" not in joined(layer_bars(["run"], [trace], 80))


def test_the_notes_on_several_runs_name_them(tmp_path, marked):
    shown = tables(tmp_path, marked, saturations({"a": 0.5}), marked, few_samples=FEW)
    text = joined(plain_lines(notes(["one", "two", "three"], shown), 80))
    assert "of d to e (2 layers of one), d to e (2 layers of three) is below half" in text
    assert "in: c, d (one); c, d (three)." in text
    assert text.count("a hint") == 1


def test_the_note_on_a_tail_passes_over_a_layer_that_is_not_finite(tmp_path):
    low = {"d": 0.1, "e": float("nan"), "f": 0.1, "g": 0.05, "h": 0.9}
    (table,) = tables(tmp_path, saturations(dict.fromkeys("abc", 0.8) | low))
    text = joined(plain_lines(notes(["run"], [table]), 80))
    assert "the saturation of d and f to g (3 layers) is" in text


def test_orders_are_merged_without_losing_either():
    assert merge_orders([["a", "c"], ["a", "b", "c", "d"]]) == ["a", "b", "c", "d"]
    assert merge_orders([["b", "c"], ["a", "b"]]) == ["a", "b", "c"]
    assert merge_orders([["x", "y"], ["a", "b"]]) == ["x", "y", "a", "b"]


def test_a_long_name_keeps_its_end():
    assert shorten("layer1.0.conv1", 14) == "layer1.0.conv1"
    assert shorten("layer1.0.conv1", 9) == "….0.conv1"
    short = shorten("transformer.encoder.layers.11.linear1", 24)
    assert (len(short), short[:6], short[-13:]) == (24, "transf", "rs.11.linear1")


def shown_facts(width, *runs, damages=None):
    recorded = [read_run(run) for run in runs]
    names = names_that_fit(run_names(recorded), width)
    return plain_lines(
        facts(recorded, names, damages or [Damage((), ())] * len(runs), width), width
    )


def test_layers_that_would_look_the_same_get_more_room():
    names = [f"layer{stage}.0.downsample.0" for stage in (1, 2)]
    assert layer_labels(["conv1", *names], 50) == [
        f"{'conv1':<17}",
        "…1.0.downsample.0",
        "…2.0.downsample.0",
    ]
    assert layer_labels(names[:1], 50) == ["…0.downsample.0"]


def test_nested_names_that_half_the_terminal_does_not_tell_apart_keep_their_numbers():
    end = "depthwise_separable_convolution"
    names = [
        f"backbone_feature_extractor.stage_{stage}_residual_group.{block}.{end}.{layer}"
        for stage in range(9, 12)
        for block in range(4)
        for layer in (0, 2)
    ]
    labels = layer_labels(["stem", *names, "head"], 80)
    assert labels[0].rstrip() == "stem"
    assert len(set(labels)) == len(names) + 2
    assert {len(label) for label in labels} <= set(range(41))
    for name, label in zip(names, labels[1:-1], strict=True):
        stage, block, layer = re.findall("[0-9]+", name)
        assert re.findall("[0-9]+", label) == [stage, block, layer]


def test_modules_that_differ_at_their_ends_keep_these():
    block = "encoder_of_the_transformer.{}.feed_forward_projection_{}.activation_function"
    names = [block.format(n, way) for n in range(12) for way in ("in", "out")]
    labels = layer_labels(names, 60)
    assert len(set(labels)) == len(names)
    assert ["_in." in label for label in labels] == [True, False] * 12


def test_at_worst_a_number_tells_names_apart():
    endless = ["a" * 100, "a" * 101]
    assert layer_labels(endless, 50) == [f"{n} …{'a' * 12}" for n in (1, 2)]


def test_facts_tell_epochs_resumes_configuration_and_scalars_of_each_run(tmp_path):
    config = {"lr": 0.1, "model": {"name": "mlp"}}
    one = write_run(tmp_path / "a", [{"loss": 2.0}, {"loss": 1.0}], config=config)
    Journal.resume(one, 1).close()
    other = write_run(tmp_path / "b", [{"accuracy": 0.5}], config={"lr": 0.2})
    lines = shown_facts(80, one, other)
    cells = {
        line[:14].strip(): [cell.strip() for cell in line[14:].split("  ") if cell.strip()]
        for line in lines
    }
    assert cells["epochs"] == ["1 (0)", "1 (0)"]
    assert cells["resumed"] == ["at epoch 1", "never"]
    assert cells["lr"] == ["0.1", "0.2"]
    assert cells["model.name"] == ["mlp"]
    assert cells["loss"] == ["2 (min 2 at 0)"]
    assert cells["accuracy"] == ["0.5 (max 0.5 at 0)"]
    assert max(map(len, lines)) <= 80


def test_damage_has_a_row_where_there_is_any(tmp_path):
    runs = [write_run(tmp_path / name, [{"loss": 2.0}]) for name in "ab"]
    damages = [Damage((3,), ((1, 1),)), Damage((), ())]
    (row,) = (line for line in shown_facts(80, *runs, damages=damages) if "damaged" in line)
    assert re.split(" {2,}", row) == ["damaged", "journal line 3; missing: epoch 1", "no"]


@pytest.mark.parametrize("width", [50, 80])
def test_the_best_value_moves_below_where_it_does_not_fit_beside(tmp_path, width):
    rows = [{"accuracy": 0.15625}, {"accuracy": 0.109375}]
    lines = shown_facts(width, *(write_run(tmp_path / name, rows) for name in ("a", "b", "c")))
    assert max(map(len, lines)) <= width
    text = joined(lines)
    assert text.count("0.1094") == 3
    assert "…" not in text
    assert "last (best at epoch)" in lines
    assert text.count("0.1562") == 3
    if width == 80:
        assert lines[-1].split("  ")[-1] == "max 0.1562 at 0"


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
