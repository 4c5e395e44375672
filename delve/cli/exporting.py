"""``delve export``: what is said of a run that was sent to further writers."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from delve.base.printable import one_line
from delve.cli.runs import counted, read_recorded, warn_of_damage
from delve.cli.terminal import check_reader, say
from delve.delivery import export as replay
from delve.errors import ArgumentError, WriterNotFoundError
from delve.records import enumerate_epochs


def export(run: Path, names: Sequence[str], options: Sequence[str] = ()) -> bool:
    """Send a run to the writers of these names; whether all took it.

    Args:
        run: The run's folder.
        names: The writers.
        options: What they are given, such as ``mlflow.run_name=a``.
    """
    given = writer_args(options)
    recorded = read_recorded(run)
    warn_of_damage(recorded)
    failed = False
    with _quiet("delve.delivery"):  # whose words are for a training that goes on
        for outcome in _outcomes(run, names, given):
            if outcome.error is None:
                say(f"{outcome.writer}: {_sent(outcome.epochs, recorded.epochs)}")
            else:
                check_reader()  # whose absence the print writer takes for its own failure
                failed = True
                error = one_line(outcome.error).removeprefix(f"writer {outcome.writer!r}: ")
                sent = _named(outcome.epochs) if outcome.epochs else "nothing"
                say(f"Error: {outcome.writer}: {error} (sent {sent})", err=True)
    return not failed


def writer_args(options: Sequence[str]) -> dict[str, Any]:
    """The writers' arguments: flat, or nested where a writer's name stands before a dot.

    A value that JSON knows, such as ``true``, ``3`` or ``null``, is that; all else is a text.

    Raises:
        ArgumentError: One gives nothing a value.
    """
    given: dict[str, Any] = {}
    for option in options:
        name, mark, text = option.partition("=")
        writer, dot, argument = name.partition(".")
        if not mark or not name or (dot and not argument):
            raise ArgumentError(f"--set: {option!r} sets nothing; write mlflow.run_name=a")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if dot:
            given.setdefault(writer, {})[argument] = value
        else:
            given[name] = value
    return given


def _outcomes(
    run: Path, names: Sequence[str], given: Mapping[str, Any]
) -> Iterator[replay.Outcome]:
    try:
        yield from replay.export(run, list(names), given)
    except (WriterNotFoundError, ArgumentError) as error:  # which speak of the tracker's arguments
        told = str(error).replace("save_to:", "--to:", 1).replace("writer_args:", "--set:", 1)
        raise ArgumentError(told) from error


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
