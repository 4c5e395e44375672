"""Where a person looks at a run in MLflow: its own page, and what has to be started for that."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlparse

from delve_mlflow import database

_UI = "http://127.0.0.1:5000"  # where `mlflow ui` listens by default


def page(address: str, experiment_id: str, run_id: str) -> dict[str, object]:
    """The page of a run, in the form in which Delve remembers pages; empty where nobody can tell.

    Args:
        address: The tracking URI, without user and password.
        experiment_id: The experiment.
        run_id: The run in MLflow.
    """
    if address.startswith("databricks"):
        return {}
    where = f"/#/experiments/{experiment_id}/runs/{run_id}"
    if address.startswith(("http:", "https:")):
        return {"url": address.rstrip("/") + where}
    return {
        "command": ["mlflow", "ui", "--backend-store-uri", _from_anywhere(address)],
        "url": _UI + where,
    }


def _from_anywhere(address: str) -> str:
    """A local store as it is called in every folder."""
    file = database.path_of(address)
    if file is not None:
        return f"sqlite:///{file}"
    parsed = urlparse(address)
    if parsed.scheme in ("", "file"):
        return str(Path(unquote(parsed.path)).absolute())
    return address
