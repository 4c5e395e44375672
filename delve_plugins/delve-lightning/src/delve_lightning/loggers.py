"""Lightning's own loggers: the runs that they record into, and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from delve.base import get_logger
from delve_lightning.bases import logger_class

_WRITERS = {
    "MLFlowLogger": "mlflow",
    "WandbLogger": "wandb",
    "TensorBoardLogger": "tensorboard",
    "CSVLogger": "csv",
}

logger = get_logger(__name__)


def runs_of(trainer: Any, carried: Collection[str]) -> dict[str, dict[str, Any]]:
    """By the name of a writer, the arguments by which it records into a logger's run.

    Args:
        trainer: The trainer, whose loggers have begun.
        carried: The names of its scalars that Delve is given too: its own runs have them.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in trainer.loggers:
        name = _writer_of(one)
        if name is None or name in found:
            continue
        try:
            found[name] = _arguments(name, one, carried) if trainer.is_global_zero else {}
        except Exception as error:  # of a library's that is not Delve's
            logger.warning(
                "Lightning's %s does not tell its run, so layer statistics do not go there: %s",
                type(one).__name__,
                ascii(str(error)),
            )
    return found


def _writer_of(one: Any) -> str | None:
    names = (_WRITERS.get(kind.__name__) for kind in type(one).__mro__)
    return next((name for name in names if name), None)


def _arguments(name: str, one: Any, carried: Collection[str]) -> dict[str, Any]:
    if name == "mlflow":
        return {
            "run_id": one.run_id,
            "tracking_uri": one._tracking_uri,  # Lightning has no public name for it
            "leave_out": carried,
        }
    if name == "wandb":
        return {"run": one.experiment, "leave_out": carried}
    return {}


def go_on_in(trainer: Any, run_id: str) -> None:
    """Have Lightning's MLflow logger go on in an earlier run, if the user named none.

    The logger has begun a run by then, which holds nothing: it is deleted, as MLflow does, so that
    it can be restored. A failure is a warning: then the logger keeps its own.
    """
    found = [one for one in trainer.loggers if _writer_of(one) == "mlflow"]
    if not found or not trainer.is_global_zero:
        return
    try:
        _take_up(found[0], run_id)
    except Exception as error:  # of MLflow's, or of its server
        logger.warning(
            "resume_loggers: Lightning's MLflow logger does not go on in run %s: %s",
            ascii(run_id),
            ascii(str(error)),
        )


def _take_up(one: Any, run_id: str) -> None:
    client, begun = one.experiment, one.run_id
    if begun == run_id:
        return
    empty = client.get_run(begun)
    if empty.data.metrics or empty.data.params:
        logger.warning(
            "resume_loggers: MLflow run %s, which Lightning's logger has, holds something already, "
            "so it is gone on with, and not the earlier one, %s",
            begun,
            run_id,
        )
        return
    client.update_run(run_id, status="RUNNING")
    one._run_id = run_id
    client.delete_run(begun)
    logger.info("Lightning's MLflow logger goes on in run %s", run_id)


def listener(trainer: Any, heard: Callable[[Mapping[str, Any]], None]) -> Any:
    """A logger of Lightning's that passes on what the other loggers are given.

    Args:
        trainer: The trainer that it is for.
        heard: Is given the scalars, in each process.
    """
    base: Any = logger_class(trainer)

    class Listener(base):  # type: ignore[misc]  # known when it runs
        @property
        def name(self) -> str:
            return "delve"

        @property
        def version(self) -> str:
            return ""

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            """They are known."""

        def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
            heard(metrics)

    return Listener()
