"""The ``delve`` command: what is installed, what was recorded, and where else to send it."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

import delve
from delve import export as replay
from delve import plugins, tools
from delve.cli import bars, facts, health, pictures
from delve.cli.report import as_json, choose_stats, layer_table
from delve.cli.terminal import CommandGroup, one_line, print_table
from delve.discovery import GROUP
from delve.recorded_run import read_run
from delve.records import enumerate_epochs

FAILED = 1  # something is wrong with a run or a writer; a wrong call exits with 2, as click does

RUN = click.Path(path_type=Path)  # a folder that is none is told of by the reader of journals


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(delve.__version__, prog_name="delve")
def main() -> None:
    """Look at recorded runs, draw them, and send them to further backends.

    RUN is always a run's folder: the savefile of its tracker.

    Examples:
      delve show runs/a                      a run at a glance
      delve show runs/a runs/b               two runs side by side
      delve export runs/a --to mlflow        send a recorded run to MLflow
      delve plot runs/a runs/b --out plots   both in one picture

    Exit codes:
      0  all is well
      1  something is wrong with a run or a writer
      2  the command was called wrongly

    Completion by the shell, bash here, or zsh or fish:
      eval "$(_DELVE_COMPLETE=bash_source delve)"
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no bars shows ? for them


@main.command()
def writers() -> None:
    """List the installed writers.

    It says of each whether it can work, and exits with 1 if one cannot.

    Example:
      delve writers
    """
    found = health.installed()
    rows = [("NAME", "DISTRIBUTION", "VERSION", "STATE")]
    for writer in found:
        state = f"needs writer_args: {', '.join(writer.needs)}" if writer.needs else "healthy"
        state = one_line(writer.problem) if writer.problem else state
        rows.append((writer.name, writer.distribution, writer.version, state))
    print_table(rows)
    for name, plugin in health.not_installed().items():
        click.echo(f"{name}: not installed; pip install ./delve_plugins/{plugin} in a checkout")
    if any(writer.problem for writer in found):
        sys.exit(FAILED)


@main.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RUN)
@click.option("--stat", "stats", multiple=True, metavar="STAT", help="lsat, saturation, ...")
@click.option("--epoch", type=int, help="The last one that holds the statistic by default.")
@click.option("--json", "is_json", is_flag=True, help="Print a list of runs for programs.")
def show(runs: Sequence[Path], stats: Sequence[str], epoch: int | None, is_json: bool) -> None:
    """Show runs at a glance.

    Several stand side by side. What was recorded, the last and best value of your scalars, and for
    each layer in forward order its saturation in training and evaluation.

    Examples:
      delve show runs/a
      delve show runs/a --stat lsat --stat idim --epoch 3
      delve show runs/a runs/b
      delve show runs/a --json | jq '.[0].scalars.accuracy.best'
    """
    recorded = [read_run(run) for run in runs]
    chosen = [
        [layer_table(run, stat, epoch) for stat in choose_stats(run, stats)] for run in recorded
    ]
    if is_json:
        pairs = zip(recorded, chosen, strict=True)
        click.echo(json.dumps([as_json(run, tables) for run, tables in pairs], indent=2))
        return
    width = shutil.get_terminal_size().columns
    names = facts.run_names(recorded)
    lines = facts.facts(recorded, width)
    for stat in dict.fromkeys(table.stat for tables in chosen for table in tables):
        held = [
            (name, table)
            for name, tables in zip(names, chosen, strict=True)
            for table in tables
            if table.stat == stat
        ]
        shown, its_tables = [name for name, _ in held], [table for _, table in held]
        lines += ["", *bars.layer_bars(shown, its_tables, width)]
        lines += bars.notes(shown, its_tables, width)
    click.echo("\n".join(lines))


