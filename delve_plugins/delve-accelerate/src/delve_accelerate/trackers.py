"""The trackers of an accelerator, in Accelerate's word: its loggers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker


class Listener(GeneralTracker):  # type: ignore[misc]  # Accelerate has no types of its own
    """Stands among an accelerator's loggers to be told what they are told.

    Args:
        end: Called when the training ends, in each process.
        carry: Given what the accelerator logs; None: nobody wants it.

    Attributes:
        config: The configuration that ``init_trackers`` was given after this one was made.
    """

    name = "delve"
    requires_logging_directory = False
    main_process_only = False

    def __init__(
        self, end: Callable[[], None], carry: Callable[[Mapping[str, Any]], None] | None
    ) -> None:
        super().__init__()
        self._end = end
        self._carry = carry
        self.config: dict[str, Any] | None = None

    @property
    def tracker(self) -> Listener:
        """What is behind it: it logs nowhere itself."""
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Keep the hyperparameters."""
        self.config = values

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Pass scalars on."""
        if self._carry is not None:
            self._carry(values)

    def finish(self) -> None:
        """The training is over."""
        self._end()


def runs_of(accelerator: Accelerator, carried: Collection[str]) -> dict[str, dict[str, Any]]:
    """By the name of a writer, the arguments by which it records into the accelerator's run.

    Args:
        accelerator: The accelerator; one without ``init_trackers`` has no runs.
        carried: The names of the scalars of ``accelerator.log`` that Delve is given too: its own
            runs have them.
    """
    found: dict[str, dict[str, Any]] = {}
    for logger in accelerator.trackers:
        match logger.name:
            case "mlflow":
                address = sys.modules["mlflow"].get_tracking_uri()
                run_id = logger.active_run.info.run_id
                found["mlflow"] = {"run_id": run_id, "tracking_uri": address, "leave_out": carried}
            case "wandb":
                found["wandb"] = {"run": logger.run, "leave_out": carried}
            case "delve":
                pass
            case name:
                found[str(name)] = {}
    return found
