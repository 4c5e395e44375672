"""A look at a W&B run on the server that changes nothing there, within bounds."""

from __future__ import annotations

import threading

import wandb

from delve.base import get_logger
from delve.records import RunInfo
from delve_wandb.identity import MARK
from delve_wandb.opening import INIT_TIMEOUT, address, place
from delve_wandb.options import Options

logger = get_logger(__name__)


def rows_held(options: Options, run: RunInfo, run_id: str) -> int | None:
    """How many steps a run of Delve's own holds; None where the server does not tell.

    Only a run that says to be this run's is told of.
    """
    project, entity = place(options, run.state)
    found: list[int] = []

    def look() -> None:
        try:
            api = wandb.Api(
                overrides={"base_url": address(), "project": project, "entity": entity},
                timeout=int(INIT_TIMEOUT),
            )
            seen = api.run("/".join(part for part in (entity, project, run_id) if part))
            if seen.config.get(MARK) == run.run_id:
                found.append(int(seen.lastHistoryStep) + 1)
        except Exception as error:  # whatever it is, nothing is known
            logger.debug("W&B run %s could not be looked at", run_id, exc_info=error)

    # W&B's own limit holds for each of its attempts.
    asking = threading.Thread(target=look, daemon=True)
    asking.start()
    asking.join(options.init_timeout or INIT_TIMEOUT)
    return found[0] if found else None
