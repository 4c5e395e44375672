"""What several commands take, and what a shell offers to complete it."""

import importlib.util

import numpy as np
import pytest
from click.testing import CliRunner
from support.journals import saturations, write_run

from delve.cli import main

ROW = {"loss": 0.25, **saturations({"conv": 0.5, "fc": 1.0})}


def test_a_shell_can_complete_it(monkeypatch):
    monkeypatch.setenv("_DELVE_COMPLETE", "bash_source")
    result = CliRunner().invoke(main, [], prog_name="delve", complete_var="_DELVE_COMPLETE")
    assert "complete -o nosort -F _delve_completion delve" in result.output


@pytest.fixture
def completed(monkeypatch):
    """What a shell offers for the last word of a line."""

    def completed(line):
        monkeypatch.setenv("_DELVE_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - (not line.endswith(" "))))
        result = CliRunner().invoke(main, [], prog_name="delve", complete_var="_DELVE_COMPLETE")
        return result.output.split()

    return completed


def test_a_shell_completes_the_names_of_writers(completed):
    if importlib.util.find_spec("delve_csv"):
        assert completed("delve repair runs/a --from cs") == ["plain,csv"]
    assert completed("delve export runs/a --to pr") == ["plain,print"]


def test_a_shell_completes_the_statistics_of_the_run(completed, tmp_path):
    run = write_run(tmp_path, [{"train-stable-rank/fc": 1.0, **ROW}])
    assert completed(f"delve show {run} --stat ") == ["plain,srank", "plain,lsat"]
    assert completed(f"delve show {run} --stat lsat_") == ["plain,lsat_train", "plain,lsat_eval"]
    assert "plain,erank" in completed("delve show nowhere --stat er")


def test_a_shell_completes_the_statistics_for_a_figure(completed, tmp_path):
    pytest.importorskip("delve_plot")
    run = write_run(tmp_path, [{"train-stable-rank/fc": 1.0, **ROW}])
    assert completed(f"delve plot {run} --stat lsat_") == ["plain,lsat_train", "plain,lsat_eval"]


@pytest.mark.parametrize("command", ["show", "plot", "export", "recompute", "repair"])
def test_a_shell_completes_a_run_as_a_folder(completed, command):
    assert completed(f"delve {command} ru") == ["dir,ru"]


def write_run_with_covariance(folder):
    place = write_run(folder, [ROW]) / "npy" / "train-covariance-matrix" / "fc"
    place.mkdir(parents=True)
    np.save(place / "epoch00000.npy", np.eye(2))


@pytest.mark.parametrize("command", ["plot", "table", "run"])
def test_a_home_is_found_where_the_shell_has_not(tmp_path, monkeypatch, command):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_run_with_covariance(tmp_path / "run")
    arguments = {
        "plot": ["plot", "run", "--out=~/figures"],
        "table": ["recompute", "run", "--threshold", "0.9", "--csv=~/t.csv"],
        "run": ["show", "~/run"],
    }
    if command == "plot":
        pytest.importorskip("delve_plot")
    result = CliRunner().invoke(main, arguments[command])
    assert result.exit_code == 0, result.output
    made = {"plot": "figures", "table": "t.csv", "run": "run"}
    assert (tmp_path / made[command]).exists()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["plot", "run", "--out", "s3://bucket/figures"],
        ["recompute", "run", "--threshold", "0.9", "--csv", "gs://bucket/t.csv"],
        ["show", "s3://bucket/run"],
        ["export", "hdfs://host/run", "--to", "print"],
        ["plot", "run", "--out", "C:\\figures"],
    ],
)
def test_an_address_is_refused(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    write_run_with_covariance(tmp_path / "run")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "address of a store" in result.stderr or "path of Windows" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
