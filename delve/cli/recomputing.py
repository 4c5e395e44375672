"""``delve recompute``: statistics at other thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from delve import tools
from delve.cli.runs import read_recorded
from delve.cli.terminal import say, say_parts, terminal_width
from delve.cli.thresholds import threshold_table


def recompute(
    run: Path, thresholds: Sequence[float], epoch: int | None, table: Path | None
) -> None:
    """Tell saturation at these thresholds, or write a table of it."""
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
