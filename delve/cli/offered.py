"""Commands that other distributions add to ``delve``, by the entry point group of their names."""

from __future__ import annotations

import click

from delve.base import entry_points as plugins
from delve.base.our_plugins import how_to_install
from delve.base.printable import one_line
from delve.errors import DelveError, WriterLoadError, WriterNotFoundError

GROUP = "delve.commands"

# Commands that come with a plugin of Delve's: the plugin's name, and what stands in the list of
# commands, for which the plugin is not imported.
_OURS = {"plot": ("plot", "Draw figures of recorded runs.")}


def offered_names() -> list[str]:
    """The names of commands that plugins offer, and of those that Delve's own would."""
    return [*plugins.offers(GROUP), *_OURS]


def listed_help(name: str) -> str | None:
    """What the list of commands says of one that is a plugin of Delve's; None for all others."""
    return _OURS[name][1] if name in _OURS and name in plugins.offers(GROUP) else None


def offered_command(name: str) -> click.Command | None:
    """The command that a plugin offers under this name; None where none does.

    Raises:
        WriterNotFoundError: It comes with a plugin of Delve's that does not work here.
        WriterConflictError: More than one distribution offers it.
        WriterLoadError: It cannot be imported, or is no command.
    """
    entry_point = plugins.find(GROUP, name)
    if entry_point is None:
        if name in _OURS:
            raise WriterNotFoundError(_how_to_get(name, "which is not installed"))
        return None
    try:
        command = plugins.load(entry_point, "command")
    except WriterLoadError as error:
        if name in _OURS:
            told = f"which cannot be imported ({error.__cause__})"
            raise WriterNotFoundError(_how_to_get(name, told)) from error
        raise
    if not isinstance(command, click.Command):
        raise WriterLoadError(
            f"command {name!r}: {entry_point.value} of the distribution "
            f"{plugins.distribution(entry_point)} is no click command; update or remove that "
            "distribution"
        )
    return command


def absent_command(name: str, error: DelveError) -> click.Command:
    """What stands in for a command that cannot be loaded: it says why, whatever it is given."""

    @click.command(
        name,
        help=f"Not available.\n\n{one_line(error)}",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def absent() -> None:
        raise error

    return absent


def _how_to_get(name: str, why: str) -> str:
    plugin = _OURS[name][0]
    return f"delve {name} comes with the {plugin} plugin, {why}. {how_to_install(plugin)}"
