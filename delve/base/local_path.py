"""Paths as people write them: ``~`` is somebody's home, and an address of a store is no path."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from delve.errors import ArgumentError

# One slash too, because Path("s3://bucket") has lost the other. One letter is a drive.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/.*", re.DOTALL)
_ON_WINDOWS = re.compile(r"([A-Za-z]:[\\/]|\\\\|[.~]{1,2}\\).*", re.DOTALL)


def local_path(argument: str, path: str | os.PathLike[str]) -> Path:
    """The path on this machine, with ``~`` and ``~user`` replaced by that user's home.

    Args:
        argument: What the path was given as, for messages.
        path: The path.

    Raises:
        ArgumentError: It is the address of a store, a path of Windows elsewhere, in the home of
            nobody, or holds what no path can.
    """
    # By its text: a path object of a store may fetch a copy when it is asked for a local path.
    if _ADDRESS.fullmatch(str(path)):
        raise ArgumentError(_address(argument, str(path)))
    given = os.fspath(path)
    if os.name != "nt" and _ON_WINDOWS.fullmatch(given):
        raise ArgumentError(
            f"{argument}: {given!r} is a path of Windows, which this system would take for a name; "
            "write a path of this system, such as runs/a"
        )
    if "\0" in given:
        raise ArgumentError(f"{argument}: {given!r} holds a NUL, which no path can; leave it out")
    try:
        os.fsencode(given)
        return Path(given).expanduser() if given.startswith("~") else Path(given)
    except UnicodeEncodeError as error:
        raise ArgumentError(
            f"{argument}: {given!r} cannot be written in the encoding of this system's file names; "
            "choose another name"
        ) from error
    except RuntimeError as error:
        raise ArgumentError(
            f"{argument}: {given!r} is in the home of a user that this machine does not know; "
            "write the path in full, or ./~ for a folder of that name"
        ) from error


def _address(argument: str, address: str) -> str:
    if address.startswith("file:"):
        path = "/" + address.removeprefix("file:").lstrip("/")
        return f"{argument}: {address!r} is an address; give the path alone: {PurePosixPath(path)}"
    return (
        f"{argument}: {address!r} is the address of a store, and Delve writes to folders of this "
        "machine; name a local one, such as runs/a, and copy it to the store afterwards, or send "
        "the recorded run to a tracker: delve export RUN --to NAME"
    )
