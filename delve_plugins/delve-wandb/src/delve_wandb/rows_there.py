"""What a W&B run that the user logs to tells of Delve's rows in it, whichever run they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wandb import Run

from delve.records import Metric
from delve_wandb.logs import EPOCH
from delve_wandb.options import Options
from delve_wandb.segments import segment_of, segments
from delve_wandb.shared_log import ATTEMPT, AXIS


def place_of(row: Mapping[str, str], prefix: str) -> str:
    """The epoch of Delve's that a row holds, as text.

    Earlier versions of Delve called it ``epoch``, as users do: theirs are rows with layer metrics.
    """
    place = row.get(prefix + AXIS)
    if place is None and not prefix and any(map(Metric.parse, row)):
        place = row.get(EPOCH)
    return place or ""


def attempts_in(opened: Run, options: Options) -> set[int]:
    """The marks of the rows that are there, 0 for rows without; of none, none.

    The summary tells of the last row, on a server, or of this process. Offline the files of earlier
    processes do.
    """
    summary: Any = opened.summary
    found: set[int] = set()
    if summary.get(options.prefix + AXIS) is not None:
        found.add(_as_attempt(summary.get(options.prefix + ATTEMPT)))
    if opened.offline:
        for segment in segments(Path(opened.settings.wandb_dir).parent, opened.id):
            if segment.name != segment_of(opened).name:
                found |= {
                    _as_attempt(row.get(options.prefix + ATTEMPT))
                    for row in segment.rows()
                    if place_of(row, options.prefix)
                }
    return found


def _as_attempt(value: Any) -> int:
    try:
        number = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return 0
    return int(number) if isinstance(number, int | float) else 0
