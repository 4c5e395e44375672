"""The group of all commands: help, and faults told in one line."""

import numpy as np
import pytest
from support.journals import saturations, write_run

ROW = {"loss": 0.25, **saturations({"conv": 0.5, "fc": 1.0})}
COMMANDS = ["export", "plot", "recompute", "repair", "show", "stats", "writers"]


@pytest.mark.parametrize("arguments", [[], *[[command] for command in COMMANDS]])
def test_help_says_what_is_done_and_shows_examples(delve, arguments):
    result = delve(*arguments, "--help")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    title = next(number for number, line in enumerate(lines) if line.startswith("  Example"))
    assert lines[title + 1].startswith(f"    delve {arguments[0] if arguments else 'show'}")
    assert max(map(len, result.output.splitlines())) <= 80


def test_commands_are_listed_in_whole_sentences(delve):
    listed = delve("-h").output.partition("Commands:")[2].split("\n")[1:-1]
    assert [line.split()[0] for line in listed] == COMMANDS
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["show"],
        ["export", "run"],
        ["recompute", "run"],
        ["recompute", "run", "--threshold", "1.5"],
        ["recompute", "run", "--threshold", "0"],
        ["show", "run", "--epoch", "x"],
        ["plot", "--nonsense"],
        ["plot", "run", "--out", __file__],
        ["recompute", "run", "--threshold", "0.9", "--csv", "/"],
    ],
)
def test_a_wrong_call_exits_with_2_and_says_how_to_get_help(delve, arguments):
    result = delve(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["show", "export", "recompute", "plot"])
@pytest.mark.parametrize("place", ["nowhere", "a file", "an empty folder", "no journal"])
def test_a_folder_that_is_no_run_exits_with_1_and_one_line(delve, tmp_path, command, place):
    path = tmp_path / place
    if place == "a file":
        path.write_text("")
    elif place == "an empty folder":
        path.mkdir()
    elif place == "no journal":
        path.mkdir()
        (path / "journal.jsonl").write_text("nothing\n")
    options = {"export": ["--to", "print"], "recompute": ["--threshold", "0.9"]}
    before = sorted(tmp_path.rglob("*"))
    result = delve(command, path, *options.get(command, []))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert str(path) in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def store_covariance(run):
    folder = run / "npy" / "train-covariance-matrix" / "fc"
    folder.mkdir(parents=True)
    np.save(folder / "epoch00000.npy", np.eye(2))


def test_a_file_that_cannot_be_written_exits_with_1_and_one_line(delve, tmp_path):
    run = write_run(tmp_path, [ROW])
    store_covariance(run)
    result = delve("recompute", run, "--threshold", "0.9", "--csv", tmp_path / "no" / "t.csv")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "t.csv cannot be written: there is no folder" in result.stderr


def test_what_the_system_refuses_is_told_of_the_file_that_the_user_named(delve, tmp_path):
    run = write_run(tmp_path / "run", [ROW])
    store_covariance(run)
    (tmp_path / ".t.csv.tmp").mkdir()  # in the way of the file while it is not whole
    result = delve("recompute", run, "--threshold", "0.9", "--csv", tmp_path / "t.csv")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith(f"Error: {tmp_path}/t.csv: ")
    assert "Errno" not in result.stderr
