"""``delve show``: runs at a glance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from delve.cli import bars, facts
from delve.cli.choice import choose_stats, shown_together
from delve.cli.notes import notes
from delve.cli.report import LayerTable, as_json, layer_table
from delve.cli.runs import find_damage, read_recorded, run_names
from delve.cli.terminal import say_parts, terminal_width
from delve.journal.stored_run import StoredRun


def show(runs: Sequence[Path], stats: Sequence[str], epoch: int | None, is_json: bool) -> None:
    """Tell of runs side by side, or of each for programs."""
    recorded = [read_recorded(run) for run in runs]
    damages = [find_damage(run) for run in recorded]
    tables = [_tables(run, stats, epoch) for run in recorded]
    flat = [[table for together in shown.values() for table in together] for shown in tables]
    if is_json:
        told = [as_json(*one) for one in zip(recorded, flat, damages, strict=True)]
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


def _tables(run: StoredRun, stats: Sequence[str], epoch: int | None) -> dict[str, list[LayerTable]]:
    """The tables of the statistics wanted, by what is shown together."""
    return {
        key: [layer_table(run, choice, epoch) for choice in choices]
        for key, choices in shown_together(choose_stats(run, stats)).items()
    }
