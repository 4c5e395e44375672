"""The runs in a folder, however deep they lie."""

from __future__ import annotations

import os
import re
from pathlib import Path

from delve.journal.reading import JOURNAL_NAME

# What backends keep in a run's folder or beside it, where no run lies and many folders may.
_OF_BACKENDS = re.compile(
    r"(npy|plots|tensorboard)(-delve.*)?|wandb|mlruns|mlartifacts|__pycache__"
)
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)")


def find_runs(folder: Path) -> list[Path]:
    """The folders that hold a journal, the folder itself among them, in natural order.

    Links are not followed.
    """
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name for name in folders if not _OF_BACKENDS.fullmatch(name) and name[0] != "."
        ]
        if JOURNAL_NAME in files:
            found.append(Path(place))
    return sorted(found, key=lambda path: natural(str(path)))


def natural(text: str) -> list[tuple[int, float, str]]:
    """What texts are sorted by, so that 16 comes before 64, 64 before 256, and 0.01 before 0.1."""
    parts = _NUMBER.split(text)  # every other one is a number
    return [
        (0, float(part), "") if n % 2 else (1, 0.0, part) for n, part in enumerate(parts) if part
    ]
