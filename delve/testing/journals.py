"""What the journal of a run holds, read line by line, for tests to compare a backend with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def journal_lines(folder: Path, damaged: bool = False) -> Iterator[dict[str, Any]]:
    """The objects of the journal's lines; with ``damaged`` what is no object is passed over."""
    return lines_of((folder / "journal.jsonl").read_bytes(), damaged)


def lines_of(journal: bytes, damaged: bool = False) -> Iterator[dict[str, Any]]:
    """The same for a journal that was read."""
    for line in journal.split(b"\n"):
        try:
            if line:
                yield json.loads(line)
        except ValueError:
            if not damaged:
                raise


def journal_entries(folder: Path, damaged: bool = False) -> dict[int, dict[str, Any]]:
    """The journal's line of each epoch, but for those that a resume or an earlier epoch made void.

    Args:
        folder: The run's folder.
        damaged: Whether lines that cannot be read are passed over.
    """
    return epochs_in_force(journal_lines(folder, damaged))


def epochs_in_force(lines: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The epochs that these lines add up to."""
    entries: dict[int, dict[str, Any]] = {}
    for entry in lines:
        if entry["type"] in ("resume", "epoch"):
            entries = {epoch: kept for epoch, kept in entries.items() if epoch < entry["epoch"]}
        if entry["type"] == "epoch":
            entries[entry["epoch"]] = entry
    return entries


def journal_rows(folder: Path, damaged: bool = False) -> dict[int, dict[str, float]]:
    """All values of each epoch in the journal, by name: what every backend should hold.

    Args:
        folder: The run's folder.
        damaged: Whether lines that cannot be read are passed over.
    """
    return {
        epoch: {
            name: float(value) for name, value in {**entry["scalars"], **entry["metrics"]}.items()
        }
        for epoch, entry in journal_entries(folder, damaged).items()
    }
