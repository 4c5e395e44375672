"""What the commands say on a terminal: tables, and faults in one line."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import click

from delve.errors import DelveError


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
        except (DelveError, OSError) as error:
            if isinstance(error, BrokenPipeError):  # such as of `| head`, which click sees to
                raise
            raise click.ClickException(one_line(error)) from error


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def one_line(error: object) -> str:
    """A message without its line breaks."""
    return " ".join(str(error).split())


def _keep_examples(text: str | None) -> str:
    """Mark the paragraphs that click is not to fill."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(f"\b\n{p}" if "\n  " in p else p for p in paragraphs)
