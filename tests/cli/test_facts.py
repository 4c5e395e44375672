"""What was recorded of runs, a column for each."""

import re

import pytest
from support.journals import write_run
from support.terminal import plain_lines

from delve.cli.facts import facts, names_that_fit
from delve.cli.runs import Damage, run_names
from delve.journal.journal import Journal
from delve.journal.stored_run import read_run


def joined(lines):
    return " ".join(" ".join(lines).split())


def shown_facts(width, *runs, damages=None):
    recorded = [read_run(run) for run in runs]
    names = names_that_fit(run_names(recorded), width)
    return plain_lines(
        facts(recorded, names, damages or [Damage((), ())] * len(runs), width), width
    )


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
