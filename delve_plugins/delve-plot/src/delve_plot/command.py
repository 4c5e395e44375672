"""``delve plot``: figures of recorded runs, drawn after the fact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from delve.cli import (
    LocalPath,
    choose_stats,
    epoch_option,
    read_recorded,
    run_names,
    runs_argument,
    say,
    shown_together,
    stats_option,
    warn_of_damage,
    with_printable_layers,
)
from delve.errors import ArgumentError


@click.command()
@runs_argument
@click.option(
    "--out",
    type=LocalPath(file_okay=False),
    default=".",
    help="A folder; default: the current one.",
)
@stats_option
@epoch_option
def plot(runs: Sequence[Path], out: Path, stats: Sequence[str], epoch: int | None) -> None:
    """Draw figures of recorded runs.

    Of several runs, one figure that compares them. The names of files begin with those of the
    runs, and with a few letters that tell runs of one name apart.

    Examples:
      delve plot runs/a
      delve plot runs/a --stat idim --epoch 3 --out figures
      delve plot runs/a runs/b runs/c --out figures
    """
    from delve_plot.recorded import draw_comparison, draw_run  # Matplotlib, which help needs not

    recorded = [with_printable_layers(read_recorded(run)) for run in runs]
    warn_of_damage(*recorded)
    names = run_names(recorded)
    chosen = shown_together(choose_stats(recorded[0], stats))
    if not chosen:
        what = "statistic of a layer" if recorded[0].epochs else "epoch"
        raise ArgumentError(
            f"{runs[0]}: the run has recorded no {what}, so there is nothing to draw"
        )
    for choices in chosen.values():
        if len(recorded) > 1:
            say(draw_comparison(recorded, names, choices[0], out, epoch))
        else:
            for path in draw_run(recorded[0], names[0], choices, out, epoch):
                say(path)
