"""``delve plot`` as a person or a script uses it."""

import subprocess
import sys

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
