"""The journals of ``tests/journal/golden``: how they were recorded, and what is read from one.

Each recipe makes the same calls as a run does, with clock, names and places that never change, so
that it writes the same bytes at any time and on any machine. A journal that was stored once is
never written again: see the README there.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from click.testing import CliRunner

from delve.cli import main
from delve.errors import NoHeaderError
from delve.journal.contents import Contents
from delve.journal.home import Home, Whereabouts
from delve.journal.journal import Journal
from delve.journal.lines import encode
from delve.journal.reading import JOURNAL_NAME, contents_in, next_epoch
from delve.journal.salvage import lines_that_tell, salvage, write_anew
from delve.journal.stored_run import read_run
from delve.records import EpochRecord, Metric

BEGUN = 1_700_000_000_000  # milliseconds
MINUTE = 60_000
LAYERS = ("conv1", "fc")


# What is read


def reading(folder: Path) -> dict[str, Any]:
    """All that a folder's journal says, as plain values under names that are this function's own.

    It must not be made of the names that the journal or its reader use: those could be changed
    on both sides at once.
    """
    try:
        contents = contents_in(folder)
    except NoHeaderError:
        return {"has a header": False} | _told(salvage(folder).contents)
    assert contents is not None
    return (
        {"has a header": True}
        | _told(contents)
        | {
            "goes on at": next_epoch(folder, contents),
            "epochs": [_epoch(record) for record in read_run(folder).records],
        }
    )


def _told(contents: Contents) -> dict[str, Any]:
    origin = contents.origin and {
        "who it was": contents.origin[0],
        "where it was": contents.origin[1],
        "what writers remembered": contents.origin_states,
    }
    home = contents.home and [contents.home.path, contents.home.host, contents.home.inode]
    return {
        "who it is": contents.run_id,
        "when it began": contents.created,
        "hyperparameters": contents.config,
        "forward order": list(contents.layers),
        "resumed at": contents.resumes,
        "held epochs": list(contents.places),
        "every name": list(contents.metrics),
        "what writers remember": contents.states,
        "backends hold nothing void below": {
            name: _plain(contents.sound_below(name)) for name in ("csv", "mlflow", "never there")
        },
        "an earlier run was here": contents.replaces_earlier,
        "where it lay": home,
        "another one may go on": contents.may_be_copy,
        "copied from": origin,
        "unreadable lines": contents.damaged_lines,
        "lines out of place": contents.misplaced_lines,
        "lines that are gone": contents.lost_lines,
        "bytes that are whole": contents.size,
    } | _processes(contents)


def _processes(contents: Contents) -> dict[str, Any]:
    """What is told of processes and features, which earlier journals have not."""
    begun = contents.begun and {
        "opened at": contents.begun.time,
        "on": contents.begun.host,
        "by": contents.begun.process,
    }
    ended = contents.ended and {
        "closed at": contents.ended.time,
        "because of": contents.ended.error,
    }
    told = {"opened": begun, "closed": ended, "features": dict(contents.features) or None}
    return {name: value for name, value in told.items() if value is not None}


def _epoch(record: EpochRecord) -> dict[str, Any]:
    return {
        "epoch": record.epoch,
        "saved": record.timestamp,
        "of the user": {name: _plain(value) for name, value in record.scalars.items()},
        "of layers": [[m.mode, m.stat, m.layer, _plain(v)] for m, v in record.metrics.items()],
        "few samples": {mode: list(layers) for mode, layers in record.few_samples.items()},
    } | ({} if record.step is None else {"taken at step": record.step})


def _plain(value: float) -> float | str:
    """The value; what no JSON holds in words."""
    return value if math.isfinite(value) else str(value)


# How they were recorded


@contextlib.contextmanager
def _same_each_time(place: str = "/runs/golden", inode: int = 1) -> Iterator[None]:
    """The clock, the identities and the folder's place are the same at each call."""
    clock = itertools.count(BEGUN, MINUTE)
    identities = (mock.Mock(hex=f"{n:032x}") for n in itertools.count(0x90 + 0x10 * inode))
    with (
        mock.patch("delve.journal.journal.now_in_ms", side_effect=clock),
        mock.patch("delve.journal.headers.now_in_ms", side_effect=clock),
        mock.patch("uuid.uuid4", side_effect=identities),
        mock.patch.object(Home, "of", return_value=Home(place, "machine", inode)),
    ):
        yield


