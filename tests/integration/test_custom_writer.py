"""Somebody else's writers, installed beside the core where nothing but published pieces are."""

import csv
import json
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.fresh_environment import FreshEnvironment
from support.markdown import write_files

from delve.testing import journal_rows

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "custom_writer"
PAGE = ROOT / "delve_plugins" / "README.md"

INSTALLED = """
import importlib, json
from importlib.metadata import distributions
from pathlib import Path

print(json.dumps({
    "writers": {
        entry_point.name: [one.name, importlib.import_module(entry_point.module).__file__]
        for one in distributions()
        for entry_point in one.entry_points
        if entry_point.group == "delve.writers"
    },
    "distributions": [one.name for one in distributions() if one.name.startswith("delve")],
    "path": [str(Path(entry).resolve()) for entry in __import__("sys").path],
}))
"""

# The arguments: folder, save_to as JSON, first epoch, epoch to end in, how to end.
TRAINING = """
import json, os, signal, sys
import torch
from delve import SaturationTracker

folder, save_to, first, last, end = sys.argv[1:]
first, last = int(first), int(last)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class DiesFirst:
    def save(self, epoch):
        if epoch == last and end == "journal holds it and no writer does":
            die()


torch.manual_seed(first)
model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
save_to = [DiesFirst(), *json.loads(save_to)]
with SaturationTracker(folder, save_to, model, initial_epoch=first) as tracker:
    for epoch in range(first, last + 1):
        model.train()(torch.randn(40, 6))
        model.eval()(torch.randn(40, 6))
        tracker.add_scalar("accuracy", epoch / 7)
        tracker.add_scalar("part", first)
        if epoch % 2:
            tracker.add_scalar("rare, 'quoted'", float("nan"))
        if epoch == last and end == "in the middle of it":
            die()
        tracker.add_saturations()
"""


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """The source folders of the two writers, by name: copies, for a build leaves files behind."""
    folder = tmp_path_factory.mktemp("projects")
    leftovers = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    example = shutil.copytree(EXAMPLE, folder / "example", ignore=leftovers)
    write_files(PAGE, folder / "page")
    return {"sqlite": example, "json": folder / "page"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory, projects):
    sources = [ROOT, ROOT / "delve_plugins" / "delve-csv", *projects.values()]
    return FreshEnvironment(tmp_path_factory.mktemp("fresh"), sources, extras=["test"])


@pytest.fixture
def train(environment, tmp_path):
    """Trains in a process of its own up to an epoch, the last."""

    def train(save_to, first, last, end="normally"):
        arguments = [str(tmp_path), json.dumps(save_to), str(first), str(last), end]
        done = environment.run("-c", TRAINING, *arguments, cwd=tmp_path)
        assert done.returncode == (0 if end == "normally" else -signal.SIGKILL), done.stderr
        assert "failed" not in done.stderr

    return train


def as_text(value):
    """A number by its shortest exact text, the same for NaN from any source."""
    return repr(float(value))


def journal_text(folder):
    return {
        epoch: {name: as_text(value) for name, value in row.items()}
        for epoch, row in journal_rows(folder).items()
    }


def sqlite_rows(folder):
    with closing(sqlite3.connect(folder / "metrics.sqlite")) as database:
        rows = {epoch: {} for (epoch,) in database.execute("SELECT epoch FROM epochs")}
        for epoch, name, value in database.execute("SELECT epoch, name, value FROM metrics"):
            assert name not in rows[epoch]
            rows[epoch][name] = as_text("nan" if value is None else value)
    return rows


def csv_rows(folder):
    rows = {}
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            epoch = int(row.pop("epoch"))
            assert epoch not in rows
            rows[epoch] = {name: as_text(cell) for name, cell in row.items() if cell}
    return rows


def json_rows(folder):
    rows = json.loads((folder / "metrics.json").read_text())
    return {
        int(epoch): {name: as_text(value) for name, value in row.items()}
        for epoch, row in rows.items()
    }


def parts(rows):
    """By which part of the run each epoch was recorded."""
    return {epoch: float(row["part"]) for epoch, row in rows.items()}


