"""The ``delve`` command: what is installed, what was recorded, and where else to send it."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

import delve
from delve import tools
from delve.cli import bars, facts, health, statistics
from delve.cli.choice import choose_stats, shown_together
from delve.cli.group import CommandGroup
from delve.cli.notes import network_notes, notes
from delve.cli.options import (
    LocalPath,
    epoch_option,
    run_argument,
    runs_argument,
    stats_option,
    writers_option,
)
from delve.cli.repairing import repair
from delve.cli.report import LayerTable, as_json, layer_table, notes_as_json
from delve.cli.runs import counted, find_damage, read_recorded, run_names, warn_of_damage
from delve.cli.terminal import check_reader, listing, one_line, say, say_parts, terminal_width
from delve.cli.thresholds import threshold_table
from delve.delivery import export as replay
from delve.errors import ArgumentError, WriterNotFoundError
from delve.journal.findings import notes_of
from delve.journal.stored_run import StoredRun
from delve.records import enumerate_epochs

FAILED = 1  # something is wrong with a run or a writer; a wrong call exits with 2, as click does


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(delve.__version__, prog_name="delve")
def main() -> None:
    """Look at recorded runs, draw them, and send them to further backends.

    RUN is always a run's folder: the savefile of its tracker.

    Examples:
      delve show runs/a                      a run at a glance
      delve show runs/a runs/b               two runs side by side
      delve export runs/a --to mlflow        send a recorded run to MLflow
      delve plot runs/a runs/b --out plots   both in one figure
      delve repair runs/a                    write a damaged journal anew

    Exit codes:
      0  all is well
      1  something is wrong with a run or a writer
      2  the command was called wrongly

    Completion by the shell, bash here, or zsh or fish:
      eval "$(_DELVE_COMPLETE=bash_source delve)"
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # what a terminal lacks a sign for is a ?


@main.command()
def writers() -> None:
    """List the installed writers.

    It says of each whether it can work, and exits with 1 if one cannot.

    Example:
      delve writers
    """
    found = health.installed()
    rows = []
    for writer in found:
        state = f"needs writer_args: {', '.join(writer.needs)}" if writer.needs else "healthy"
        state = one_line(writer.problem) if writer.problem else state
        rows.append((writer.name, writer.distribution, writer.version, state))
    say_parts(listing(("NAME", "DISTRIBUTION", "VERSION", "STATE"), rows))
    for name, plugin in health.not_installed().items():
        say(f"{name}: not installed; pip install ./delve_plugins/{plugin} in a checkout")
    if any(writer.problem for writer in found):
        sys.exit(FAILED)


@main.command("stats")
@click.option("--json", "is_json", is_flag=True, help="Print a list for programs.")
def stats_command(is_json: bool) -> None:
    """List the statistics that a tracker can compute.

    Each with its key for stats=[...], its long name in the keys of metrics, its range and source.

    Examples:
      delve stats
      delve stats --json | jq -r '.[].key'
    """
    if is_json:
        click.echo(json.dumps(statistics.as_json(), indent=2, allow_nan=False))
        return
    say_parts(*statistics.parts(), "", *statistics.sets())


@main.command()
@runs_argument
@stats_option
@epoch_option
@click.option("--json", "is_json", is_flag=True, help="Print a list of runs for programs.")
def show(runs: Sequence[Path], stats: Sequence[str], epoch: int | None, is_json: bool) -> None:
    """Show runs at a glance.

    Several stand side by side. What was recorded, the last and best value of your scalars, and for
    each layer in forward order its saturation in training and evaluation.

    Examples:
      delve show runs/a
      delve show runs/a --stat lsat_eval --stat idim --epoch 3
      delve show runs/a runs/b
      delve show runs/a --json | jq '.[0].scalars.accuracy.best'
    """
    recorded = [read_recorded(run) for run in runs]
    damages = [find_damage(run) for run in recorded]
    tables = [_tables(run, stats, epoch) for run in recorded]
    flat = [[table for together in shown.values() for table in together] for shown in tables]
    if is_json:
        told = [
            {**as_json(*one), "notes": notes_as_json(notes_of(one[0], epoch))}
            for one in zip(recorded, flat, damages, strict=True)
        ]
        click.echo(json.dumps(told, indent=2, allow_nan=False))  # which is all ASCII
        return
    width = terminal_width()
    names = facts.names_that_fit(run_names(recorded), width)
    say_parts(*facts.facts(recorded, names, damages, width))
    for key in dict.fromkeys(key for shown in tables for key in shown):
        held = [(name, one[key]) for name, one in zip(names, tables, strict=True) if key in one]
        of_runs = [name for name, _ in held], [run for _, run in held]
        say_parts("", *bars.layer_bars(*of_runs, width))
    say_parts(*notes(names, flat))
    say_parts(*network_notes(names, [notes_of(run, epoch) for run in recorded]))


@main.command()
@run_argument
@writers_option
def export(run: Path, names: Sequence[str]) -> None:
    """Send a recorded run to further writers.

    The run may be finished or crashed; its times are kept. Each writer takes what it lacks, or
    cannot tell that it holds, and replaces what it held of that: a second time may send again, and
    changes no value. W&B offline gets one more local segment each time; earlier ones are marked, so
    that wandb sync passes them over. What the backend needs to know comes from its own variables,
    such as MLFLOW_TRACKING_URI or WANDB_PROJECT. Arrays are not sent: the journal holds numbers.

    Examples:
      delve export runs/a --to mlflow
      delve export runs/a --to csv --to tensorboard
      WANDB_PROJECT=thesis delve export runs/a --to wandb
    """
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
    if failed:
        sys.exit(FAILED)


@main.command()
@run_argument
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    required=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="The share of the variance that counts as explained. May be repeated.",
)
@click.option("--epoch", type=int, help="Default: the last one, and all of them with --csv.")
@click.option(
    "--csv",
    "table",
    type=LocalPath(dir_okay=False),
    help="Write a table to a file.",
)
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
    recorded = read_recorded(run)
    stored = tools.stored_covariances(recorded.folder, epoch)
    if table is not None:
        tools.write_table(tools.recompute(stored, thresholds), table)
        say(table)
        return
    last = stored[-1].epoch
    rows = tools.recompute([one for one in stored if one.epoch == last], thresholds)
    say(f"saturation (and intrinsic dimensionality) at epoch {last}")
    record = recorded.record_of(last)
    say_parts(*threshold_table(rows, terminal_width(), record.few_samples if record else None))


main.add_command(repair)


def _tables(run: StoredRun, stats: Sequence[str], epoch: int | None) -> dict[str, list[LayerTable]]:
    """The tables of the statistics wanted, by what is shown together."""
    return {
        key: [layer_table(run, choice, epoch) for choice in choices]
        for key, choices in shown_together(choose_stats(run, stats)).items()
    }


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