def _values(epoch: int, **scalars: float) -> EpochRecord:
    metrics = {
        Metric(mode, "saturation", layer): (share + epoch) / 16
        for mode in ("train", "eval")
        for share, layer in enumerate(LAYERS, 1)
    }
    loss = 1 / (epoch + 1)
    return EpochRecord(epoch, BEGUN + MINUTE * epoch + 7, {"loss": loss, **scalars}, metrics)


def _write(journal: Journal, record: EpochRecord, layers: Sequence[str] = LAYERS) -> None:
    journal.write_epoch(record, layers)


def _plain_run(folder: Path) -> None:
    """A header, what two backends are, epochs; layers and scalars that come late."""
    journal = Journal.create(folder, LAYERS[:1], {"lr": 0.1, "model": {"width": 64}})
    journal.mark_opened("csv")
    journal.remember("mlflow", {"run": "0123", "uri": "http://127.0.0.1:5000"})
    journal.mark_opened("mlflow")
    few = {"train": ["fc"], "eval": ["conv1", "fc"]}
    first = _values(0)
    _write(journal, EpochRecord(0, first.timestamp, first.scalars, first.metrics, few))
    _write(journal, _values(1, accuracy=0.5))
    _write(journal, EpochRecord(2, BEGUN + 9 * MINUTE, {}, {}))
    _write(journal, EpochRecord(3, BEGUN + 9 * MINUTE, {"loss": 1e-300}, {}), LAYERS[::-1])
    journal.close()


def _resumed(folder: Path) -> None:
    """Epochs that a resume made void while one backend was away, and a gap that a later one left.

    The scalar ``void`` was recorded in void epochs alone.
    """
    journal = Journal.create(folder, LAYERS, {})
    journal.mark_opened("csv")
    journal.mark_opened("mlflow")
    for epoch in range(5):
        _write(journal, _values(epoch, void=1.0) if epoch > 2 else _values(epoch))
    journal.close()
    journal = Journal.resume(folder, 3)
    journal.mark_opened("csv")
    _write(journal, _values(3, loss=0.75))
    journal.close()
    journal = Journal.resume(folder, 7)
    journal.mark_opened("csv")
    _write(journal, _values(7))
    _write(journal, _values(8))
    journal.close()
    journal = Journal.resume(folder, 8)  # and nothing after that
    journal.close()


def _changed_config(folder: Path) -> None:
    """Hyperparameters that a resume changed, some of them of types that JSON has not."""
    config = {
        "lr": np.float32(0.5),
        "weight": torch.tensor(0.25),
        "limit": math.inf,
        "nested": {"none": None, "list": [1, math.nan, (True, "x")]},
        "path": Path("data/images"),
    }
    journal = Journal.create(folder, LAYERS, config)
    _write(journal, _values(0))
    journal.close()
    journal = Journal.resume(folder, 1, LAYERS, {"lr": 0.125, "changed": True})
    _write(journal, _values(1))
    journal.close()
    journal = Journal.resume(folder, 2, LAYERS, {"lr": 0.125, "changed": True})  # as they were
    journal.close()


