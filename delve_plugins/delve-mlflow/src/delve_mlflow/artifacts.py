"""Delve's files among those of a run in MLflow: in a folder where nobody else has any of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from mlflow.entities import Run

from delve.errors import DelveError
from delve.files import file_name
from delve_mlflow.client import Client

FILES = "delve.files."  # on any run, with the identity of Delve's run: the folder of its files

NOTES = "notes.md"
TABLE = "layers.json"
SATURATION = "saturation.png"
HEATMAPS = {mode: f"{mode}-saturation-heatmap.png" for mode in ("train", "eval")}
NAMES = frozenset({NOTES, TABLE, SATURATION, *HEATMAPS.values()})

_FOLDER = "delve"
_LOGGED = "mlflow.loggedArtifacts"  # by which MLflow's page knows tables


class Artifacts:
    """The files of one run of Delve's.

    The folder is ``delve``, and one below it where keys have a prefix, or where a file of one of
    the names is somebody else's already. A tag of the run in MLflow says which it is, before the
    first file is there: whatever the tag does not name is never replaced.

    Args:
        client: Asks MLflow.
        mlflow_run_id: The run in MLflow.
        run_id: The identity of Delve's run, as the value of a tag.
        prefix: What each key begins with.
    """

    def __init__(self, client: Client, mlflow_run_id: str, run_id: str, prefix: str) -> None:
        self._client = client
        self._mlflow_run_id = mlflow_run_id
        self._run_id = run_id
        self._prefix = prefix

    def put(self, files: Mapping[str, bytes]) -> None:
        """Store files under some of the known names, in place of those of before."""
        with tempfile.TemporaryDirectory(prefix="delve-") as name:
            for file, content in files.items():
                path = Path(name, file)
                path.write_bytes(content)
                self._client.log_artifact(self._mlflow_run_id, path, self.folder)

    def put_table(self, columns: Mapping[str, list[object]]) -> None:
        """Store the table as MLflow's ``log_table`` would, which adds to one that is there."""
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        table = {"columns": list(columns), "data": rows}
        self.put({TABLE: json.dumps(table).encode()})
        entry = {"path": f"{self.folder}/{TABLE}", "type": "table"}
        known = self._client.get_run(self._mlflow_run_id).data.tags.get(_LOGGED)
        listed = _listed(known)
        if entry not in listed:
            self._client.log_tags(self._mlflow_run_id, {_LOGGED: json.dumps([*listed, entry])})

    def holds(self, name: str) -> bool:
        """Whether a file of ours is there; where none ever was, no folder becomes ours."""
        tags = self._client.get_run(self._mlflow_run_id).data.tags
        return FILES + self._run_id in tags and name in self._names_in(self.folder)

    @cached_property
    def folder(self) -> str:
        """The folder, which is ours from now on.

        Raises:
            DelveError: Files of others stand in the way everywhere.
        """
        tags = self._client.get_run(self._mlflow_run_id).data.tags
        ours = tags.get(FILES + self._run_id, "")
        if ours in self._candidates():
            return ours
        others = set(_folders(tags))
        for folder in self._candidates():
            if folder not in others and not NAMES & self._names_in(folder):
                self._client.log_tags(self._mlflow_run_id, {FILES + self._run_id: folder})
                return folder
        raise DelveError(
            f"MLflow run {self._mlflow_run_id} has files of others wherever Delve's would go"
        )

    def _candidates(self) -> Iterator[str]:
        base = _FOLDER
        if self._prefix:
            base += f"/{file_name(self._prefix.strip('/') or '_').lstrip('.')}"
        yield base
        yield f"{base}/{self._run_id[:8]}"
        yield f"{base}/{self._run_id}"

    def _names_in(self, folder: str) -> set[str]:
        return {
            path.rpartition("/")[2] for path, _ in self._client.files(self._mlflow_run_id, folder)
        }


def holds_others(client: Client, run: Run) -> bool:
    """Whether a run in MLflow has files other than those that Delve leaves there."""
    ours = {f"{folder}/{name}" for folder in _folders(run.data.tags) for name in NAMES}
    waiting = [""]
    while waiting:
        for path, is_folder in client.files(run.info.run_id, waiting.pop()):
            if is_folder and path.split("/")[0] == _FOLDER:
                waiting.append(path)
            elif path not in ours:
                return True
    return False


def _folders(tags: Mapping[str, str]) -> Iterable[str]:
    return [value for key, value in tags.items() if key.startswith(FILES)]


def _listed(tag: str | None) -> list[object]:
    """What a tag lists already, whoever wrote it."""
    try:
        listed = json.loads(tag or "[]")
    except ValueError:
        return []
    return listed if isinstance(listed, list) else []