def test_only_published_pieces_are_used(environment, tmp_path):
    done = environment.run("-c", INSTALLED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    installed = json.loads(done.stdout)
    assert {name: one for name, (one, _) in installed["writers"].items()} == {
        "csv": "delve-csv",
        "json": "delve-json-example",
        "print": "delve",
        "sqlite": "delve-sqlite-example",
    }
    assert sorted(installed["distributions"]) == sorted(
        ["delve", "delve-csv", "delve-json-example", "delve-sqlite-example"]
    )
    for _, file in installed["writers"].values():
        assert environment.site in Path(file).parents
    assert not [entry for entry in installed["path"] if Path(entry).is_relative_to(ROOT)]


@pytest.mark.parametrize("name", ["sqlite", "json"])
def test_a_writer_passes_its_own_tests(environment, projects, tmp_path, name):
    # Without the writer's source beside them, the tests see the installed one.
    tests = shutil.copytree(projects[name] / "tests", tmp_path / "tests")
    options = ["-p", "no:cacheprovider", "-W", "error", "-q", "-rs"]
    done = environment.run("-m", "pytest", *options, tests, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    missing = {line.rpartition(" has no ")[2] for line in skipped}
    assert missing == {"held_epochs"} | (set() if name == "sqlite" else {"close", "add_array"})


def test_a_fresh_run_is_held_as_the_journal_has_it(train, tmp_path):
    train(["sqlite", "csv"], 0, 3)
    rows = sqlite_rows(tmp_path)
    assert list(rows) == [0, 1, 2, 3]
    assert rows[3]["rare, 'quoted'"] == "nan"
    assert "rare, 'quoted'" not in rows[2]
    assert sum(name.startswith("train-saturation/") for name in rows[0]) == 2
    assert rows == csv_rows(tmp_path) == journal_text(tmp_path)


@pytest.mark.parametrize("end", ["in the middle of it", "journal holds it and no writer does"])
def test_a_run_resumed_after_sigkill_is_held_as_the_journal_has_it(train, tmp_path, end):
    train(["sqlite", "csv"], 0, 5, end)
    assert list(sqlite_rows(tmp_path)) == [0, 1, 2, 3, 4]
    recorded = max(journal_text(tmp_path)) + 1
    train(["sqlite", "csv"], recorded, 6)
    train(["sqlite", "csv"], 3, 4)
    rows = sqlite_rows(tmp_path)
    assert parts(rows) == {0: 0, 1: 0, 2: 0, 3: 3, 4: 3}
    assert rows == csv_rows(tmp_path) == journal_text(tmp_path)


def test_what_only_the_journal_held_is_fed_on_resume(train, tmp_path):
    train(["sqlite", "csv"], 0, 5, "journal holds it and no writer does")
    train(["sqlite", "csv", "json"], 6, 6)
    rows = sqlite_rows(tmp_path)
    assert parts(rows) == {0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 6}
    assert rows == csv_rows(tmp_path) == json_rows(tmp_path) == journal_text(tmp_path)


def test_a_new_run_in_the_same_folder_holds_nothing_of_the_old_one(train, tmp_path):
    train(["sqlite", "csv"], 0, 3)
    train(["sqlite", "csv"], 0, 1)
    rows = sqlite_rows(tmp_path)
    assert list(rows) == [0, 1]
    assert rows == csv_rows(tmp_path) == journal_text(tmp_path)


def test_the_query_of_the_examples_page_gives_the_saturations(train, tmp_path):
    train(["sqlite"], 0, 1)
    query = (EXAMPLE / "README.md").read_text().split('"SELECT')[1].split('"\n')[0]
    with closing(sqlite3.connect(tmp_path / "metrics.sqlite")) as database:
        found = database.execute(f"SELECT{query}".replace("epoch = 9", "epoch = 1")).fetchall()
    row = journal_text(tmp_path)[1]
    assert {f"train-saturation/{layer}": as_text(value) for layer, value in found} == {
        name: value for name, value in row.items() if name.startswith("train-saturation/")
    }


def test_the_script_of_the_writers_page_records(environment, projects, tmp_path):
    done = environment.run(projects["json"] / "train.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json_rows(tmp_path / "runs" / "a")
    assert [row["accuracy"] for row in rows.values()] == ["0.0", "0.1", "0.2"]
    assert rows == journal_text(tmp_path / "runs" / "a")


def test_the_writer_takes_less_than_100_lines():
    assert len((EXAMPLE / "sqlite_writer.py").read_text().splitlines()) < 100
