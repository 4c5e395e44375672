"""W&B's service, the process that records beside the training."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
from pathlib import Path

_NAME = "wandb-core"


def services() -> list[int]:
    """The services that this process has started and that still run.

    Told from its other children by their name: a server that other tests share may be among them.
    """
    listed = Path("/proc/self/task").glob("*/children")
    pids = [pid for children in listed for pid in children.read_text().split()]
    return [int(pid) for pid in pids if _runs(pid)]


def kill_services() -> None:
    """End them as a crash does.

    W&B's handles learn of it too: Python would warn of one that is dropped before.
    """
    killed = services()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    for handle in gc.get_objects():
        if type(handle) is subprocess.Popen and handle.pid in killed:
            handle.wait()


def _runs(pid: str) -> bool:
    with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        return name == _NAME and rest.split()[0] != "Z"
    return False
