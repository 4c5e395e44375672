"""The first line of a new journal."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from delve.journal.clock import now_in_ms
from delve.journal.format import FORMAT, RunLine
from delve.journal.home import Home


def new_header(
    folder: Path,
    layers: Sequence[str],
    config: Mapping[str, Any],
    replaces_earlier: bool = False,
) -> RunLine:
    """That of a run that begins now."""
    return RunLine(
        format=FORMAT,
        run_id=uuid.uuid4().hex,
        created=now_in_ms(),
        layers=layers,
        config=dict(config),
        home=Home.of(folder),
        replaces_earlier=replaces_earlier,
    )
