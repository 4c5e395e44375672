"""The runs that a command is given."""

import pytest
from support.journals import saturations, write_run

from delve.cli.report import as_json
from delve.cli.runs import counted, find_damage, read_recorded, run_names, runs_below
from delve.errors import ArgumentError, JournalError
from delve.journal.journal import Journal
from delve.journal.stored_run import read_run
from delve.records import EpochRecord


def run(folder, *rows, **options):
    return read_run(write_run(folder, rows, **options))


def damage(folder, *lines):
    """Change a letter in the middle of these lines of the journal."""
    path = folder / "journal.jsonl"
    held = path.read_bytes().splitlines(keepends=True)
    for line in lines:
        middle = len(held[line - 1]) // 2
        held[line - 1] = held[line - 1][:middle] + b"\x7f" + held[line - 1][middle + 1 :]
    path.write_bytes(b"".join(held))


def test_damaged_lines_are_told_of_with_the_epochs_that_they_lost(tmp_path):
    rows = [saturations({"a": 0.5})] * 6
    assert (str(find_damage(run(tmp_path, *rows))), find_damage(read_recorded(tmp_path)).lines) == (
        "",
        (),
    )
    damage(tmp_path, 3, 4, 6)  # the header is line 1, epoch 0 is line 2
    found = find_damage(read_recorded(tmp_path))
    assert (found.lines, found.missing) == ((3, 4, 6), ((1, 2), (4, 4)))
    assert str(found) == "journal lines 3-4, 6; missing: epochs 1-2, 4"
    report = as_json(read_recorded(tmp_path), [], found)
    assert (report["damaged_lines"], report["missing_epochs"]) == ([3, 4, 6], [[1, 2], [4, 4]])


def test_damage_without_a_gap_and_a_gap_without_damage(tmp_path):
    recorded = run(tmp_path, {"loss": 1.0}, {"loss": 0.5})
    damage(tmp_path, 3)  # that there was another epoch is not known
    assert str(find_damage(read_recorded(tmp_path))) == "journal line 3"
    journal = Journal.resume(recorded.folder, 4)
    journal.write_epoch(EpochRecord(4, 0, {"loss": 0.1}, {}), ())
    journal.close()
    assert str(find_damage(read_recorded(tmp_path))) == "journal line 3; missing: epochs 1-3"
    damage(run(tmp_path / "whole", {"loss": 1.0}).folder)
    assert find_damage(read_recorded(tmp_path / "whole")).missing == ()


def test_for_a_folder_of_runs_these_are_named(tmp_path):
    runs = [write_run(tmp_path / name, [{"loss": 1.0}]) for name in ("a", "b", "more/c")]
    with pytest.raises(ArgumentError) as caught:
        read_recorded(tmp_path)
    assert f"{tmp_path} is no run itself" in str(caught.value)
    assert str(caught.value).endswith(", ".join(map(str, runs)))
    for number in range(4):
        write_run(tmp_path / f"d{number}", [])
    with pytest.raises(ArgumentError, match=r"d2 and 2 more$"):
        read_recorded(tmp_path)


def test_a_folder_without_runs_is_no_run(tmp_path):
    with pytest.raises(JournalError, match="no journal"):
        read_recorded(tmp_path)


def test_runs_are_named_by_as_many_folders_as_tell_them_apart(tmp_path):
    runs = [
        read_recorded(write_run(tmp_path / name, [{"x": 1.0}])) for name in ("a/run", "b/run", "c")
    ]
    assert run_names(runs) == ["a/run", "b/run", f"{tmp_path.name}/c"]
    assert run_names(runs[:1]) == ["run"]
    assert run_names([runs[0], runs[0]]) == ["run", "run"]


def test_the_runs_in_folders_are_named_in_natural_order_and_apart(tmp_path):
    for name in ("a/16", "a/256", "a/64", "b/16", "c"):
        write_run(tmp_path / name, [{"x": 1.0}])
    a, b, c = (tmp_path / name for name in "abc")
    assert list(runs_below([a]).items()) == [(a / n, n) for n in ("16", "64", "256")]
    assert list(runs_below([a, b, c]).values()) == [f"{a}/16", "64", "256", f"{b}/16", f"{c}"]
    assert runs_below([c, a / "16"]) == {}
    assert runs_below([tmp_path / "nowhere"]) == {}


def test_numbers_are_counted_in_words():
    assert [counted("epoch", text) for text in ("2", "0-2", "1, 3")] == [
        "epoch 2",
        "epochs 0-2",
        "epochs 1, 3",
    ]
