"""A run's ``journal.jsonl``: its format, how it is written, read, mended and locked.

Public is what stands here: what a writer may ask of the journals in a folder.
"""

from delve.journal.clock import now_in_ms
from delve.journal.findings import run_notes
from delve.journal.pages import Page, run_pages
from delve.journal.reading import JOURNAL_NAME, holds_run
from delve.journal.states import most_bytes, remembered_states
from delve.journal.stored_run import StoredRun, read_run

__all__ = [
    "JOURNAL_NAME",
    "Page",
    "StoredRun",
    "holds_run",
    "most_bytes",
    "now_in_ms",
    "read_run",
    "remembered_states",
    "run_notes",
    "run_pages",
]
