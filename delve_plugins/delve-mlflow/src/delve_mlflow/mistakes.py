"""What only the user can mend is told from a fault of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from delve.errors import WriterConfigurationError

_CODES = {
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
}


@contextmanager
def users_mistakes_named() -> Iterator[None]:
    """Turn what MLflow says of the user's settings into an error of Delve's.

    Raises:
        WriterConfigurationError: MLflow cannot be used as it is set up.
    """
    try:
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise WriterConfigurationError(
            f"writer 'mlflow': mlflow cannot be imported ({error}); reinstall it"
        ) from error
    try:
        yield
    except MlflowException as error:
        if "MLFLOW_ALLOW_FILE_STORE" in str(error):
            raise WriterConfigurationError(
                "writer 'mlflow': MLflow no longer writes to folders like ./mlruns, and chose one "
                "because of the tracking URI or because a ./mlruns with runs is left here; set "
                "MLFLOW_TRACKING_URI=sqlite:///mlflow.db (or your server), move ./mlruns away, or "
                "set MLFLOW_ALLOW_FILE_STORE=true to keep the folder"
            ) from error
        if error.error_code in _CODES:
            raise WriterConfigurationError(
                f"writer 'mlflow': {error}; check MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, "
                "MLFLOW_EXPERIMENT_ID, MLFLOW_RUN_ID, your credentials, and run_id, tracking_uri "
                "and the tags given to the writer"
            ) from error
        raise
