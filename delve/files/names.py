"""Names of files: safe ones for metrics and layers, and those that are still free."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

MAX_NAME_LENGTH = 150

_REFUSED = re.compile(r"[^A-Za-z0-9._-]")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows
_DIGEST_LENGTH = 8
_DIGEST = re.compile(rf"-[0-9a-f]{{{_DIGEST_LENGTH}}}\Z")


def file_name(name: str) -> str:
    """A metric's or layer's name as the name of one file or folder, the same in every run.

    A name that can stand as it is does. One that has to be changed ends in a digest of the
    original, so that two names never meet in one file; nor does one stand that ends like that. On
    a disk that takes ``Conv`` and ``conv`` for the same they do meet.
    """
    cleaned = _REFUSED.sub("_", name)
    is_taken = _DEVICE.fullmatch(name) or ends_in_digest(name)
    fits = 0 < len(name) <= MAX_NAME_LENGTH and not name.startswith(".")
    if cleaned == name and fits and not is_taken:
        return name
    return with_digest("_" + cleaned.lstrip("."), name, MAX_NAME_LENGTH)


def with_digest(cleaned: str, name: str, max_length: int) -> str:
    """``cleaned``, which ``name`` had to become, told apart from what other names become.

    A name that :func:`ends_in_digest` must not stand as it is beside such names.
    """
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    return f"{cleaned[: max_length - len(digest) - 1]}-{digest}"


def ends_in_digest(name: str) -> bool:
    """Whether a name looks like one that :func:`with_digest` has made."""
    return _DIGEST.search(name) is not None


def names_for(path: Path) -> Iterator[Path]:
    """The path, then what a writer calls its file where that name is another program's.

    ``metrics.csv``, ``metrics-delve.csv``, ``metrics-delve-2.csv`` and so on, without an end.
    """
    yield path
    for number in itertools.count(1):
        count = f"-{number}" if number > 1 else ""
        yield path.with_name(f"{path.stem}-delve{count}{path.suffix}")


def taken_names(path: Path) -> list[Path]:
    """Those of :func:`names_for` at which there is something, be it a link that leads nowhere."""
    others = itertools.takewhile(os.path.lexists, itertools.islice(names_for(path), 1, None))
    return [*([path] if os.path.lexists(path) else []), *others]


def free_name(path: Path) -> Path:
    """The first of :func:`names_for` at which there is nothing."""
    return next(name for name in names_for(path) if not os.path.lexists(name))
