"""The group of all commands: Delve's own, those of plugins, and faults told in one line."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from delve.base.printable import one_line, printable
from delve.cli.offered import absent_command, listed_help, offered_command, offered_names
from delve.errors import DelveError


class CommandGroup(click.Group):
    """Tells of what a user can mend in one line, without a traceback.

    Commands that other distributions offer are imported when their help is shown or they are run,
    and to be listed, unless the plugin is one of Delve's. Those of Delve itself come first: no
    plugin replaces one.

    Paragraphs of help that hold indented lines, such as examples, are shown as they are.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.help = _keep_examples(self.help)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Take a command."""
        super().add_command(_prepared(cmd), name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted({*super().list_commands(ctx), *offered_names()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; one that cannot be loaded says why when it is run."""
        if own := super().get_command(ctx, cmd_name):
            return own
        try:
            offered = offered_command(cmd_name)
        except DelveError as error:
            offered = absent_command(cmd_name, error)
        return offered and _prepared(offered)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What may stand in the place of a word: commands, and options."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=self._listed(ctx, name)) for name in names]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        names = self.list_commands(ctx)
        room = formatter.width - 6 - max(map(len, names))
        rows = [(name, self._listed(ctx, name, room)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _listed(self, ctx: click.Context, name: str, room: int = 80) -> str:
        own = name in self.commands
        if not own and (told := listed_help(name)) is not None:
            return told
        command = self.get_command(ctx, name)
        return command.get_short_help_str(room) if command else ""

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


def _explain(error: OSError) -> str:
    """The system's refusal in words, without its number."""
    if not isinstance(error.filename, str) or not error.strerror:
        return str(error)
    from delve.files.whole import unfinished_name

    path = Path(error.filename)
    whole = path.name.removeprefix(".").removesuffix(".tmp")
    if whole and path.name == unfinished_name(whole):  # a file's name until it is whole
        path = path.with_name(whole)
    return f"{path}: {error.strerror}"


def _prepared(command: click.Command) -> click.Command:
    command.help = _keep_examples(command.help)
    return command


def _keep_examples(text: str | None) -> str:
    """Mark the paragraphs that click is not to fill."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(
        f"\b\n{p}" if "\n  " in p and not p.startswith("\b") else p for p in paragraphs
    )
