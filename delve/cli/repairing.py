"""``delve repair``: what it says of a journal that was written anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from delve.cli.runs import counted
from delve.cli.terminal import say
from delve.delivery import repair as rewriting
from delve.delivery.repair import Repair, Source
from delve.errors import ArgumentError, WriterNotFoundError
from delve.records import enumerate_epochs


def repair(run: Path, names: Sequence[str]) -> None:
    """Write a run's journal anew from these writers, and tell of it."""
    try:
        lines = list(_told(rewriting.repair(run, names)))
    except WriterNotFoundError as error:  # which speaks of the tracker's argument
        raise ArgumentError(str(error).replace("save_to:", "--from:", 1)) from error
    for line in lines:
        say(line)


def _told(done: Repair) -> Iterator[str]:
    """What was found and done, in lines."""
    if not done.is_new:
        yield f"{done.path} is whole and knows all that was found: {_epochs(done.epochs)}"
        return
    yield f"{done.path}: {_epochs(done.own) if done.own else 'no epoch'} of its own"
    yield from map(_source, done.sources)
    yield f"{done.path} written anew: {_epochs(done.epochs)}"
    if done.kept:
        yield f"the damaged one is kept as {done.kept}"
    missing = sorted(set(range(max(done.epochs))) - set(done.epochs))
    if missing:
        yield f"nothing holds {_epochs(missing)}"
    if done.guessed_times:
        yield f"nothing tells the times of {_epochs(done.guessed_times)}; they are guessed"
    yield from _identity(done)
    yield f"go on with initial_epoch='auto', which is {max(done.epochs) + 1}"


def _source(source: Source) -> str:
    if source.error:
        return f"{source.writer}: cannot be read ({source.error})"
    told = f"{source.writer}: holds {_epochs(source.epochs)}"
    if source.is_of_earlier_run:
        return f"{told}, all of an earlier run, and is passed over"
    if source.difference.epochs:
        told += f"; differs at {_epochs(source.difference.epochs)} from what is named above"
    if source.difference.ever_after is not None:
        told += (
            f"; differs from epoch {source.difference.ever_after} on from what is named above, and "
            "is cut there when it is opened next"
        )
    if not source.taken:
        return f"{told}; nothing of it was lacking"
    digits = "" if source.is_exact else ", in single precision"
    return f"{told}; took {_epochs(source.taken)}{digits}"


def _identity(done: Repair) -> Iterator[str]:
    if not done.is_same_run:
        yield f"which run it was is lost: it is run {done.run_id} from now on"
    if done.states:
        yield f"what writers remember is kept: {', '.join(done.states)}"
    elif done.is_same_run:
        yield "what writers remember is lost: remote runs are looked for by the run's id"
    else:
        yield "what writers remember is lost too: remote backends begin runs of their own"


def _epochs(epochs: Sequence[int]) -> str:
    return counted("epoch", enumerate_epochs(epochs))
