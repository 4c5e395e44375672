"""The ``delve`` command, and what it shows of recorded runs.

Public is what stands here: for those who add a command of their own by an entry point of the group
``delve.commands``, whose name is the command's and whose object is a :class:`click.Command`. But
for the command itself it is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from delve.cli.commands import main
from delve.cli.options import LocalPath, epoch_option, run_argument, runs_argument, stats_option

if TYPE_CHECKING:
    from delve.base.printable import one_line, printable
    from delve.cli.bars import merge_orders
    from delve.cli.choice import Choice, choose_stats, shown_together
    from delve.cli.facts import flat_config
    from delve.cli.labels import run_labels, shorten
    from delve.cli.report import Cell, LayerTable, layer_table
    from delve.cli.runs import (
        read_recorded,
        run_names,
        runs_below,
        warn_of_damage,
        with_printable_layers,
    )
    from delve.cli.sweep import differing, keys_named
    from delve.cli.tail import TAIL_LABEL, stretches
    from delve.cli.terminal import say
    from delve.journal.stored_run import StoredRun

__all__ = [
    "TAIL_LABEL",
    "Cell",
    "Choice",
    "LayerTable",
    "LocalPath",
    "StoredRun",
    "choose_stats",
    "differing",
    "epoch_option",
    "flat_config",
    "keys_named",
    "layer_table",
    "main",
    "merge_orders",
    "one_line",
    "printable",
    "read_recorded",
    "run_argument",
    "run_labels",
    "run_names",
    "runs_argument",
    "runs_below",
    "say",
    "shorten",
    "shown_together",
    "stats_option",
    "stretches",
    "warn_of_damage",
    "with_printable_layers",
]

_HOMES = {
    "delve.base.printable": ("one_line", "printable"),
    "delve.cli.bars": ("merge_orders",),
    "delve.cli.choice": ("Choice", "choose_stats", "shown_together"),
    "delve.cli.facts": ("flat_config",),
    "delve.cli.labels": ("run_labels", "shorten"),
    "delve.cli.report": ("Cell", "LayerTable", "layer_table"),
    "delve.cli.runs": (
        "read_recorded",
        "run_names",
        "runs_below",
        "warn_of_damage",
        "with_printable_layers",
    ),
    "delve.cli.sweep": ("differing", "keys_named"),
    "delve.cli.tail": ("TAIL_LABEL", "stretches"),
    "delve.cli.terminal": ("say",),
    "delve.journal.stored_run": ("StoredRun",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for first."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = found
    return found