def _complete_writer(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    return [name for name in sorted(plugins.offers(GROUP)) if name.startswith(begun)]


@main.command()
@click.argument("run", metavar="RUN", type=RUN)
@click.option(
    "--to",
    "names",
    multiple=True,
    required=True,
    metavar="WRITER",
    shell_complete=_complete_writer,
    help="Repeat it for more.",
)
def export(run: Path, names: Sequence[str]) -> None:
    """Send a recorded run to further writers.

    The run may be finished or crashed; its times are kept. Each writer gets what it lacks, so a
    second time changes nothing. What the backend needs to know comes from its own variables, such
    as MLFLOW_TRACKING_URI or WANDB_PROJECT. Arrays are not sent: the journal holds numbers.

    Examples:
      delve export runs/a --to mlflow
      delve export runs/a --to csv --to tensorboard
      WANDB_PROJECT=thesis delve export runs/a --to wandb
    """
    failed = False
    with _quiet("delve.delivery"):  # whose words are for a training that goes on
        for outcome in replay.export(run, list(names)):
            epochs = enumerate_epochs(outcome.epochs) if outcome.epochs else "none"
            if outcome.error is None:
                has = f"sent epochs {epochs}" if outcome.epochs else "had all epochs"
                click.echo(f"{outcome.writer}: {has}")
            else:
                failed = True
                error = one_line(outcome.error).removeprefix(f"writer {outcome.writer!r}: ")
                click.echo(f"Error: {outcome.writer}: {error} (epochs sent: {epochs})", err=True)
    if failed:
        sys.exit(FAILED)


@main.command()
@click.argument("run", metavar="RUN", type=RUN)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    required=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="The share of the variance that counts as explained. Repeat it for more.",
)
@click.option("--epoch", type=int, help="Default: the last one, and all of them with --csv.")
@click.option("--csv", "table", type=click.Path(path_type=Path), help="Write a table to a file.")
def recompute(
    run: Path, thresholds: Sequence[float], epoch: int | None, table: Path | None
) -> None:
    """Compute saturation at other thresholds.

    And intrinsic dimensionality, from the covariances, which save_to="npy" with stats=["cov"]
    stores.

    Examples:
      delve recompute runs/a --threshold 0.95
      delve recompute runs/a --threshold 0.9 --threshold 0.999 --csv table.csv
    """
    stored = tools.stored_covariances(run, epoch)
    if table is None:
        last = stored[-1].epoch
        rows = tools.recompute([one for one in stored if one.epoch == last], thresholds)
        click.echo(f"epoch {last}\n")
        print_table(
            [
                ("LAYER", "MODE", "THRESHOLD", "SATURATION", "DIMENSIONALITY"),
                *(
                    (
                        row.layer,
                        row.mode,
                        f"{row.threshold:g}",
                        f"{row.saturation:.1%}",
                        f"{row.intrinsic_dimensionality:g}",
                    )
                    for row in rows
                ),
            ]
        )
        return
    tools.write_table(tools.recompute(stored, thresholds), table)
    click.echo(table)


@main.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RUN)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=".",
    help="A folder; default: the current one.",
)
@click.option("--stat", "stats", multiple=True, metavar="STAT", help="lsat, saturation, ...")
@click.option("--epoch", type=int, help="The last one that holds the statistic by default.")
def plot(runs: Sequence[Path], out: Path, stats: Sequence[str], epoch: int | None) -> None:
    """Draw pictures of recorded runs.

    Of several runs, one picture that compares them.

    Examples:
      delve plot runs/a
      delve plot runs/a --stat idim --epoch 3 --out pictures
      delve plot runs/a runs/b runs/c --out pictures
    """
    recorded = [read_run(run) for run in runs]
    names = facts.run_names(recorded)
    for stat in choose_stats(recorded[0], stats):
        if len(recorded) > 1:
            click.echo(pictures.draw_comparison(recorded, names, stat, out, epoch))
        else:
            for path in pictures.draw_run(recorded[0], names[0], stat, out, epoch):
                click.echo(path)


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
