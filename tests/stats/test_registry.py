"""What names of statistics mean, to everyone who asks."""

import json
import logging
import os
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from support.installed import install, largest_share
from support.journals import write_run
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.cli import main
from delve.errors import ArgumentError, WriterConflictError, WriterLoadError
from delve.journal.traces import find_traces
from delve.records import Metric
from delve.stats import (
    eigenvalue_rank,
    find_stat,
    is_stat_name,
    key_of,
    long_name_of,
    split_mode,
)
from delve.stats.built_in import BUILT_IN
from delve.stats.registry import keys, stats_of_key


def show(*arguments):
    result = CliRunner().invoke(main, ["show", *map(str, arguments)])
    return result.exit_code, result.stdout + result.stderr


def record(folder, key):
    """Two epochs of one statistic; the largest of six eigenvalues has some share of them."""
    torch.manual_seed(0)
    writer, model = Recorder(), nn.Linear(6, 8)
    with SaturationTracker(folder, writer, model, stats=[key, "srank"]) as tracker:
        for _ in range(2):
            model.eval()(torch.randn(90, 6))
            tracker.add_saturations()
    return {metric.stat: value for metric, value in writer.rows[1].items()}


# --- what comes with Delve -----------------------------------------------------------------------


@pytest.mark.parametrize("stat", BUILT_IN, ids=lambda stat: stat.name)
def test_each_is_found_by_its_long_name_and_selected_by_its_key(stat):
    assert find_stat(stat.name) is stat
    assert key_of(stat.name) == stat.key
    assert is_stat_name(stat.name)
    assert stat in stats_of_key(stat.key)
    assert long_name_of(stat.name) == stat.name
    assert stat.key in keys()


@pytest.mark.parametrize(
    ("key", "name"),
    [("lsat", "saturation"), ("erank", "effective-rank"), ("n", "samples"), ("other", "other")],
)
def test_a_key_stands_for_a_long_name(key, name):
    assert long_name_of(key) == name


@pytest.mark.parametrize("name", ["lsat", "nothing", "saturation-2", "spectrum-0", "spectrum-x"])
def test_other_words_are_no_long_names(name):
    assert find_stat(name) is None
    assert not is_stat_name(name)


def test_any_eigenvalue_has_the_name_of_a_statistic_and_a_place_in_the_spectrum():
    assert [eigenvalue_rank(name) for name in ("spectrum-1", "spectrum-17")] == [1, 17]
    assert is_stat_name("spectrum-17")
    assert eigenvalue_rank("spectrum") is None
    assert eigenvalue_rank("spectrum-1-2") is None


def test_a_mode_stands_behind_a_name():
    assert split_mode("lsat_eval") == ("lsat", "eval")
    assert split_mode("largest_share_train") == ("largest_share", "train")
    assert split_mode("largest_share") == ("largest_share", None)


LAZY = """
import sys
import delve, delve.cli, delve.stats
import torch
from delve.stats import find_stat, is_stat_name, key_of, long_name_of
from delve.stats.registry import keys
assert is_stat_name("saturation") and find_stat("effective-rank") and is_stat_name("spectrum-9")
assert long_name_of("lsat") == "saturation" and key_of("saturation") == "lsat"
assert "explosive" in keys() and key_of("explosive-share") == "explosive-share"
class Quiet:
    def add_scalars(self, value_dict): pass
model = torch.nn.Linear(3, 3)
with delve.SaturationTracker(sys.argv[1], Quiet(), model, stats=["lsat", "idim"]) as tracker:
    model(torch.randn(20, 3))
    tracker.add_scalar("accuracy", 0.5)
    tracker.add_saturations()
assert "explosive" not in sys.modules
"""


def test_what_others_installed_is_not_imported_to_look_up_or_record_what_is_delves(tmp_path):
    site = tmp_path / "site"
    install(site, {"explosive": "explosive:stat"}, {"explosive": "raise SystemExit('imported')"})
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    program = [sys.executable, "-c", LAZY, str(tmp_path / "run")]
    subprocess.run(program, check=True, timeout=120, env={**os.environ, "PYTHONPATH": path})


