"""What the commands say on a terminal: tables, and faults in one line."""

from __future__ import annotations

import errno
import inspect
import select
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from delve.base.printable import printable
from delve.errors import DelveError
from delve.files.whole import unfinished_name

_GAP = "  "
_NARROWEST = 30  # characters of a last column that is wrapped


class CommandGroup(click.Group):
    """Tells of what a user can mend in one line, without a traceback.

    Paragraphs of help that hold indented lines, such as examples, are shown as they are.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.help = _keep_examples(self.help)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Take a command."""
        cmd.help = _keep_examples(cmd.help)
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # such as of `| head`, after which click ends quietly
            raise
        except OSError as error:
            raise click.ClickException(one_line(_explain(error))) from error
        except DelveError as error:
            raise click.ClickException(one_line(error)) from error
        except click.UsageError as error:
            told = printable(error.format_message(), keep="\n")
            raise click.UsageError(told, error.ctx) from error


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


def _explain(error: OSError) -> str:
    """The system's refusal in words, without its number."""
    if not isinstance(error.filename, str) or not error.strerror:
        return str(error)
    path = Path(error.filename)
    whole = path.name.removeprefix(".").removesuffix(".tmp")
    if whole and path.name == unfinished_name(whole):  # a file's name until it is whole
        path = path.with_name(whole)
    return f"{path}: {error.strerror}"


def _keep_examples(text: str | None) -> str:
    """Mark the paragraphs that click is not to fill."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(f"\b\n{p}" if "\n  " in p else p for p in paragraphs)
