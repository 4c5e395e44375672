"""The local files of a W&B run: each process that opens the run adds a folder, a segment."""

from __future__ import annotations

import contextlib
import glob
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wandb import Run
from wandb.proto import wandb_internal_pb2

from delve.files import replacing, sync
from delve_wandb import framing
from delve_wandb.logs import EPOCH

# `wandb sync` skips a segment that has this file beside it. Its own is empty, so that text tells
# a segment that was replaced from one that was uploaded.
_MARK = ".synced"
_SUPERSEDED = "superseded: a later segment of this run holds these epochs too\n"

_END = 2.0  # seconds that W&B may take to write the end of a file; some milliseconds are usual

_Record: Any = vars(wandb_internal_pb2)["Record"]


@dataclass(frozen=True)
class Segment:
    """One ``run-<id>.wandb`` file."""

    file: Path

    @property
    def name(self) -> str:
        """The name of its folder, which no other segment has."""
        return self.file.parent.name

    @property
    def is_uploaded(self) -> bool:
        """Whether `wandb sync` has sent it to a server."""
        return self._mark.exists() and not self._mark.stat().st_size

    def rows(self) -> Iterator[dict[str, str]]:
        """The rows that have reached the disk, as far as they can be read; values are in JSON."""
        if self.file.is_file():
            for data in framing.read(self.file):
                record = _Record.FromString(data)
                if record.WhichOneof("record_type") == "history":
                    items = record.history.item
                    yield {i.key or ".".join(i.nested_key): i.value_json for i in items}

    def has_on_disk(self, epoch: int) -> bool:
        """Whether a kill would leave the epoch."""
        return any(row.get(EPOCH) == str(epoch) for row in self.rows())

    def wait_for_end(self) -> None:
        """Wait a moment until the file is whole: W&B finishes an offline run before it is."""
        until = time.monotonic() + _END
        while not self._has_ended() and time.monotonic() < until:
            time.sleep(0.005)

    def _has_ended(self) -> bool:
        """Whether the file holds the run's exit, which stands among its last records."""
        if not self.file.is_file():
            return False
        return any(
            _Record.FromString(data).WhichOneof("record_type") == "exit"
            for data in framing.read_end(self.file)
        )

    def supersede(self) -> None:
        """Keep `wandb sync` from sending it; what was sent already stays marked so."""
        if not self.is_uploaded:
            with replacing(self._mark) as file:
                file.write(_SUPERSEDED.encode())
                file.flush()
                with contextlib.suppress(OSError):  # some file systems have no fsync
                    os.fsync(file.fileno())  # emptied by a power cut, it would say: uploaded
            sync(self._mark.parent)

    @property
    def _mark(self) -> Path:
        return self.file.with_name(self.file.name + _MARK)


def segment_of(opened: Run) -> Segment:
    """The one that an open run writes."""
    return Segment(Path(opened.dir).parent / f"run-{opened.id}.wandb")


def segments(folder: Path, run_id: str) -> list[Segment]:
    """The segments of a run that was started with ``dir=folder``; links are not followed."""
    name = f"run-{glob.escape(run_id)}.wandb"
    # W&B prefers a folder .wandb where there is one.
    files = [*folder.glob(f"wandb/*run-*/{name}"), *folder.glob(f".wandb/*run-*/{name}")]
    own = [file for file in files if not file.is_symlink() and not file.parent.is_symlink()]
    return [Segment(file) for file in sorted(own)]
