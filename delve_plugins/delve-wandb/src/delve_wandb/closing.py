"""What a run gets when it ends, in its summary: notes on the network, the last epoch's figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wandb import Run

from delve.base import get_logger
from delve.journal import run_notes
from delve.records import RunInfo

NOTES = "delve/notes"  # the key of the sentences on the network

logger = get_logger(__name__)


def leave_notes(opened: Run, run: RunInfo, prefix: str) -> None:
    """Put what the journal tells of the network's health into the run's summary."""
    try:
        notes = run_notes(run.savefile)
        if notes or run.state.get("noted"):
            told = "\n".join(f"- {note}" for note in notes) or "nothing any more"
            opened.summary[f"{prefix}{NOTES}"] = told
            run.remember(noted=bool(notes))
    except Exception as failure:  # the numbers are there; so are the notes, in `delve show`
        logger.debug("notes that W&B does not take", exc_info=failure)


def leave_figures(opened: Run, figures: Mapping[str, Any]) -> None:
    """Put figures of the last epoch into the run's summary: its row is closed already."""
    try:
        for key, figure in figures.items():
            opened.summary[key] = figure
    except Exception as failure:
        logger.debug("a figure that W&B does not take", exc_info=failure)
