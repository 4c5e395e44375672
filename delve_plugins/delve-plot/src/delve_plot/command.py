"""``delve plot``: figures of recorded runs, drawn after the fact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from delve.cli import (
    LocalPath,
    StoredRun,
    choose_stats,
    epoch_option,
    one_line,
    printable,
    read_recorded,
    run_names,
    runs_argument,
    runs_below,
    say,
    shown_together,
    stats_option,
    warn_of_damage,
    with_printable_layers,
)
from delve.errors import ArgumentError, JournalError


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
@click.option(
    "--by",
    metavar="KEY",
    help="Panels for the values of a hyperparameter, or: type (of layers), layer, run. Default: "
    "what suits the runs.",
)
def plot(
    runs: Sequence[Path], out: Path, stats: Sequence[str], epoch: int | None, by: str | None
) -> None:
    """Draw figures of recorded runs.

    Of several runs, or all that a folder holds, one figure that compares them. Up to seven have a
    colour each. More have panels for a hyperparameter in which they differ, and colours for
    another; where they differ in none, each has a panel. More than twelve layers that repeat in
    blocks, as those of Transformers, are drawn by type, over the depth.

    The names of files begin with those of the runs, and with a few letters that tell runs of one
    name apart. A file that Delve did not draw is never replaced.

    Examples:
      delve plot runs/a
      delve plot runs/a --stat idim --epoch 3 --out figures
      delve plot runs/a runs/b runs/c --out figures
      delve plot runs/sweep --by width
    """
    # Matplotlib, which help needs not
    from delve_plot.loaded import first_choices, holding
    from delve_plot.recorded import draw_comparison, draw_run

    below = runs_below(runs)
    found = _read_all(below) if below else {}
    recorded = list(found.values()) or [with_printable_layers(read_recorded(run)) for run in runs]
    warn_of_damage(*recorded)
    chosen = shown_together(
        first_choices(recorded, stats) if below else choose_stats(recorded[0], stats)
    )
    if not chosen:
        what = "statistic of a layer" if any(run.epochs for run in recorded) else "epoch"
        whose = "the runs have" if below else "the run has"
        raise ArgumentError(f"{runs[0]}: {whose} recorded no {what}, so there is nothing to draw")
    for choices in chosen.values():
        named = list(zip(run_names(recorded), recorded, strict=True))
        within = ""
        if below:
            named = list(holding(found, choices[0], epoch, _say_left_out).items())
            within = printable(runs[0].resolve().name) if len(runs) == 1 else ""
        names, held = [name for name, _ in named], [run for _, run in named]
        if len(held) > 1:
            say(draw_comparison(held, names, choices[0], out, epoch, by, within))
        else:
            for path in draw_run(held[0], names[0], choices, out, epoch, by):
                say(path)


def _read_all(places: Mapping[Path, str]) -> dict[str, StoredRun]:
    """The runs that can be read, by their names."""
    found = {}
    for folder, name in places.items():
        try:
            found[printable(name)] = with_printable_layers(read_recorded(folder))
        except JournalError as error:
            _say_left_out(str(error))
    if not found:
        raise JournalError("none of the runs can be read")
    return found


def _say_left_out(message: str) -> None:
    say(f"Warning: left out: {one_line(message)}", err=True)
