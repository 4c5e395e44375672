"""Messages of Delve and its writers hold nothing that a terminal would obey."""

import importlib
import io
import logging
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import delve
from delve.base.log import get_logger

TITLE = "\x1b]0;owned\x07"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def stream():
    """What a handler of the user's writes, as of a program that has set up logging."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def test_what_a_message_names_is_spelt_out(stream):
    logger = get_logger("delve.tests.names")
    logger.warning("%s and %r and %5.1f, %d", f"a{TITLE}", Path(f"b{TITLE}"), 2.5, 3)
    name, path = r"a\x1b]0;owned\x07", r"PosixPath('b\x1b]0;owned\x07')"
    assert stream.getvalue() == f"delve.tests.names {name} and {path} and   2.5, 3\n"


def test_a_name_forges_no_second_line(stream):
    get_logger("delve.tests.lines").warning("layer %s is odd", "fc\nERROR all is lost")
    assert stream.getvalue().count("\n") == 1


def test_an_exception_is_spelt_out_and_so_is_its_traceback(stream):
    try:
        raise ValueError(TITLE)
    except ValueError as error:
        get_logger("delve.tests.errors").warning("failed: %s", error, exc_info=error)
    told = stream.getvalue()
    assert "\x1b" not in told
    assert told.count(r"\x1b]0;owned\x07") == 2
    assert "Traceback (most recent call last):\n" in told


def test_what_is_harmless_reaches_handlers_as_it_was_given(caplog):
    value = Path("runs/a")
    get_logger("delve.tests.same").warning("%s", value)
    assert caplog.records[-1].args == (value,)


def test_a_value_that_cannot_be_shown_ends_no_training(stream, monkeypatch):
    class Odd:
        def __str__(self):
            raise RuntimeError("no text")

    monkeypatch.setattr(logging, "raiseExceptions", False)
    get_logger("delve.tests.odd").warning("%s", Odd())
    assert stream.getvalue() == ""


# Who speaks

SET_UP = {
    "nothing": ("", "delve: the disk is full"),
    "basicConfig": ("logging.basicConfig()", "WARNING:delve.tests:the disk is full"),
    "a format without names": (
        "logging.basicConfig(format='%(levelname)s %(message)s')",
        "WARNING delve: the disk is full",
    ),
    "a handler of the logger above": (
        "logging.getLogger('delve').addHandler(logging.StreamHandler())",
        "delve: the disk is full",
    ),
    "no more than is needed": (
        "logging.getLogger('delve').addHandler(logging.NullHandler()); logging.basicConfig()",
        "WARNING:delve.tests:the disk is full",
    ),
    "a formatter that wants more": (
        "logging.basicConfig(format='%(user)s %(name)s %(message)s');"
        "old = logging.getLogRecordFactory();"
        "logging.setLogRecordFactory(lambda *a: setattr(r := old(*a), 'user', 'me') or r)",
        "me delve.tests delve: the disk is full",
    ),
}


@pytest.mark.parametrize("set_up", SET_UP)
def test_what_is_printed_begins_with_who_speaks(set_up):
    """In a process of its own: pytest has set up logging in this one."""
    before, printed = SET_UP[set_up]
    program = f"""
import logging
from delve.base.log import get_logger
{before}
for _ in range(2):
    get_logger("delve.tests").warning("the %s is full", "disk")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == [printed] * 2


def test_a_record_that_comes_again_from_another_process_says_so_once(stream):
    logger = get_logger("delve.tests.again")
    records = []
    logger.addFilter(lambda record: records.append(record) or True)
    plain = logging.StreamHandler(said := io.StringIO())
    logger.addHandler(plain)
    try:
        logger.warning("the disk is full")
        logger.handle(logging.makeLogRecord(records[0].__dict__))
    finally:
        logger.removeHandler(plain)
    assert said.getvalue() == "delve: the disk is full\n" * 2


def test_warnings_of_python_begin_so(tmp_path):
    with pytest.warns(DeprecationWarning, match=r"^delve: CheckLayerSat is called"):
        delve.CheckLayerSat(
            tmp_path / "run", save_to="print", modules=torch.nn.Linear(2, 2)
        ).close()
    sources = [*ROOT.glob("delve/**/*.py"), *ROOT.glob("delve_plugins/*/src/**/*.py")]
    calls = [
        (path.name, call)
        for path in sources
        for call in re.findall(r"warnings\.warn\(\s*(\S+)", path.read_text(encoding="utf-8"))
    ]
    assert calls
    assert [one for one in calls if not one[1].startswith('f"{SPEAKER}')] == []


# Who logs so


def test_every_module_of_the_core_logs_so():
    for module in pkgutil.walk_packages(delve.__path__, "delve."):
        if not module.name.startswith(("delve.testing", "delve.__main__", "delve.cli.comparison")):
            importlib.import_module(module.name)
    named = [n for n in logging.root.manager.loggerDict if n.startswith("delve.")]
    found = {n: logging.getLogger(n) for n in named if ".tests" not in n}
    assert "delve.delivery" in found
    marks = get_logger("delve.tests.marks").filters
    silent = [n for n, logger in found.items() if not set(marks) <= set(logger.filters)]
    assert [n for n in silent if not _is_a_parent(n, found)] == []


def _is_a_parent(name, found):
    return any(other.startswith(f"{name}.") for other in found)


def test_no_module_takes_a_logger_from_elsewhere():
    sources = [*ROOT.glob("delve/**/*.py"), *ROOT.glob("delve_plugins/*/src/**/*.py")]
    own = {ROOT / "delve" / "log.py"}
    assert len(sources) > 60
    taken = [
        str(path.relative_to(ROOT))
        for path in sources
        if path not in own and "logger = logging.getLogger(__name__)" in path.read_text()
    ]
    assert taken == []
