"""Journals that were recorded once read the same for ever: what they hold, and what is shown."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from support.golden_journals import (
    BEFALLEN,
    RECIPES,
    reading,
    record,
    what_is_exported,
    what_is_shown,
)
from torch import nn

from delve import SaturationTracker

# Where the core is tested alone, its own.
WRITER = "csv" if importlib.util.find_spec("delve_csv") else "print"
GOLDEN = Path(__file__).parent / "golden"
ALL = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
BEHEADED = "beheaded"  # of such a journal nothing is shown before it is mended
WITH_HEADER = [name for name in ALL if name != BEHEADED]


@pytest.fixture
def run(request, tmp_path, monkeypatch):
    """A copy of a golden run, in the working directory."""
    monkeypatch.chdir(tmp_path)
    golden = GOLDEN / request.param
    (tmp_path / "run").mkdir()
    for path in golden.glob("journal*.jsonl"):
        shutil.copy(path, tmp_path / "run")
    return tmp_path / "run"


def name_of(request):
    return request.node.callspec.params["run"]


@pytest.mark.parametrize("run", ALL, indirect=True)
def test_it_is_read_as_it_ever_was(run, request):
    golden = GOLDEN / name_of(request)
    assert reading(run) == json.loads((golden / "reading.json").read_text(encoding="utf-8"))
    for path in run.iterdir():
        assert path.read_bytes() == (golden / path.name).read_bytes(), "reading changes nothing"


@pytest.mark.parametrize("run", WITH_HEADER, indirect=True)
def test_the_same_is_shown_and_exported(run, request):
    golden = GOLDEN / name_of(request)
    shown = json.loads(what_is_shown(run))
    # What the versions that recorded these did not tell.
    assert shown[0].pop("notes") == []
    widths = shown[0].get("features", {}).values()
    assert shown[0].pop("bytes", {"held": 0})["held"] == sum(18 * width**2 for width in widths)
    told = json.dumps(shown, indent=2) + "\n"
    assert told == (golden / "show.json").read_text(encoding="utf-8")
    pytest.importorskip("delve_csv")
    assert what_is_exported(run) == (golden / "metrics.csv").read_bytes()


@pytest.mark.parametrize("run", ALL, indirect=True)
def test_a_run_goes_on_from_it(run, request):
    """Nothing that was recorded is lost or changed, and what is recorded now comes to it."""
    before = reading(run)
    first = before.get("goes on at", 8)
    content = (run / "journal.jsonl").read_bytes()[: before["bytes that are whole"]]
    epochs = before.get("epochs")
    with SaturationTracker(
        run, WRITER, nn.Linear(3, 2), initial_epoch="auto" if epochs is not None else first
    ) as tracker:
        assert tracker.epoch == first
        tracker.add_scalar("loss", 0.125)
        tracker.save(step=10**12 + 1 if name_of(request) == "by-steps" else None)
    after = reading(run)
    assert after["held epochs"] == [*before["held epochs"], first]
    assert after["resumed at"] == [*before["resumed at"], first]
    assert (after["who it is"], after["when it began"]) == (
        before["who it is"],
        before["when it began"],
    )
    assert after["hyperparameters"] == before["hyperparameters"]
    assert after["epochs"][-1]["of the user"] == {"loss": 0.125}
    if epochs is not None:
        assert after["epochs"][:-1] == epochs
        assert (run / "journal.jsonl").read_bytes().startswith(content)


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_run_is_written_as_it_ever_was(name, tmp_path):
    """A key that the writer and the reader of a line changed at once would be told here."""
    record(name, tmp_path / "run")
    for path in (GOLDEN / name).glob("journal*.jsonl"):
        assert (tmp_path / "run" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", BEFALLEN)
def test_what_befell_a_journal_is_told_by_its_recipe(name):
    of, befall = BEFALLEN[name]
    content = (GOLDEN / of / "journal.jsonl").read_bytes()
    assert befall(content) == (GOLDEN / name / "journal.jsonl").read_bytes()


def test_each_golden_run_has_its_expectations_and_says_where_it_is_from():
    readme = (GOLDEN / "README.md").read_text(encoding="utf-8")
    for name in ALL:
        assert f"`{name}`" in readme
        held = {path.name for path in (GOLDEN / name).iterdir()} - {"journal.1.jsonl"}
        shown = set() if name == BEHEADED else {"show.json", "metrics.csv"}
        assert held == {"journal.jsonl", "reading.json"} | shown
    assert set(ALL) >= {*RECIPES, *BEFALLEN}
