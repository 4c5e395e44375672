"""What several commands take, and what a shell offers to complete it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from delve.base import entry_points as plugins
from delve.base.local_path import local_path
from delve.errors import ArgumentError, DelveError

_WRITERS = "delve.writers"  # the group of their entry points


def _complete_run(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    return [CompletionItem(begun, type="dir")]


def _complete_writer(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    return [name for name in sorted(plugins.offers(_WRITERS)) if name.startswith(begun)]


def _complete_stat(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    from delve.records import MODES

    # An option without a value keeps click from telling which of the words before are runs.
    keys = _recorded_keys(context.params.get("runs") or context.args)
    modes = MODES if "_" in begun else ()  # which would treble a list of all
    names = [*keys, *(f"{key}_{mode}" for key in keys for mode in modes)]
    return [name for name in names if name.startswith(begun)]


def _recorded_keys(runs: Sequence[str | Path]) -> list[str]:
    """The statistics of the first run that stands in the line; all where none does."""
    from delve.cli.choice import recorded_stats
    from delve.journal.stored_run import read_run
    from delve.stats.registry import installed_keys, key_of, number_keys

    try:
        held = [key_of(stat) for run in runs[:1] for stat in recorded_stats(read_run(Path(run)))]
    except DelveError:
        held = []
    return list(dict.fromkeys(held or (*number_keys(), *installed_keys())))


class LocalPath(click.Path):
    """A path on this machine; ``~`` is somebody's home also where the shell left it alone.

    Shells replace it at the beginning of a word, so not in ``--out=~/figures``, nor in quotes.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """The path.

        Raises:
            click.BadParameter: It is none of this machine, or not of the kind that is wanted.
        """
        name = param.human_readable_name if param else "path"
        try:
            path = local_path(name, value)
        except ArgumentError as error:
            self.fail(str(error).removeprefix(f"{name}: "), param, ctx)
        return super().convert(path, param, ctx)


_FOLDER = LocalPath()  # one that is no run is told of by the reader of journals

run_argument = click.argument("run", metavar="RUN", type=_FOLDER, shell_complete=_complete_run)

optional_run_argument = click.argument(
    "run", metavar="[RUN]", required=False, type=_FOLDER, shell_complete=_complete_run
)

runs_argument = click.argument(
    "runs",
    metavar="RUN...",
    nargs=-1,
    required=True,
    type=_FOLDER,
    shell_complete=_complete_run,
)

writers_option = click.option(
    "--to",
    "names",
    multiple=True,
    required=True,
    metavar="WRITER",
    shell_complete=_complete_writer,
    help="csv, mlflow, ... as delve writers lists them. May be repeated.",
)

sources_option = click.option(
    "--from",
    "names",
    multiple=True,
    metavar="WRITER",
    shell_complete=_complete_writer,
    help="Read this backend: csv, npy, tensorboard. May be repeated. Default: all that are there.",
)


class _StatOption(click.Option):
    """The option whose help lists the statistics, which are looked up when it is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """What stands in the help."""
        from delve.stats.registry import number_keys

        self.help = (
            f"A recorded statistic: {', '.join(number_keys())}, one that is installed, or its long "
            "name; with _train or _eval for one mode alone. May be repeated. Default: lsat, else "
            "the first one."
        )
        return super().get_help_record(ctx)


stats_option = click.option(
    "--stat",
    "stats",
    cls=_StatOption,
    multiple=True,
    metavar="STAT",
    shell_complete=_complete_stat,
)

epoch_option = click.option(
    "--epoch", type=int, help="Default: the last one that holds the statistic."
)
