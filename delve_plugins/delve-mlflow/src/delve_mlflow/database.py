"""A local SQLite file that several processes use: made by one of them, and locked for a while."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from delve.files import open_plain
from delve_mlflow.limits import LONGEST

PAUSE = 0.2  # seconds between two tries

# What MLflow runs into, in one of many exceptions, while another process makes the tables.
_BEING_MADE = (
    "already exists",
    "circular dependency",
    "database is locked",
    "database schema is locked",
    "duplicate column",
    "no such column",
    "no such constraint",
    "no such index",
    "no such table",
    "online migration expected",
    "out-of-date database schema",
    "unique constraint failed",
)

T = TypeVar("T")


def path_of(uri: str) -> Path | None:
    """The file that a tracking URI names, None where it names something else."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    database = make_url(uri).database
    return None if not database or database == ":memory:" else Path(database).absolute()


def made(path: Path, first_call: Callable[[], object], seconds: float) -> None:
    """Have MLflow make its tables, though other processes have the same in mind.

    Args:
        path: The file.
        first_call: Has MLflow open it.
        seconds: How long that may take.
    """
    until = time.monotonic() + seconds
    if path.exists():
        wait_until_free(path, seconds)
    with _turn(path, until):
        again(first_call, until, _BEING_MADE)


def again(call: Callable[[], T], until: float, passing: tuple[str, ...] = ("is locked",)) -> T:
    """Call until it succeeds or fails for another reason than others at work on the database."""
    while True:
        try:
            return call()
        except Exception as error:
            told = str(error).lower()
            if time.monotonic() > until or not any(text in told for text in passing):
                raise
        time.sleep(PAUSE)


def patient(path: Path, call: Callable[[], T], time_left: Callable[[], float]) -> T:
    """Call MLflow, once nobody else holds the file.

    Args:
        path: The file.
        call: Has MLflow use it.
        time_left: Tells how many seconds that may take.

    Raises:
        TimeoutError: It is held for longer.
    """
    # The caller gives up at the end of that time, and with fewer words than are known here.
    seconds = min(time_left() * 0.95, LONGEST)
    until = time.monotonic() + seconds
    if path.exists():
        wait_until_free(path, seconds)
    return again(call, until)


def wait_until_free(path: Path, seconds: float) -> None:
    """Wait for a lock that another process holds; MLflow itself would wait for 20 s.

    Raises:
        TimeoutError: It is held for longer.
    """
    address = f"file:{quote(str(path))}?mode=rw"
    try:
        with contextlib.closing(
            sqlite3.connect(address, timeout=seconds, uri=True, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise TimeoutError(f"{path}: {error}, by another process") from error
        # Whatever else there is to say of the file, MLflow says it better.


@contextlib.contextmanager
def _turn(path: Path, until: float) -> Iterator[None]:
    """One process at a time: two that make the tables at once can leave them broken for good.

    Raises:
        TimeoutError: Another process makes them for longer.
    """
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    try:
        import fcntl

        lock = open_plain(
            Path(tempfile.gettempdir()) / f"delve-mlflow-{name}.lock", os.O_RDWR | os.O_CREAT
        )
    except (ImportError, OSError):  # Windows, or another user's file
        yield
        return
    try:
        while not _locked(fcntl.flock, lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if time.monotonic() > until:
                raise TimeoutError(f"{path}: its tables are still being made, by another process")
            time.sleep(PAUSE)
        yield
    finally:
        os.close(lock)


def _locked(flock: Callable[[int, int], None], file: int, operation: int) -> bool:
    """Whether the lock was got, or there are none here."""
    try:
        flock(file, operation)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