def _values_and_names(folder: Path) -> None:
    """Numbers that JSON has not, those at its ends, and names that need escapes."""
    journal = Journal.create(folder, ['a "quoted" layer', "Schicht ä/ö"], {"name": "größe \u2028"})
    numbers = {
        "NaN": math.nan,
        "Infinity": math.inf,
        "-Infinity": -math.inf,
        "-0": -0.0,
        "smallest": 5e-324,
        "largest": 1.7976931348623157e308,
        "third": 1 / 3,
    }
    names = (
        "",
        " ",
        "a/b",
        "crc32",
        '", "crc32": "',
        "line\nend\r\n",
        "\\",
        "\0",
        "日本",
        "😀",
        "{}",
    )
    layers = {
        Metric("train", "saturation", 'a "quoted" layer'): math.nan,
        Metric("eval", "intrinsic-dimensionality", "Schicht ä/ö"): 2.0,
        Metric("train", "of-a-later-version", "fc.0"): math.inf,
    }
    _write(journal, EpochRecord(0, BEGUN, numbers, layers))
    scalars = {name: float(number) for number, name in enumerate(names)}
    _write(journal, EpochRecord(1, BEGUN + 1, scalars, layers))
    _write(journal, EpochRecord(2, 0, {"train-saturation/x": 0.5, "loss": 0.5}, {}))
    _write(journal, EpochRecord(2**53 - 1, BEGUN + 2, {"loss": 0.25}, {}))
    journal.remember("csv", {"text": "größe", "list": [1, 2.5, None, {"deep": True}]})
    journal.close()


def _copied(folder: Path) -> None:
    """A copy of another run's folder, which became a run of its own and went on."""
    _resumed(folder)
    with _same_each_time("/runs/copy", 2), _found(Whereabouts.COPIED):
        journal = Journal.resume(folder, 4)
        journal.mark_opened("csv")
        journal.remember("mlflow", {"run": "of the copy"})
        _write(journal, _values(4))
        journal.close()


def _moved(folder: Path) -> None:
    """A folder that was moved, and then brought to another machine."""
    _plain_run(folder)
    with _same_each_time("/runs/moved", 1), _found(Whereabouts.MOVED):
        Journal.reopen(folder).close()
    with _same_each_time("/elsewhere", 3), _found(Whereabouts.UNKNOWN):
        journal = Journal.resume(folder, 4)
        _write(journal, _values(4))
        journal.close()


def _replaced(folder: Path) -> None:
    """A new run in a folder that held another one, whose journal is kept."""
    _resumed(folder)
    journal = Journal.create(folder, LAYERS, {"second": True})
    journal.mark_opened("csv")
    _write(journal, _values(0, loss=8.0))
    journal.close()


def _repaired(folder: Path) -> None:
    """Written anew by a repair: what it knows stands in as few lines as may be."""
    _copied(folder)
    with _same_each_time("/elsewhere", 3), _found(Whereabouts.UNKNOWN):
        Journal.reopen(folder).close()
    old = salvage(folder)
    sound = {"csv": 2.0, "mlflow": math.inf}
    write_anew(folder, lines_that_tell(old.contents, old.records, sound))
    (folder / "journal.1.jsonl").unlink()