# --- what others installed -----------------------------------------------------------------------


def test_anyone_can_add_a_statistic_by_an_entry_point(tmp_path, monkeypatch):
    largest_share(tmp_path / "site", monkeypatch, "first_share", "first-share")
    values = record(tmp_path / "run", "first_share_eval")
    assert values["first-share"] == pytest.approx(1 / values["stable-rank"])
    (stat,) = stats_of_key("first_share")
    assert find_stat("first-share") == stat
    assert long_name_of("first_share") == "first-share"
    assert key_of("first-share") == "first_share"


@pytest.mark.parametrize("selected", [True, False])
def test_a_scalar_cannot_have_the_name_of_an_installed_statistic(tmp_path, monkeypatch, selected):
    """Not even where it is called otherwise than its key, and not selected in this run."""
    word = "chosen" if selected else "idle"
    largest_share(tmp_path / "site", monkeypatch, f"{word}_key", f"{word}-and-different")
    stats = ["lsat", *([f"{word}_key"] if selected else [])]
    with SaturationTracker(tmp_path / "run", Recorder(), nn.Linear(2, 2), stats=stats) as tracker:
        with pytest.raises(ArgumentError, match="is taken by Delve itself"):
            tracker.add_scalar(f"train-{word}-and-different/Linear-0", 1.0)
        tracker.add_scalar(f"train-{word}-and-another/Linear-0", 1.0)


def test_a_scalar_of_a_name_like_a_metrics_is_taken_whatever_else_is_broken(
    tmp_path, monkeypatch, caplog
):
    install(tmp_path / "site", {"broken_share": "broken:stat"}, {"broken": "import not_there\n"})
    monkeypatch.syspath_prepend(tmp_path / "site")
    with (
        caplog.at_level(logging.DEBUG, "delve"),
        SaturationTracker(tmp_path / "run", Recorder(), nn.Linear(2, 2)) as tracker,
    ):
        tracker.add_scalar("train-loss/head", 1.0)
        tracker.add_scalar("train-broken-share/head", 1.0)
    assert "passed over" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.parametrize("name", ["shown_share", "shown_share_eval", "shown-share"])
def test_a_run_is_shown_by_the_key_and_by_the_long_name(tmp_path, monkeypatch, name):
    site = largest_share(tmp_path / "site", monkeypatch, "shown_share", "shown-share")
    value = record(tmp_path / "run", "shown_share")["shown-share"]
    code, shown = show(tmp_path / "run", "--stat", name)
    assert code == 0, shown
    assert "shown-share at epoch 1" in shown
    assert f"{value:.4g}" in shown
    (as_json,) = json.loads(show(tmp_path / "run", "--stat", name, "--json")[1])
    assert as_json["stats"][0]["layers"]["Linear-0"]["eval"]["value"] == value
    assert site.is_dir()


def test_a_run_is_shown_by_its_long_name_where_the_statistic_is_not_installed(tmp_path):
    run = write_run(tmp_path / "run", [{"train-foreign-share/fc": 0.25}])
    assert "0.25" in show(run, "--stat", "foreign-share")[1]
    code, told = show(run, "--stat", "foreign_share")
    assert code == 1
    assert "holds no statistic 'foreign_share'; it holds foreign-share" in told


def test_what_a_journal_names_is_shown_also_where_it_cannot_be_imported(tmp_path, monkeypatch):
    source = "raise ImportError('broken')\n"
    install(tmp_path / "site", {"named_share": "named:stat"}, {"named": source})
    monkeypatch.syspath_prepend(tmp_path / "site")
    run = write_run(tmp_path / "run", [{"train-named-share/fc": 0.25}])
    assert "0.25" in show(run, "--stat", "named-share")[1]
    code, told = show(run, "--stat", "named_share")  # which nothing but its code tells
    assert code == 1
    assert "named:stat of the distribution their-stats cannot be imported" in " ".join(told.split())


