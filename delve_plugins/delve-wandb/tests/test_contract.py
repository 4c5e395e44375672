from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from delve_wandb import WandbWriter
from wandb_files import unsynced_rows
from wandb_service import kill_services

from delve.testing import WriterContract


class TestWandbWriter(WriterContract):
    entry_point = "wandb"

    def make_writer(self, folder: Path) -> WandbWriter:
        return WandbWriter(folder, mode="offline")

    def read_scalars(self, folder: Path) -> Iterator[tuple[int, str, float]]:
        for step, row in unsynced_rows(folder).items():
            assert row.pop("epoch") == step
            for name, value in row.items():
                yield step, name, float(value)

    def abandon(self, writer: WandbWriter) -> None:
        kill_services()
        with contextlib.suppress(Exception):
            writer._part(exit_code=1)  # W&B learns nothing of it any more; only this process does
