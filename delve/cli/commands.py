"""The commands of ``delve``: what is installed, what was recorded, and where else to send it.

They are declared here. What a command does is imported when it is run: help and completion, which
a person waits for, take nothing but click.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

import delve
from delve.cli.group import CommandGroup
from delve.cli.options import (
    LocalPath,
    epoch_option,
    optional_run_argument,
    run_argument,
    runs_argument,
    sources_option,
    stats_option,
    writers_option,
)

FAILED = 1  # something is wrong with a run or a writer; a wrong call exits with 2, as click does


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(delve.__version__, prog_name="delve")
def main() -> None:
    """Look at recorded runs, draw them, and send them to further backends.

    RUN is a run's folder, the savefile of its tracker; show and plot take a folder of runs too.

    Examples:
      delve show runs/a                      a run at a glance
      delve show runs/a runs/b               two runs side by side
      delve show runs --sort accuracy        all runs of a folder, the best first
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
@optional_run_argument
def writers(run: Path | None) -> None:
    """List the installed writers, or where those of RUN show it.

    It says of each whether it can work, and exits with 1 if one cannot. With RUN it says where to
    look at that run instead: the address of its page, and what has to be started for that.

    Example:
      delve writers
      delve writers runs/a
    """
    from delve.cli import health

    if run is not None:
        health.tell_pages(run)
    elif not health.tell():
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
    from delve.cli import statistics

    statistics.tell(is_json)


@main.command()
@runs_argument
@stats_option
@epoch_option
@click.option("--json", "is_json", is_flag=True, help="Print a list of runs for programs.")
@click.option("--csv", "is_csv", is_flag=True, help="Print one row for each run, as CSV.")
@click.option("--sort", metavar="KEY", help="Sort runs by a scalar, a hyperparameter, when, ...")
@click.option(
    "--layers",
    multiple=True,
    metavar="GLOB",
    help="Show these layers alone; of many runs each, and not their mean. May be repeated.",
)
@click.option(
    "--where",
    multiple=True,
    metavar="KEY=VALUE",
    help="Show the runs alone with this hyperparameter. May be repeated.",
)
def show(
    runs: Sequence[Path],
    stats: Sequence[str],
    epoch: int | None,
    is_json: bool,
    is_csv: bool,
    sort: str | None,
    layers: Sequence[str],
    where: Sequence[str],
) -> None:
    """Show runs at a glance.

    Several stand side by side, and those of a folder in a row each: status, the hyperparameters in
    which they differ, last and best scalars, and one statistic, the mean of all layers. Of one run
    it is what was recorded, the last and best value of your scalars, and for each layer in forward
    order its saturation in training and evaluation.

    Examples:
      delve show runs/a
      delve show runs/a --stat lsat_eval --stat idim --epoch 3
      delve show runs/a runs/b
      delve show runs --sort accuracy --where lr=0.1
      delve show runs/a --json | jq '.[0].scalars.accuracy.best'
    """
    from delve.cli import showing

    selection = showing.Selection(sort, tuple(layers), tuple(where), is_csv)
    showing.show(runs, stats, epoch, is_json, selection)


@main.command()
@run_argument
@writers_option
@click.option(
    "--set",
    "options",
    multiple=True,
    metavar="[WRITER.]NAME=VALUE",
    help="Give a writer an argument, as writer_args does. May be repeated.",
)
def export(run: Path, names: Sequence[str], options: Sequence[str]) -> None:
    """Send a recorded run to further writers.

    The run may be finished or crashed; its times are kept. Each writer takes what it lacks, or
    cannot tell that it holds, and replaces what it held of that: a second time may send again, and
    changes no value. W&B offline gets one more local segment each time; earlier ones are marked, so
    that wandb sync passes them over. What the backend needs to know comes from its own variables,
    such as MLFLOW_TRACKING_URI or WANDB_PROJECT. Arrays are not sent: the journal holds numbers.

    Examples:
      delve export runs/a --to mlflow
      delve export runs/a --to csv --to tensorboard
      delve export runs/a --to mlflow --set mlflow.run_name=width64
      WANDB_PROJECT=thesis delve export runs/a --to wandb
    """
    from delve.cli import exporting

    if not exporting.export(run, names, options):
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
    from delve.cli import recomputing

    recomputing.recompute(run, thresholds, epoch, table)


@main.command()
@run_argument
@sources_option
def repair(run: Path, names: Sequence[str]) -> None:
    """Write a damaged or lost journal anew.

    From what it still tells, and from what the local backends hold: csv, npy, TensorBoard, and
    writers of others that can be read back. Those with exact values come first; one that differs
    counts for nothing from there on. The damaged journal is kept beside it as journal.1.jsonl, and
    nothing else is changed. A journal that is whole and knows all stays as it is.

    Examples:
      delve repair runs/a
      delve repair runs/a --from csv
    """
    from delve.cli import repairing

    repairing.repair(run, names)
