"""TensorBoard's own readers: the event accumulator, and its two servers over HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

PATIENCE = 60.0  # seconds for a server to show what it should

Points = list[tuple[int, str, float]]


def accumulator(folder: Path) -> EventAccumulator:
    """All that the event files of one TensorBoard run hold."""
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def events(path: Path) -> list[Event]:
    """Every event of one file."""
    return [Event.FromString(data) for data in RawEventFileLoader(str(path)).Load()]


def read_points(savefile: Path) -> Points:
    """Every scalar of a run of Delve as (epoch, name, value), under the names that it was given."""
    points: Points = []
    for mode in ("", "train", "eval"):
        folder = savefile / "tensorboard" / mode
        if folder.is_dir():
            held = accumulator(folder)
            for tag in held.Tags()["scalars"]:
                name = given_name(mode, tag)
                points += [(event.step, name, event.value) for event in held.Scalars(tag)]
    return points


def given_name(mode: str, tag: str) -> str:
    """``train`` and ``saturation/000.layer`` as ``train-saturation/layer``."""
    stat, _, numbered = tag.partition("/")
    return f"{mode}-{stat}/{numbered.partition('.')[2]}" if mode else tag


class Server:
    """A running TensorBoard.

    Attributes:
        address: Its URL.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **parameters: str) -> Any:
        """The answer to a GET request, read from JSON."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.address}{path}?{query}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer to a POST request, read from JSON."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.address}{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def points(self, savefile: str) -> Points:
        """As :func:`read_points`, for a run in the server's log directory."""
        points: Points = []
        for run, tags in self.get("/data/plugin/scalars/tags").items():
            mode = run.removeprefix(f"{savefile}/tensorboard").lstrip("/")
            if run.startswith(f"{savefile}/tensorboard"):
                for tag in tags:
                    held = self.get("/data/plugin/scalars/scalars", run=run, tag=tag)
                    name = given_name(mode, tag)
                    points += [(step, name, float(value)) for _, step, value in held]
        return points

    def wait_for(self, is_there: Callable[[], bool]) -> None:
        """Until the server shows it, or patience ends; the test's own assertion then says what."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                if is_there():
                    return
            time.sleep(0.3)


@contextlib.contextmanager
def serving(folder: Path, load_fast: bool) -> Iterator[Server]:
    """One of TensorBoard's two servers, on a port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--reload_interval", "1"]
    command += [f"--load_fast={str(load_fast).lower()}", "--samples_per_plugin", "scalars=1000"]
    with (folder.parent / f"tensorboard-{load_fast}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield Server(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()  # it ends its data server itself
        process.wait(timeout=20)
