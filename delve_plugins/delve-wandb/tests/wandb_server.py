"""A loopback server that W&B's real client and ``wandb sync`` take for their own.

It keeps runs in memory and speaks the parts of the protocol that recording a run needs: GraphQL
operations (create, resume, rewind), the stream of history rows, and uploads, which it throws away.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import unquote

ENTITY = "tester"

_STREAMED = {
    "wandb-history.jsonl": "history",
    "wandb-events.jsonl": "events",
    "output.log": "output",
}

Answer = dict[str, Any]


@dataclass
class StoredRun:
    """A run as the server holds it; each line of history is a row in JSON."""

    project: str
    name: str
    display_name: str
    state: str = "running"
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    group: str | None = None
    history: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    rewound_to: list[int] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The storage id that the client quotes."""
        return base64.b64encode(f"Run:v1:{self.name}:{self.project}:{ENTITY}".encode()).decode()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history, oldest first."""
        return [json.loads(line) for line in self.history if line]

    def describe(self) -> Answer:
        """What GraphQL answers about it."""
        return {
            "id": self.key,
            "name": self.name,
            "displayName": self.display_name,
            "description": None,
            "config": json.dumps(self.config),
            "sweepName": None,
            "historyLineCount": len(self.history),
            "project": {
                "id": f"project-{self.project}",
                "name": self.project,
                "entity": {"id": f"entity-{ENTITY}", "name": ENTITY},
            },
        }


class WandbServer:
    """The server, while it is used as a context manager.

    Args:
        port: Where to listen; 0 takes a free port.

    Attributes:
        runs: What was recorded, by run id.
        rewind: Whether a run can be cut back: ``ok``, ``ended`` (only one that has ended, as on
            W&B's own server), ``no``.
        refuses_keys: Whether every request is answered as for an API key that is not known.
        operations: The names of the GraphQL operations asked for.
    """

    def __init__(self, port: int = 0) -> None:
        self.runs: dict[str, StoredRun] = {}
        self.rewind: Literal["ok", "ended", "no"] = "ended"
        self.refuses_keys = False
        self.operations: list[str] = []
        self._lock = threading.RLock()
        self._http = _Server(("127.0.0.1", port), _handler(self))
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a client here."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": "k" * 40,
            "WANDB_MODE": "online",
            "NO_PROXY": "127.0.0.1",
        }

    def post(self, path: str, body: bytes) -> tuple[int, Answer]:
        """Answer one request: status and JSON."""
        stream = re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path)
        with self._lock:
            if self.refuses_keys:
                return 401, _error("user is not logged in")
            if path == "/graphql":
                request = json.loads(body)
                answer = self._graphql(request["query"], request.get("variables") or {})
                return (400 if "errors" in answer else 200), answer
            if stream:
                self._take_stream(self.runs[unquote(stream[1])], json.loads(body))
                return 200, {"exitcode": None, "limits": {}}
        return 404, {}

    def _graphql(self, query: str, variables: dict[str, Any]) -> Answer:
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)
        operation = name[1] if name else ""
        self.operations.append(operation)
        operations: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "Viewer": self._viewer,
            "ServerFeaturesQuery": lambda _: {"serverInfo": {"features": []}},
            "RunStoppedStatus": lambda _: {"project": {"run": {"stopped": False}}},
            "Run": self._look_at,
            "RunHistoryKeys": self._look_at,
            "RunResumeStatus": self._resume_status,
            "UpsertBucket": self._upsert,
            "RewindRun": self._rewind,
            "CreateRunFiles": self._create_files,
            "MarkRunFilesUploaded": lambda _: {"markRunFilesUploaded": {"success": True}},
        }
        if operation not in operations:
            return _error(f"unknown operation {operation}")  # the client does without
        answer = operations[operation](variables)
        return answer if "errors" in answer else {"data": answer}

    def _viewer(self, _: dict[str, Any]) -> Answer:
        return {
            "viewer": {
                "id": "viewer",
                "entity": ENTITY,
                "username": ENTITY,
                "email": "tester@localhost",
                "flags": "{}",
                "admin": False,
                "teams": {"edges": []},
            }
        }

    def _upsert(self, variables: dict[str, Any]) -> Answer:
        run = self._find(variables)
        inserted = run is None
        if run is None:
            project = variables.get("project") or "uncategorized"
            run = StoredRun(project, variables["name"], "bright-test-1")
            self.runs[run.name] = run
        if variables.get("config"):
            run.config = json.loads(variables["config"])
        run.display_name = variables.get("displayName") or run.display_name
        run.tags = variables.get("tags") or run.tags
        run.group = variables.get("groupName") or run.group
        run.state = variables.get("state") or "running"
        return {"upsertBucket": {"bucket": run.describe(), "inserted": inserted}}

    def _find(self, variables: dict[str, Any]) -> StoredRun | None:
        """By the storage id, which is all that a later request may carry, else by name."""
        by_key = {run.key: run for run in self.runs.values()}
        return by_key.get(variables.get("id", "")) or self.runs.get(variables.get("name", ""))

    def _resume_status(self, variables: dict[str, Any]) -> Answer:
        run = self.runs.get(variables["name"])
        return {
            "model": {
                "id": "project",
                "name": variables["project"],
                "entity": {"id": f"entity-{ENTITY}", "name": ENTITY},
                "bucket": _resumable(run) if run else None,
            }
        }

    def _look_at(self, variables: dict[str, Any]) -> Answer:
        """What the public API reads of a run."""
        run = self.runs.get(variables["name"])
        if run is None or run.project != variables["project"]:
            return {"project": {"run": None}}
        seen = run.describe() | {
            "projectId": "1",
            "state": run.state,
            "tags": run.tags,
            "group": run.group,
            "summaryMetrics": json.dumps(run.summary),
            "systemMetrics": "{}",
            "user": {"name": ENTITY, "username": ENTITY},
            "historyKeys": {"lastStep": max((row["_step"] for row in run.rows), default=-1)},
        }
        return {"project": {"run": seen}}

    def _rewind(self, variables: dict[str, Any]) -> Answer:
        run = self.runs.get(variables["runName"])
        if run is None:
            return _error("run not found")
        if self.rewind == "no":
            return _error("rewind is not enabled")
        if self.rewind == "ended" and run.state == "running":
            return _error("a run that has not ended cannot be rewound")
        step = int(variables["metricValue"])
        run.rewound_to.append(step)
        run.history = [line for line in run.history if line and json.loads(line)["_step"] <= step]
        run.summary = {key: value for row in run.rows for key, value in row.items()}
        return {"rewindRun": {"rewoundRun": run.describe()}}

    def _create_files(self, variables: dict[str, Any]) -> Answer:
        files = [
            {"name": name, "uploadUrl": f"{self.url}/upload/{variables['run']}/{name}"}
            for name in variables["files"]
        ]
        return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}

    def _take_stream(self, run: StoredRun, body: dict[str, Any]) -> None:
        for name, chunk in (body.get("files") or {}).items():
            if name in _STREAMED:
                lines: list[str] = getattr(run, _STREAMED[name])
                offset, content = chunk["offset"], chunk["content"]
                lines.extend([""] * (offset - len(lines)))
                lines[offset : offset + len(content)] = content
            elif name == "wandb-summary.json":
                run.summary = json.loads(chunk["content"][-1])
        if body.get("complete"):
            run.state = "failed" if body.get("exitcode") else "finished"


def _resumable(run: StoredRun) -> Answer:
    telemetry = run.config.get("_wandb", {}).get("value", {}).get("t", {})
    return {
        **run.describe(),
        "tags": run.tags,
        "notes": None,
        "summaryMetrics": json.dumps(run.summary),
        "historyLineCount": len(run.history),
        "eventsLineCount": len(run.events),
        "logLineCount": len(run.output),
        "historyTail": json.dumps(run.history[-1:]),
        "eventsTail": json.dumps(run.events[-1:]),
        "wandbConfig": json.dumps({"t": telemetry}),
    }


def _error(message: str) -> Answer:
    return {"data": None, "errors": [{"message": message}]}


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self._answer(*server.post(self.path, self._body()))

        def do_PUT(self) -> None:
            self._body()
            self._answer(200, {})

        def do_GET(self) -> None:
            self._answer(404, {})

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            return gzip.decompress(body) if zipped else body

        def _answer(self, status: int, answer: Answer) -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # the client just goes away at exit
            super().handle_error(request, client_address)
