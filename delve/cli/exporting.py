"""``delve export``: what is said of a run that was sent to further writers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from delve.base.printable import one_line
from delve.cli.runs import counted, read_recorded, warn_of_damage
from delve.cli.terminal import check_reader, say
from delve.delivery import export as replay
from delve.errors import ArgumentError, WriterNotFoundError
from delve.records import enumerate_epochs


def export(run: Path, names: Sequence[str]) -> bool:
    """Send a run to the writers of these names; whether all took it."""
    recorded = read_recorded(run)
    warn_of_damage(recorded)
    failed = False
    with _quiet("delve.delivery"):  # whose words are for a training that goes on
        for outcome in _outcomes(run, names):
            if outcome.error is None:
                say(f"{outcome.writer}: {_sent(outcome.epochs, recorded.epochs)}")
            else:
                check_reader()  # whose absence the print writer takes for its own failure
                failed = True
                error = one_line(outcome.error).removeprefix(f"writer {outcome.writer!r}: ")
                sent = _named(outcome.epochs) if outcome.epochs else "nothing"
                say(f"Error: {outcome.writer}: {error} (sent {sent})", err=True)
    return not failed


def _outcomes(run: Path, names: Sequence[str]) -> Iterator[replay.Outcome]:
    try:
        yield from replay.export(run, list(names))
    except WriterNotFoundError as error:  # which speaks of the tracker's argument
        raise ArgumentError(str(error).replace("save_to:", "--to:", 1)) from error


def _sent(epochs: Sequence[int], recorded: Sequence[int]) -> str:
    """What a writer was sent, and what it held already."""
    if not epochs:
        return "had all epochs"
    sent = set(epochs)
    had = [epoch for epoch in recorded if epoch not in sent]
    return f"sent {_named(epochs)}, had {_named(had)}" if had else f"sent {_named(epochs)}"


def _named(epochs: Sequence[int]) -> str:
    return counted("epoch", enumerate_epochs(epochs))


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep back the warnings of a logger."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
