"""The local files of a W&B run: each process that opens the run adds a folder, a segment."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from delve.files import replacing

# `wandb sync` skips a segment that has this file beside it. Its own is empty, so that text tells
# a segment that was replaced from one that was uploaded.
_MARK = ".synced"
_SUPERSEDED = "superseded: a later segment of this run holds these epochs too\n"


@dataclass(frozen=True)
class Segment:
    """One ``run-<id>.wandb`` file."""

    file: Path

    @property
    def is_uploaded(self) -> bool:
        """Whether `wandb sync` has sent it to a server."""
        return self._mark.exists() and not self._mark.stat().st_size

    def supersede(self) -> None:
        """Keep `wandb sync` from sending it; what was sent already stays marked so."""
        if not self.is_uploaded:
            with replacing(self._mark) as file:
                file.write(_SUPERSEDED.encode())

    @property
    def _mark(self) -> Path:
        return self.file.with_name(self.file.name + _MARK)


def segments(folder: Path, run_id: str) -> list[Segment]:
    """The segments of a run that was started with ``dir=folder``; links are not followed."""
    name = f"run-{glob.escape(run_id)}.wandb"
    # W&B prefers a folder .wandb where there is one.
    files = [*folder.glob(f"wandb/*run-*/{name}"), *folder.glob(f".wandb/*run-*/{name}")]
    own = [file for file in files if not file.is_symlink() and not file.parent.is_symlink()]
    return [Segment(file) for file in sorted(own)]