def test_an_installed_array_is_said_to_be_one(tmp_path, monkeypatch):
    largest_share(tmp_path / "site", monkeypatch, "the_map", "map-of-all", "is_array=True")
    run = write_run(tmp_path / "run", [{"train-saturation/fc": 0.25}])
    for name in ("the_map", "map-of-all"):
        code, told = show(run, "--stat", name)
        assert code == 1
        assert "holds no map-of-all, an array of each layer" in " ".join(told.split())
        assert "stats=['the_map']" in " ".join(told.split())


@pytest.mark.parametrize("bounded", [True, False])
def test_layers_with_few_samples_are_marked_where_the_statistic_is_bounded_by_them(
    tmp_path, monkeypatch, bounded
):
    name = f"{'low' if bounded else 'free'}-share"
    options = f"is_bounded_by_samples={bounded}"
    largest_share(tmp_path / "site", monkeypatch, name.replace("-", "_"), name, options)
    rows = [{f"train-{name}/fc": 0.25}]
    run = write_run(tmp_path / "run", rows, few_samples={"train": ["fc"]})
    shown = show(run, "--stat", name)[1]
    assert (f"so {name.replace('-', ' ')} is biased low, in: fc" in shown) is bounded


def test_files_of_an_installed_statistic_are_traces_of_a_run(tmp_path, monkeypatch):
    largest_share(tmp_path / "site", monkeypatch, "traced_key", "traced-name")
    run = tmp_path / "run"
    (run / "npy" / "train-traced-name" / "fc").mkdir(parents=True)
    (run / "npy" / "train-traced-name" / "fc" / "epoch00003.npy").touch()
    (run / "metrics.csv").write_text("epoch,eval-traced-name/fc\n0,0.5\n")
    assert find_traces(run) == ["metrics.csv", "npy/train-traced-name"]
    (run / "metrics.csv").write_text("epoch,eval-traced-other/fc\n0,0.5\n")
    assert find_traces(run) == ["npy/train-traced-name"]


