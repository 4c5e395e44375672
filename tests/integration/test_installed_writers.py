"""A writer that is added is crash-tested without being named anywhere."""

import random

import pytest
from support import installed_writers
from support.crash_points import CrashPoint
from support.crashed_runs import PLACES, CrashedRun, opened, places_of
from support.installed_writers import installed, reader
from support.seven_writers import WRITERS

WRITER = """
import json
import os
from pathlib import Path

from delve import HeldEpoch


class TinyWriter:
    forgets = "TINY_FORGETS" in os.environ

    def __init__(self, savepath):
        self.path = Path(savepath) / "tiny.jsonl"
        self.row = {}

    def start(self):
        self.row = {}
        self.path.write_text("")

    def resume_from_saved_state(self, initial_epoch, run):
        self.row = {}
        kept = {e: row for e, row in self._read() if self.forgets or e < initial_epoch}
        self.path.write_text("".join(map(self._line, kept, kept.values())))
        return run.first_lacking([e for e in kept if e < initial_epoch])

    def add_scalar(self, name, value):
        self.row[name] = value

    def add_scalars(self, value_dict):
        self.row.update(value_dict)

    def save(self, epoch):
        row, self.row = self.row, {}
        with self.path.open("a") as file:
            file.write(self._line(epoch, row))

    def held_epochs(self, run):
        return [HeldEpoch(epoch, row) for epoch, row in self._read()]

    def _read(self):
        lines = self.path.read_text().splitlines(True) if self.path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\\n")]

    def _line(self, epoch, row):
        return json.dumps([epoch, row]) + "\\n"
"""

POINTS = [("tiny.save", 5, 30, True), ("tiny.open", 1, 20, True), ("torn line", 3, 9, True)]


def add_writer(site, name, code):
    """Install a distribution with a writer as pip does: a module and its metadata."""
    metadata = site / f"delve_{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    about = f"Metadata-Version: 2.1\nName: delve-{name}\nVersion: 1.0\n"
    (metadata / "METADATA").write_text(about)
    entry = f"[delve.writers]\n{name} = {name}_writer:{name.title()}Writer\n"
    (metadata / "entry_points.txt").write_text(entry)
    (site / f"{name}_writer.py").write_text(code)


@pytest.fixture(scope="module")
def small_bench(tmp_path_factory):
    """A bench with the added writer and the console."""
    folder = tmp_path_factory.mktemp("added")
    add_writer(folder / "site", "tiny", WRITER)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "site")
        writers = [name for name in installed() if name in ("print", "tiny")]
        with opened(folder / "bench", print, writers) as bench:
            yield bench


def crashed(bench, name, **environment):
    """A run that is killed at these points."""
    run = CrashedRun(bench, bench.folder / name, random.Random(0), auto=False)
    run.environment |= environment
    run.train(CrashPoint(*point) for point in POINTS)
    return run


def test_all_writers_of_the_repository_are_tried_at_their_own_places():
    plugins = [
        path.parent.name
        for path in installed_writers.PLUGINS.glob("*/pyproject.toml")
        if 'entry-points."delve.writers"' in path.read_text(encoding="utf-8")
    ]
    assert {*WRITERS} >= {name.removeprefix("delve-") for name in plugins}
    places = {place for group in PLACES.values() for place in group}
    for name in {*WRITERS} - {"print"}:
        assert {f"{name}.save", f"{name}.open"} <= places
    assert "print.close" not in places  # Delve calls none of it


def test_an_added_writer_is_killed_read_back_and_compared(small_bench):
    assert small_bench.writers == ["print", "tiny"]
    places = places_of(installed())
    assert "tiny.save" in places["inside a writer's save"]
    assert "tiny.open" in places["inside start or resume"]
    run = crashed(small_bench, "killed")
    assert run.differences(small_bench.undisturbed()) == []
    assert run.places == [place for place, *_ in POINTS]


def test_an_added_writer_that_forgets_to_cut_on_resume_is_found_out(small_bench):
    found = crashed(small_bench, "forgetful", TINY_FORGETS="1").differences(
        small_bench.undisturbed()
    )
    assert found
    assert all(difference.startswith("tiny") for difference in found)


def test_an_added_writer_that_cannot_be_read_back_is_told(tmp_path, monkeypatch):
    add_writer(tmp_path, "mute", "class MuteWriter:\n    def save(self, epoch): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LookupError, match=r"'mute' cannot be read back .* give it held_epochs"):
        reader("mute")
