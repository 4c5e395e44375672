"""The rows of a table, read back: what is torn or damaged is passed over."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from delve.files import open_plain
from delve.records import HeldEpoch
from delve_csv.header import STEP, read_header


def rows_of(
    path: Path, is_wanted: Callable[[int], bool] = lambda _: True
) -> Iterator[tuple[int, list[str]]]:
    """Epoch and cells of each wanted, readable row; a torn or damaged one is passed over."""
    if not path.exists():
        return
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        columns = read_header(file)
        width, step = len(columns), columns.index(STEP) if STEP in columns else -1
        for line in file:
            with contextlib.suppress(ValueError, csv.Error):
                if not is_wanted(int(line.partition(b",")[0].strip(b'"'))):
                    continue
                cells = next(csv.reader([line.decode()]), [])
                if line.endswith(b"\n") and len(cells) == width:
                    numbers = [as_cell(float(cell)) if cell else "" for cell in cells[1:]]
                    if step > 0 and is_step(cells[step]):
                        numbers[step - 1] = cells[step]
                    yield int(cells[0]), [cells[0], *numbers]


def held_in(path: Path) -> Iterator[HeldEpoch]:
    """The epochs that a table of Delve's holds."""
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        names = read_header(file)[1:]
    for epoch, (_, *cells) in rows_of(path):
        if epoch >= 0:
            held = {name: c for name, c in zip(names, cells, strict=True) if c}
            step = int(held.pop(STEP)) if is_step(held.get(STEP, "")) else None
            yield HeldEpoch(epoch, {name: float(c) for name, c in held.items()}, step=step)


def is_step(cell: str) -> bool:
    """Whether it is a training step, and no scalar that a user calls so: those have a point."""
    return cell.isascii() and cell.isdecimal()


def as_cell(value: float) -> str:
    """A value as all readers take it for a number: to many of them ``nan`` is a word."""
    return "NaN" if value != value else repr(float(value))
