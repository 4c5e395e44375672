"""What the commands say on a terminal: tables, and faults in one line."""

from __future__ import annotations

import errno
import select
import sys
import textwrap
from collections.abc import Iterator, Sequence

import click

from delve.base.printable import printable

_GAP = "  "
_NARROWEST = 30  # characters of a last column that is wrapped


def say(line: object, err: bool = False) -> None:
    """Print one line, of which the terminal obeys nothing. All that commands say goes through it.

    Args:
        line: What to say.
        err: Whether to say it on stderr.
    """
    click.echo(printable(line), err=err)


def table_lines(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Rows as lines, each column as wide as its widest cell; the last one is wrapped."""
    rows = [[printable(cell) for cell in row] for row in rows]
    *sizes, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    indent = sum(sizes) + len(_GAP) * len(sizes)
    room = max(width - indent, _NARROWEST)
    for *cells, last in rows:
        begun = "".join(f"{cell:<{size}}{_GAP}" for cell, size in zip(cells, sizes, strict=True))
        first, *more = textwrap.wrap(last, room) or [""]
        yield f"{begun}{first}".rstrip()
        yield from (" " * indent + line for line in more)


def check_reader() -> None:
    """End the command quietly where nobody reads its output any more, such as after ``| head``.

    Raises:
        BrokenPipeError: Nobody does.
    """
    try:
        output = sys.stdout.fileno()
    except OSError:  # it is no file
        return
    if hasattr(select, "poll"):  # not on Windows
        poll = select.poll()
        poll.register(output, 0)  # errors are told of in any case
        if poll.poll(0):
            raise BrokenPipeError(errno.EPIPE, "nobody reads the output")


def one_line(error: object) -> str:
    """A message without its line breaks, and without what a terminal would obey."""
    return printable(" ".join(str(error).split()))