def test_a_shell_completes_what_is_installed(tmp_path, monkeypatch):
    largest_share(tmp_path / "site", monkeypatch, "completed_share", "completed-share")
    monkeypatch.setenv("_DELVE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "delve show nowhere --stat comp")
    monkeypatch.setenv("COMP_CWORD", "4")
    result = CliRunner().invoke(main, [], prog_name="delve", complete_var="_DELVE_COMPLETE")
    assert result.output.split() == ["plain,completed_share"]


def test_a_statistic_is_selected_by_its_entry_point_whatever_it_calls_itself(tmp_path, monkeypatch):
    source = "from delve.stats import Stat\nstat = Stat('a', 'self-willed', lambda s, t: 1.0)\n"
    install(tmp_path / "site", {"outside": "self_willed:stat"}, {"self_willed": source})
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert record(tmp_path / "run", "outside")["self-willed"] == 1.0
    assert key_of("self-willed") == "outside"


# --- its figures ---------------------------------------------------------------------------------


def test_a_figure_says_what_an_installed_statistic_says_of_itself(tmp_path, monkeypatch):
    figures = pytest.importorskip("delve_plot.figures")
    options = "title='Share of all', label='share (no unit)', limits=(0, 1)"
    largest_share(tmp_path, monkeypatch, "drawn_share", "drawn-share", options)
    values = {Metric("eval", "drawn-share", layer): 0.25 for layer in ("a", "b")}
    figure = figures.saturation_figure(
        values, stat="drawn-share", primary_metric=("accuracy", 0.5), epoch=3
    )
    assert figure.get_suptitle() == "Share of all, eval, epoch 3"
    assert figure.get_supxlabel() == "share (no unit)"
    assert figure.axes[0].get_xlim() == (0, 1)
    assert list(figure.axes[0].lines[-1].get_xdata()) == [0.5, 0.5]  # as beside saturation


@pytest.mark.parametrize(
    ("scale", "smallest", "drawn"),
    [
        ("log", 0.5, "log"),
        ("linear", 1e-9, "linear"),
        ("auto", 0.5, "linear"),
        ("auto", 1e-9, "log"),
    ],
)
def test_an_axis_has_the_scale_that_an_installed_statistic_asks_for(
    tmp_path, monkeypatch, scale, smallest, drawn
):
    figures = pytest.importorskip("delve_plot.figures")
    name = f"{scale}-{drawn}-scaled"
    largest_share(tmp_path, monkeypatch, f"{scale}_{drawn}", name, f"scale={scale!r}")
    values = {Metric("eval", name, "a"): 1.0, Metric("eval", name, "b"): smallest}
    assert figures.saturation_figure(values, stat=name).axes[0].get_xscale() == drawn


def test_a_table_is_read_by_the_key_of_an_installed_statistic(tmp_path, monkeypatch):
    delve_plot = pytest.importorskip("delve_plot")
    pandas = pytest.importorskip("pandas")
    largest_share(tmp_path, monkeypatch, "tabled_key", "tabled-name")
    table = pandas.DataFrame({"epoch": [0], "train-tabled-name/fc": [3.0]})
    row, _ = delve_plot.extract_layer_stat(table, 0, stat="tabled_key")
    assert row.to_dict("list") == {"train-tabled-name/fc": [3.0]}
    table.to_csv(tmp_path / "metrics.csv", index=False)
    axes = delve_plot.plot_stat_level_from_results(tmp_path / "metrics.csv", 0, "tabled_key_train")
    assert list(axes.lines[0].get_ydata()) == [3.0]


# --- what cannot be used -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["saturation", "spectrum-9", "samples"])
def test_a_long_name_of_delves_own_is_refused(tmp_path, monkeypatch, name):
    source = f"from delve.stats import Stat\nstat = Stat('x', {name!r}, lambda s, t: 1.0)\n"
    module = f"thief_of_{name.replace('-', '_')}"
    install(tmp_path / "site", {"thief": f"{module}:stat"}, {module: source})
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ArgumentError, match=f"has the long name '{name}', which is one of Delve's"):
        stats_of_key("thief")
    assert find_stat("thief") is None


def test_what_is_no_statistic_is_refused(tmp_path, monkeypatch):
    install(tmp_path / "site", {"text": "text_stat:stat"}, {"text_stat": "stat = 'text'\n"})
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(
        ArgumentError, match=r"'text' of the group delve.stats is not a delve.stats"
    ):
        stats_of_key("text")
    assert find_stat("text") is None


def test_what_cannot_be_imported_is_named_where_it_is_selected(tmp_path, monkeypatch):
    install(tmp_path / "site", {"torn": "torn_stat:stat"}, {"torn_stat": "import not_there\n"})
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(
        WriterLoadError, match="statistic 'torn': torn_stat:stat of the distribution"
    ):
        stats_of_key("torn")
    assert find_stat("torn") is None


def test_two_distributions_that_offer_one_key_are_named(tmp_path, monkeypatch):
    for owner in ("one", "two"):
        folder = tmp_path / owner
        install(folder, {"both": f"of_{owner}:stat"}, {f"of_{owner}": ""}, f"stats-{owner}")
        monkeypatch.syspath_prepend(folder)
    with pytest.raises(WriterConflictError, match=r"stats-one .* and stats-two"):
        stats_of_key("both")
    assert find_stat("both") is None


def test_a_key_of_delves_own_stays_delves(tmp_path, monkeypatch):
    largest_share(tmp_path, monkeypatch, "lsat", "usurper")
    assert [stat.name for stat in stats_of_key("lsat")] == ["saturation"]
