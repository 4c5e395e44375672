import pytest
from support.journals import saturations, write_run

from delve.cli.bars import layer_bars, merge_orders, notes, shorten
from delve.cli.facts import facts, run_names
from delve.cli.report import layer_table
from delve.journal import Journal
from delve.recorded_run import read_run


def tables(folder, *rows):
    return [
        layer_table(read_run(write_run(folder / str(n), [row])), "saturation")
        for n, row in enumerate(rows)
    ]


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
    shown = tables(tmp_path, *[saturations({"layer": 0.5})] * 2)
    texts = ["\n".join(layer_bars(["a", "b"], shown, width)) for width in (120, 70, 42)]
    assert [("+0.0" in text, "█" in text) for text in texts] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    assert ["change" in text for text in texts] == [True, False, False]


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


def test_tail_and_few_samples_are_marked_and_explained_with_the_source(tmp_path):
    values = dict(zip("abcdef", (32 / 64, 0.5, 0.5, 3 / 64, 3 / 64, 0.9), strict=True))
    row = saturations(values) | {"train-samples/c": 63.0, "train-samples/d": 63.0}
    row["train-saturation/c"] = 33 / 64
    (table,) = tables(tmp_path, row)
    marks = {line[0]: line[1:] for line in layer_bars(["run"], [table], 80)[3:]}
    assert [name for name, line in marks.items() if "~" in line] == ["d", "e"]
    assert [name for name, line in marks.items() if "!" in line] == ["c", "d"]
    text = " ".join(" ".join(notes(["run"], [table], 80)).split())
    assert "~ tail: the saturation of d to e (2 layers) is below half" in text
    assert "a hint" in text
    assert "did not always drop" in text
    assert "arXiv 2006.08679" in text
    assert "! fewer samples than features, so saturation is biased low, in: c, d." in text
    assert notes(["run"], tables(tmp_path / "b", saturations({"a": 0.5})), 80) == []


def test_orders_are_merged_without_losing_either():
    assert merge_orders([["a", "c"], ["a", "b", "c", "d"]]) == ["a", "b", "c", "d"]
    assert merge_orders([["b", "c"], ["a", "b"]]) == ["a", "b", "c"]
    assert merge_orders([["x", "y"], ["a", "b"]]) == ["x", "y", "a", "b"]


def test_a_long_name_keeps_its_end():
    assert shorten("layer1.0.conv1", 14) == "layer1.0.conv1"
    assert shorten("layer1.0.conv1", 9) == "….0.conv1"
    short = shorten("transformer.encoder.layers.11.linear1", 24)
    assert (len(short), short[:6], short[-13:]) == (24, "transf", "rs.11.linear1")


def test_facts_tell_epochs_resumes_configuration_and_scalars_of_each_run(tmp_path):
    config = {"lr": 0.1, "model": {"name": "mlp"}}
    one = write_run(tmp_path / "a", [{"loss": 2.0}, {"loss": 1.0}], config=config)
    Journal.resume(one, 1).close()
    other = write_run(tmp_path / "b", [{"accuracy": 0.5}], config={"lr": 0.2})
    lines = facts([read_run(one), read_run(other)], 80)
    rows = {line[:22].strip(): line[22:].split("  ") for line in lines}
    cells = {name: [cell.strip() for cell in row if cell.strip()] for name, row in rows.items()}
    assert cells["epochs"] == ["1 (0)", "1 (0)"]
    assert cells["resumed"] == ["at epoch 1", "never"]
    assert cells["lr"] == ["0.1", "0.2"]
    assert cells["model.name"] == ["mlp"]
    assert cells["loss"] == ["2 (min 2 at 0)"]
    assert cells["accuracy"] == ["0.5 (max 0.5 at 0)"]
    assert max(map(len, lines)) <= 80


def test_runs_are_named_by_as_many_folders_as_tell_them_apart(tmp_path):
    runs = [read_run(write_run(tmp_path / name, [{"x": 1.0}])) for name in ("a/run", "b/run", "c")]
    assert run_names(runs) == ["a/run", "b/run", f"{tmp_path.name}/c"]
    assert run_names(runs[:1]) == ["run"]
    assert run_names([runs[0], runs[0]]) == ["run", "run"]
