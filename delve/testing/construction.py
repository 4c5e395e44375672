"""What a writer promises before it records anything."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from delve.delivery.checked_writer import check_writer
from delve.delivery.discovery import load_writer_class
from delve.errors import DelveError
from delve.testing.base import WriterTests

CHEAP = 0.1  # seconds for a constructor
SLOW_IMPORT = 0.3  # seconds of processor time from which a backend is imported when it is needed

_IO_EVENTS = {
    "open",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.symlink",
    "os.truncate",
    "socket.connect",
    "socket.getaddrinfo",
    "sqlite3.connect",
    "subprocess.Popen",
}
_IMPORTED = (".py", ".pyc", ".so", ".pyd")  # files that the interpreter opens by itself

_IMPORT_PROBE = """
import sys, time
from delve import SaturationTracker, files
module, before, begun = sys.argv[1], set(sys.modules), time.process_time()
try:
    __import__(module)
except ModuleNotFoundError as error:
    if module == error.name or module.startswith(f"{error.name}."):
        sys.exit(77)
    raise
print(time.process_time() - begun)
print(*sorted({name.partition(".")[0] for name in sys.modules.keys() - before}))
"""
_NO_SUCH_MODULE = 77


class ConstructionContract(WriterTests):
    """Making a writer costs nothing, and it fits the specification."""

    def test_the_constructor_is_silent(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nothing on the console, no log record, no warning."""
        output = io.StringIO()
        with (
            caplog.at_level(logging.INFO),
            warnings.catch_warnings(record=True) as warned,
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            warnings.simplefilter("always")
            self.make_writer(folder)
        said = [output.getvalue(), *caplog.messages, *(str(one.message) for one in warned)]
        assert not any(said), f"the constructor must be silent; it said {[*filter(None, said)]}"

    def test_the_constructor_does_no_io(self, folder: Path) -> None:
        """It reads and writes no file, and opens no connection."""
        with _io_watch.watching() as seen:
            self.make_writer(folder)
        assert not seen, (
            "the constructor must do no I/O (start and resume_from_saved_state are the places "
            f"for it); it did {', '.join(seen)}"
        )

    def test_the_constructor_is_cheap(self, folder: Path) -> None:
        """A tenth of a second is far more than it needs."""
        seconds = min(self._seconds_to_make(folder) for _ in range(3))
        assert seconds < CHEAP, f"the constructor must be cheap; it took {seconds:.2f} s"

    def _seconds_to_make(self, folder: Path) -> float:
        begun = time.perf_counter()
        self.make_writer(folder)
        return time.perf_counter() - begun

    def test_the_methods_fit_the_specification(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each takes only arguments that the specification offers, and none is misspelt."""
        promise = "the writer's methods must fit delve.hookspecs.WriterSpec"
        writer = self.make_writer(folder)
        with caplog.at_level(logging.WARNING, logger="delve"):
            try:
                check_writer(type(writer).__name__, writer)
            except DelveError as error:
                raise AssertionError(f"{promise}; {error}") from error
        said = [record.message for record in caplog.records if record.name.startswith("delve.")]
        assert not said, f"{promise}; {' '.join(said)}"

    def test_the_entry_point_names_the_class(self, folder: Path) -> None:
        """``save_to`` finds the writer under its name."""
        if self.entry_point is None:
            pytest.skip("entry_point is not set: the writer is not selected by name")
        made = type(self.make_writer(folder))
        promise = f"the entry point {self.entry_point!r} must name {made.__qualname__}"
        try:
            found = load_writer_class(self.entry_point)
        except DelveError as error:
            raise AssertionError(f"{promise}; {error}") from error
        assert found is made, f"{promise}; it names {found.__module__}.{found.__qualname__}"

    def test_importing_the_module_leaves_a_slow_backend_alone(self, folder: Path) -> None:
        """Who selects another writer, or only asks which are there, must not wait for it."""
        module = type(self.make_writer(folder)).__module__
        seconds, brought = _import_costs(module)
        if seconds >= SLOW_IMPORT:  # the first time may have compiled it
            seconds, brought = _import_costs(module)
        assert seconds < SLOW_IMPORT, (
            "a slow backend must be imported inside the methods, not at module level; importing "
            f"{module} takes {seconds:.1f} s and brings in {brought}"
        )


class _IOWatch:
    """Notes the I/O of this thread by Python's audit events."""

    def __init__(self) -> None:
        self._seen: list[str] | None = None
        self._thread = 0
        self._installed = False

    @contextlib.contextmanager
    def watching(self) -> Any:
        if not self._installed:  # for good: Python takes no audit hook back
            sys.addaudithook(self._note)
            self._installed = True
        self._seen, self._thread = [], threading.get_ident()
        try:
            yield self._seen
        finally:
            self._seen = None

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._seen is None or event not in _IO_EVENTS:
            return
        if threading.get_ident() == self._thread and not str(arguments[0]).endswith(_IMPORTED):
            self._seen.append(f"{event} {arguments[0]}")


_io_watch = _IOWatch()


def _import_costs(module: str) -> tuple[float, str]:
    """Processor time to import a module beside ``delve``, and the packages that come with it."""
    probe = subprocess.run(
        [sys.executable, "-c", _IMPORT_PROBE, module],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode == _NO_SUCH_MODULE:
        pytest.skip(f"{module} is no module that can be imported by its name")
    assert probe.returncode == 0, f"{module} cannot be imported by itself:\n{probe.stderr}"
    seconds, brought = probe.stdout.splitlines()[-2:]
    return float(seconds), brought
