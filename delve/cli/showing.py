"""``delve show``: runs at a glance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from delve.base.printable import one_line
from delve.cli import bars, facts
from delve.cli.choice import choose_stats, shown_together
from delve.cli.notes import network_notes, notes
from delve.cli.report import LayerTable, as_json, layer_table, notes_as_json
from delve.cli.runs import find_damage, read_recorded, run_names, runs_below
from delve.cli.sweep import Wanted, choose, order, read_row
from delve.cli.sweep_table import as_csv, table
from delve.cli.terminal import say, say_parts, terminal_width
from delve.errors import JournalError
from delve.journal.findings import notes_of
from delve.journal.stored_run import StoredRun


@dataclass(frozen=True)
class Selection:
    """What of many runs is shown.

    Attributes:
        sort: What they are sorted by; None: by their names.
        layers: Patterns of layers.
        where: Conditions, such as ``lr=0.1``.
        is_csv: Whether to print them as CSV.
    """

    sort: str | None = None
    layers: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    is_csv: bool = False

    @property
    def is_of_many(self) -> bool:
        """Whether it means a row for each run, also where the runs are named."""
        return bool(self.sort or self.where or self.is_csv)


def show(
    runs: Sequence[Path],
    stats: Sequence[str],
    epoch: int | None,
    is_json: bool,
    selection: Selection,
) -> None:
    """Tell of runs side by side, or of each for programs; of a folder of runs in a row each."""
    below = runs_below(runs)
    if selection.is_of_many or below:
        _show_many(below or {run: str(run) for run in runs}, stats, epoch, is_json, selection)
    else:
        _show_each(runs, stats, epoch, is_json, selection.layers)


def _show_many(
    places: Mapping[Path, str],
    stats: Sequence[str],
    epoch: int | None,
    is_json: bool,
    selection: Selection,
) -> None:
    wanted = Wanted.named([] if is_json else stats, selection.layers)
    rows = []
    for folder, name in places.items():
        try:
            rows.append(read_row(folder, name, wanted))
        except JournalError as error:
            say(f"Warning: left out: {one_line(error)}", err=True)
    chosen = order(choose(rows, selection.where), selection.sort)
    if is_json:
        _show_each([row.run.folder for row in chosen], stats, epoch, is_json)
    elif selection.is_csv:
        if chosen:
            click.echo(as_csv(chosen), nl=False)
    elif chosen:
        say_parts(*table(chosen, terminal_width(), selection.sort))
    else:
        say("no run is like that")


def _show_each(
    runs: Sequence[Path],
    stats: Sequence[str],
    epoch: int | None,
    is_json: bool,
    layers: Sequence[str] = (),
) -> None:
    recorded = [read_recorded(run) for run in runs]
    damages = [find_damage(run) for run in recorded]
    tables = [_tables(run, stats, epoch, layers) for run in recorded]
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


def _tables(
    run: StoredRun, stats: Sequence[str], epoch: int | None, layers: Sequence[str]
) -> dict[str, list[LayerTable]]:
    """The tables of the statistics wanted, by what is shown together."""
    return {
        key: [layer_table(run, choice, epoch).of_layers(layers) for choice in choices]
        for key, choices in shown_together(choose_stats(run, stats)).items()
    }
