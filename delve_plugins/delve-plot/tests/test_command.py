"""``delve plot`` as a person or a script uses it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from plotted_runs import saturations, write_run

from delve.cli import main

ROW = {"loss": 0.25, **saturations({"conv": 0.5, "fc": 1.0})}


@pytest.fixture
def plot(monkeypatch):
    """Call the command in this process."""

    def plot(*arguments):
        monkeypatch.setenv("COLUMNS", "80")
        return CliRunner().invoke(main, ["plot", *map(str, arguments)])

    return plot


def test_it_prints_the_files_that_it_draws(plot, tmp_path):
    run, out = write_run(tmp_path / "run", [ROW, ROW]), tmp_path / "figures"
    one = plot(run, "--out", out).stdout.splitlines()
    both = plot(run, run, "--out", out, "--epoch", "0").stdout.splitlines()
    assert sorted([*one, *both]) == sorted(map(str, out.iterdir()))
    assert (len(one), len(both)) == (3, 1)
    assert both[0].startswith(str(out / "run-run-"))
    assert both[0].endswith("-saturation.png")


def test_a_run_without_anything_to_draw_is_an_error(plot, tmp_path):
    for rows, what in (([], "epoch"), ([{"loss": 1.0}], "statistic of a layer")):
        run = write_run(tmp_path / what, rows)
        result = plot(run, "--out", tmp_path / "figures")
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"{run}: the run has recorded no {what}" in result.stderr


def test_damage_of_the_journal_is_told_of_and_the_rest_drawn(plot, tmp_path):
    run = write_run(tmp_path / "run", [ROW, ROW])
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    lines[1] = b"damaged\n"
    (run / "journal.jsonl").write_bytes(b"".join(lines))
    result = plot(run, "--out", tmp_path / "figures")
    assert (result.exit_code, result.stdout.count(".png\n")) == (0, 3)
    assert result.stderr.startswith(f"Warning: {run}: damaged: journal line 2")


@pytest.mark.parametrize("arguments", [["--nonsense"], [], ["run", "--out", __file__]])
def test_a_wrong_call_exits_with_2_and_says_how_to_get_help(plot, arguments):
    result = plot(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


def test_help_imports_no_matplotlib_and_shows_examples():
    program = (
        "import sys; from click.testing import CliRunner; from delve.cli import main;"
        "print(CliRunner().invoke(main, ['plot', '--help']).output, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "\n    delve plot runs/a --stat idim" in done.stdout
    assert done.stdout.endswith("False\n")


@pytest.fixture
def sweep(tmp_path):
    """Twelve runs of four widths and three rates, in folders whose order is not that of letters."""
    for width in (16, 64, 256, 1024):
        for rate in (0.1, 0.01, 0.001):
            values = saturations({"conv": 8 / width, "fc": rate})
            folder = tmp_path / "sweep" / f"width-{width}" / f"lr{rate}"
            write_run(folder, [values], config={"width": width, "lr": rate})
    return tmp_path / "sweep"


def test_a_folder_stands_for_the_runs_in_it(plot, sweep, tmp_path, monkeypatch):
    from delve_plot import loaded

    drawn = []

    def remembering(tables, names, configs, **options):
        drawn.append((names, [table.cells["eval"]["conv"].value for table in tables], options))
        return comparison_figure(tables, names, configs, **options)

    comparison_figure = loaded.comparison_figure
    monkeypatch.setattr(loaded, "comparison_figure", remembering)
    result = plot(sweep, "--out", tmp_path / "figures", "--by", "width")
    assert (result.exit_code, result.stderr) == (0, "")
    (path,) = result.stdout.splitlines()
    assert re.fullmatch(r"sweep-12-runs-[0-9a-f]{6}-saturation-by-width\.png", Path(path).name)
    assert Path(path).is_file()
    ((names, values, options),) = drawn
    assert names[:4] == ["…16/lr0.001", "…16/lr0.01", "…16/lr0.1", "…64/lr0.001"]
    assert values == [8 / width for width in (16, 64, 256, 1024) for _ in range(3)]
    assert options == {"by": "width", "subtitle": "12 runs in sweep, called width-…"}


def test_runs_of_a_folder_that_have_nothing_to_draw_are_left_out_and_named(plot, sweep, tmp_path):
    write_run(sweep / "a-begun", [])
    (sweep / "broken").mkdir()
    (sweep / "broken" / "journal.jsonl").write_text("nothing\n")
    result = plot(sweep, "--out", tmp_path / "figures")
    assert result.exit_code == 0
    assert "sweep-12-runs-" in result.stdout
    assert "Warning: left out: " in result.stderr
    assert str(sweep / "a-begun") in result.stderr.replace("\n", "")
    assert str(sweep / "broken") in result.stderr.replace("\n", "")
    assert plot(sweep / "a-begun", sweep / "width-16", "--out", tmp_path).exit_code == 0


def test_a_folder_of_runs_that_are_all_empty_is_an_error(plot, tmp_path):
    for name in "ab":
        write_run(tmp_path / "sweep" / name, [])
    result = plot(tmp_path / "sweep", "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "recorded no epoch" in result.stderr


def test_what_the_runs_cannot_be_drawn_by_is_an_error_that_says_what_can(plot, sweep, tmp_path):
    many = plot(sweep, "--by", "depth", "--out", tmp_path)
    assert many.exit_code == 1
    assert "the runs differ in: width, lr" in " ".join(many.stderr.split())
    one = plot(sweep / "width-16" / "lr0.1", "--by", "width", "--out", tmp_path)
    assert one.exit_code == 1
    assert "one run is drawn by layer or type, not by 'width'" in " ".join(one.stderr.split())
    assert not list(tmp_path.glob("*.png"))
