"""What ``delve repair`` says."""

import pytest
from support.journals import write_run

ROWS = [{"loss": 1.0, "train-saturation/fc": 0.5 + epoch / 8} for epoch in range(3)]


@pytest.fixture
def run(tmp_path, delve):
    """A run whose table is whole, and whose journal has lost an epoch."""
    pytest.importorskip("delve_csv")
    run = write_run(tmp_path / "run", ROWS)
    assert delve("export", run, "--to", "csv").exit_code == 0
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    lines[2] = b"lost\n"
    (run / "journal.jsonl").write_bytes(b"".join(lines))
    return run


def test_what_was_found_and_done_is_told(delve, run):
    result = delve("repair", run)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{run}/journal.jsonl: epochs 0, 2 of its own",
        "csv: holds epochs 0-2; took epoch 1",
        f"{run}/journal.jsonl written anew: epochs 0-2",
        f"the damaged one is kept as {run}/journal.1.jsonl",
        "nothing tells the times of epoch 1; they are guessed",
        "what writers remember is kept: csv",
        "go on with initial_epoch='auto', which is 3",
    ]
    assert delve("repair", run).stdout == (
        f"{run}/journal.jsonl is whole and knows all that was found: epochs 0-2\n"
    )


def test_a_writer_that_is_not_installed_is_named_by_the_option(delve, run):
    result = delve("repair", run, "--from", "nonsense")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("Error: --from: no writer 'nonsense' is installed")
