"""The times of a journal."""

from __future__ import annotations

import time

from delve.errors import JournalError


def now_in_ms() -> int:
    """Wall time in milliseconds since 1970; 0 where a clock was set to before that in mid-run."""
    return max(0, time.time_ns() // 1_000_000)


def check_clock() -> None:
    """Refuse a time that no line of a journal can have, and no backend."""
    seconds = time.time_ns() / 1e9
    if seconds < 0:
        raise JournalError(
            f"the clock of this machine stands {-seconds / 86_400:.1f} days before 1970, where the "
            "times of journals and backends begin; set it, for example with `date -s`"
        )
