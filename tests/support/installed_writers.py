"""Every writer that is installed, and how what it has stored is read back.

So a writer that is added to the repository is crash-tested without being named here. What its
backend holds is read by ``read_scalars`` of the subclass of ``WriterContract`` in the plugin's
``tests/test_contract.py`` with the writer's ``entry_point``, or by its hook ``held_epochs``.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from delve.base import entry_points
from delve.delivery.checked_writer import check_writer
from delve.delivery.discovery import GROUP, load_writer_class
from delve.records import RunInfo
from delve.testing import WriterContract, journal_lines, run_id

PLUGINS = Path(__file__).parents[2] / "delve_plugins"

Point = tuple[int, str, float]


def installed() -> tuple[str, ...]:
    """The names of the installed writers."""
    return tuple(sorted(entry_points.offers(GROUP)))


def modules() -> tuple[str, ...]:
    """The modules that they are in."""
    return tuple(sorted({_entry_point(name).module for name in installed()}))


def implements(name: str, *hooks: str) -> bool:
    """Whether Delve calls one of these methods of a writer: a kill waits inside of it."""
    methods = [getattr(load_writer_class(name), hook, None) for hook in hooks]
    return any(method and not hasattr(method, "is_no_hook_of_delve") for method in methods)


def reader(name: str) -> Callable[[Path], Iterable[Point]]:
    """What reads back every value that the writer of this name holds of the run in a folder."""
    if contract := _contract(name):
        return contract.read_scalars
    if implements(name, "held_epochs"):
        return functools.partial(_held, name)
    raise LookupError(
        f"writer {name!r} cannot be read back after a crash: give it held_epochs, or its plugin "
        f"a tests/test_contract.py with a WriterContract whose entry_point is {name!r}"
    )


def stored(name: str, value: float) -> float:
    """What a writer's backend holds for a value."""
    contract = _contract(name)
    return contract.stored(value) if contract else value


@functools.cache
def _contract(name: str) -> Any:
    """The contract of the writer in its plugin's tests, as far as it can be read back there."""
    owner = _entry_point(name).dist
    path = PLUGINS / (owner.name if owner else "") / "tests" / "test_contract.py"
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"contract_of_{name}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for each in vars(module).values():
        if isinstance(each, type) and issubclass(each, WriterContract) and each.entry_point == name:
            return each()
    return None


def _held(name: str, folder: Path) -> Iterable[Point]:
    writer = check_writer(name, load_writer_class(name)(savepath=folder))
    run = RunInfo(folder, run_id(folder), 0, state=remembered(folder, name))
    for epoch in writer.hook.held_epochs(run=run):
        yield from ((epoch.epoch, name, value) for name, value in epoch.values.items())


def remembered(run: Path, writer: str) -> dict[str, Any]:
    """What a writer of the run in this folder remembered last."""
    states = [
        line["state"]
        for line in journal_lines(run, damaged=True)
        if line["type"] == "state" and line["writer"] == writer
    ]
    return dict(states[-1]) if states else {}


def _entry_point(name: str) -> EntryPoint:
    found = entry_points.find(GROUP, name)
    assert found
    return found