def _of_a_later_version(folder: Path) -> None:
    """Types of lines and fields that this version does not know, and fields of types it has not."""
    _plain_run(folder)
    written = (folder / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
    epoch = {"epoch": 4, "time": BEGUN, "scalars": {"loss": 0.5}, "metrics": {}, "unit": "nats"}
    added: list[dict[str, Any]] = [
        {"type": "note", "epoch": 0, "text": "a type that is not known voids nothing"},
        {"type": "epoch"} | epoch,
        {"type": "epoch"} | epoch | {"epoch": 5, "scalars": {"loss": [0.5]}},
        {"type": "epoch"} | epoch | {"epoch": True},
        {"type": "resume", "epoch": "0"},
        {"type": "state", "writer": "npy", "state": {}, "opened": True, "by": "somebody"},
    ]
    lines = [encode(entry, number) for number, entry in enumerate(added, len(written) + 1)]
    (folder / JOURNAL_NAME).write_bytes(b"".join(written + lines))


def _by_steps(folder: Path) -> None:
    """Rows at training steps, some of which a resume made void, and a layer that came late."""
    journal = Journal.create(folder, LAYERS, {})
    journal.mark_opened("csv")
    for epoch, step in enumerate((100, 200, 300, 400)):
        _write(journal, replace(_values(epoch), step=step))
    journal.close()
    journal = Journal.resume(folder, 2)
    journal.mark_opened("csv")
    _write(journal, replace(_values(2), step=250), LAYERS[::-1])
    _write(journal, replace(_values(3), step=10**12), LAYERS[::-1])
    journal.close()


def _ended(folder: Path) -> None:
    """Processes that tell of their ends, and features, which change when the run is resumed."""
    journal = Journal.create(folder, LAYERS, {})
    with mock.patch("os.getpid", return_value=7), mock.patch("platform.node", return_value="m"):
        journal.begin()
        _write(journal, replace(_values(0), features={"conv1": 16, "fc": 10}))
        _write(journal, replace(_values(1), features={"conv1": 16, "fc": 10}))
        journal.end(ValueError("secret"))
        journal.close()
        journal = Journal.resume(folder, 1)
        journal.begin()
        _write(journal, replace(_values(1), features={"conv1": 32, "fc": 10}))
        journal.end(None)
        journal.close()


@contextlib.contextmanager
def _found(whereabouts: Whereabouts) -> Iterator[None]:
    with mock.patch("delve.journal.journal.whereabouts", return_value=whereabouts):
        yield


RECIPES: Mapping[str, Callable[[Path], None]] = {
    "plain": _plain_run,
    "resumed": _resumed,
    "changed-config": _changed_config,
    "values-and-names": _values_and_names,
    "copied": _copied,
    "moved": _moved,
    "replaced": _replaced,
    "repaired": _repaired,
    "of-a-later-version": _of_a_later_version,
    "by-steps": _by_steps,
    "ended": _ended,
}


def record(name: str, folder: Path) -> Path:
    """Record one of them; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with _same_each_time():
        RECIPES[name](folder)
    return folder


# What befell some of them since


def _edited(edit: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda content: b"".join(edit(content.splitlines(keepends=True)))


def _torn(content: bytes) -> bytes:
    return content[:-30]


def _damaged_lines(lines: list[bytes]) -> list[bytes]:
    """Wrong bits, text of another program, half a line, an empty line and one of zeros."""
    lines[3] = lines[3].replace(b"0.0625", b"0.0626")
    lines[6] = lines[6][:40] + b"\n"
    return [*lines[:8], b"# a note\n", b"\n", b"\0" * 64 + b"\n", b'{"type": 1}\n', *lines[8:]]


def _misplaced_lines(lines: list[bytes]) -> list[bytes]:
    """One line twice, two that changed their places, and the old resume at the end again."""
    return [*lines[:4], lines[3], lines[5], lines[4], *lines[6:], lines[8]]


BEFALLEN: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "torn": ("plain", _torn),
    "damaged": ("resumed", _edited(_damaged_lines)),
    "misplaced": ("resumed", _edited(_misplaced_lines)),
    "lines-gone": ("resumed", _edited(lambda lines: lines[:5] + lines[7:])),
    "windows-line-ends": ("resumed", lambda content: content.replace(b"\n", b"\r\n")),
    "no-last-newline": ("plain", lambda content: content.rstrip(b"\n")),
    "beheaded": ("resumed", lambda content: content[20:]),
}


# What is expected of them


def what_is_shown(folder: Path) -> str:
    """What ``delve show --json`` prints of a folder in the working directory."""
    return _printed("show", folder.name, "--json")


def what_is_exported(folder: Path) -> bytes:
    """The table that ``delve export`` makes of a folder in the working directory."""
    _printed("export", folder.name, "--to", "csv")
    return (folder / "metrics.csv").read_bytes()


def _printed(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert not result.exit_code, result.output
    return result.stdout
