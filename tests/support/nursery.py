"""A process that has imported what takes seconds to import, and forks children that run at once.

It runs nothing of what it imports, so a child finds everything as new as after its own imports,
and ends as any Python process does. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

TESTS = Path(__file__).parents[1]

_BECOME_SUBREAPER = 36  # of prctl: orphans of children become children of this process


class Nursery:
    """The parent of the children, while it is used as a context manager.

    Args:
        modules: What to import once for all children.
        environment: Their variables.
    """

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        # More threads than one would not survive the fork.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        paths = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path]
        self.environment = {
            **environment,
            **threads,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        self._command = [sys.executable, "-c", "from support.nursery import main; main()", *modules]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.descendants():
            _kill(pid)
        self._process.communicate(timeout=30)  # closes its input, which ends it

    def fork(
        self,
        function: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> int:
        """Run ``module:function`` in a child; returns its process id.

        Its output is appended to ``log``; ``arguments`` are what JSON can hold.
        """
        request = {
            "function": function,
            "log": str(log),
            "environment": dict(environment or {}),
            "arguments": arguments,
        }
        return int(self._ask("fork", request))

    def wait(self, pid: int, timeout: float) -> int | None:
        """The child's exit status, minus the signal's number if one ended it; None: it runs on."""
        answer = self._ask("wait", [pid, timeout])
        return None if answer is None else int(answer)

    def kill(self, pid: int, with_descendants: bool) -> None:
        """End the child by SIGKILL, and with it what it started, or that not."""
        pids = [pid, *(descendants(pid) if with_descendants else ())]
        for each in pids:
            _kill(each)

    def descendants(self) -> list[int]:
        """All processes that run under this one, orphans of children too."""
        return descendants(self._process.pid)

    def _ask(self, what: str, content: Any) -> Any:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # the answer that does not come says more
            self._process.stdin.write(json.dumps([what, content]) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        if answer := self._process.stdout.readline():
            return json.loads(answer)
        raise RuntimeError(f"the nursery has died, status {self._process.wait(timeout=10)}")


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that these started; no zombies."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, path.read_text().split()):
                if _state(child) not in ("Z", ""):
                    found += [child, *descendants(child)]
    return found


def main() -> None:
    """The nursery's own program; in a child it is left for the child's function."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    for module in sys.argv[1:]:
        importlib.import_module(module)
    assert threading.active_count() == 1, "a child would lack the threads that the imports started"
    ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0)
    gc.freeze()  # what was imported is not looked through again at the end of each child
    statuses: dict[int, int] = {}
    _say(answers, "ready")
    while line := sys.stdin.readline():
        what, content = json.loads(line)
        if what == "wait":
            _say(answers, _wait(statuses, *content))
        elif pid := os.fork():
            statuses.pop(pid, None)  # of an earlier child that had the same number
            _say(answers, pid)
        else:
            os.close(answers.fileno())
            _be_child(content)
            return


def _be_child(request: Mapping[str, Any]) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.update(request["environment"])
    module, _, function = request["function"].partition(":")
    getattr(importlib.import_module(module), function)(**request["arguments"])


def _wait(statuses: dict[int, int], pid: int, timeout: float) -> int | None:
    deadline = time.monotonic() + timeout
    while pid not in statuses:
        with contextlib.suppress(ChildProcessError):
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended:
                statuses[ended] = os.waitstatus_to_exitcode(status)
                continue
        if time.monotonic() > deadline:
            return None
        time.sleep(0.005)
    return statuses[pid]


def _say(answers: Any, answer: Any) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _state(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
