"""Writers for tests that look at what reaches a writer."""

from __future__ import annotations

from typing import Any


class Recorder:
    """Keeps every call that it gets, as (hook, arguments)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def start(self, run):
        self.calls.append(("start", {"run": run}))

    def resume_from_saved_state(self, initial_epoch, run):
        self.calls.append(("resume_from_saved_state", {"initial_epoch": initial_epoch, "run": run}))

    def add_scalar(self, name, value, epoch):
        self.calls.append(("add_scalar", {"name": name, "value": value, "epoch": epoch}))

    def add_scalars(self, value_dict, global_step, prefix):
        self.calls.append(
            ("add_scalars", {"value_dict": value_dict, "epoch": global_step, "prefix": prefix})
        )

    def save(self, epoch, timestamp):
        self.calls.append(("save", {"epoch": epoch, "timestamp": timestamp}))

    def close(self, error):
        self.calls.append(("close", {"error": error}))

    @property
    def hooks(self) -> list[str]:
        """The names of the hooks called, in order."""
        return [hook for hook, _ in self.calls]

    @property
    def rows(self) -> dict[int, dict[Any, float]]:
        """What came for each epoch."""
        rows: dict[int, dict[Any, float]] = {}
        for hook, arguments in self.calls:
            if hook == "add_scalar":
                rows.setdefault(arguments["epoch"], {})[arguments["name"]] = arguments["value"]
            elif hook == "add_scalars":
                rows.setdefault(arguments["epoch"], {}).update(arguments["value_dict"])
        return rows
