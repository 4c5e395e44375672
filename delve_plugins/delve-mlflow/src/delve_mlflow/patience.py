"""How long MLflow may be waited for: with its client's own limits one call blocks for minutes."""

from __future__ import annotations

import contextlib
import contextvars
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

from delve_mlflow import database, limits
from delve_mlflow.limits import LONGEST, MOST

AT_ONCE = 8  # requests that are under way together where many are needed
AHEAD = 8  # times as many are asked for while the first is not yet used
GIVEN_UP = 60.0  # seconds after which a call that was left behind bars the way no more

T = TypeVar("T")

_left_behind: dict[str, list[_Call]] = {}  # by lane and tracking URI: a tracker may follow another


class _Call:
    """One call in a thread of its own, which can be left behind and ends with the process.

    The limit of MLflow's client holds for the gap between two bytes of an answer, so that an answer
    that drips is never over.
    """

    def __init__(
        self, function: Callable[[], Any], in_thread: bool, turns: threading.Semaphore
    ) -> None:
        self._function = function
        self._turns = turns
        self._is_wanted = True
        self._answer: Any = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        self.begun = time.monotonic()
        if not in_thread:
            self._run()
            return
        # What MLflow keeps in context variables, such as the workspace, is the caller's.
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._run,), name="delve-mlflow", daemon=True).start()

    def _run(self) -> None:
        try:
            with self._turns:
                if self._is_wanted:
                    self._answer = self._function()
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()

    def is_done(self, until: float = -math.inf) -> bool:
        """Whether it has ended; waits for that until a point in time."""
        return self._done.wait(max(0.0, until - time.monotonic()))

    def is_over(self) -> bool:
        """Whether it has ended or need not begin; from now on it begins no more."""
        self._is_wanted = False
        return self._done.is_set()

    def answer(self) -> Any:
        """What it returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._answer


class Patience:
    """Makes the calls of an attempt within the time that there is for all of them.

    A call that is not over by then is left behind, and nothing else is asked while it hangs: what
    it does late is done before the next attempt looks at what there is.

    Args:
        uri: The tracking URI.
        lane: What a call that is left behind bars the way for: others of the same lane.

    Attributes:
        remote: Whether a server is asked, which may be away.
        is_silent: Whether nothing was answered in the last attempt that failed, or ever.
    """

    def __init__(self, uri: str, lane: str = "") -> None:
        self.remote = uri.startswith(("http:", "https:", "databricks"))
        self.is_silent = True
        # A database in memory is another one in each thread.
        self._in_threads = not uri.startswith("sqlite") or database.path_of(uri) is not None
        self._begun, self._until = math.inf, math.inf  # this attempt
        self._answers = 0  # in this attempt
        self._left_behind = _left_behind.setdefault(f"{lane} {uri}", [])

    @contextlib.contextmanager
    def attempt(self, seconds: float) -> Iterator[None]:
        """All calls inside take as long as this at most, together."""
        outside = self._until, self._begun, self._answers
        self._begun = time.monotonic()
        self._until, self._answers = self._begun + seconds, 0
        try:
            with limits.in_force():
                yield
        except Exception:
            self.is_silent = not self._answers
            raise
        finally:
            self._until, self._begun, self._answers = outside

    def seconds(self) -> float:
        """How long a call that begins now may take.

        Raises:
            TimeoutError: There is no time left.
        """
        is_doubted = self.remote and self.is_silent and not limits.are_the_users()
        until = min(self._until, self._begun + LONGEST) if is_doubted else self._until
        seconds = min(until - time.monotonic(), MOST)
        if seconds <= 0:
            raise TimeoutError("there is no time left to ask MLflow; it is asked again later")
        return seconds

    def ask(self, function: Callable[[], T]) -> T:
        """Call a function that waits for MLflow, and for nothing else.

        Raises:
            TimeoutError: It takes longer than there is time.
            Exception: As the function.
        """
        with contextlib.closing(self.ask_all([function])) as answers:
            return next(answers)

    def ask_all(self, functions: Iterable[Callable[[], T]], at_once: int = 1) -> Generator[T]:
        """Call functions, some at once, and yield what they return in their order."""
        self._await_those_left_behind()
        waiting, under_way = deque(functions), deque[_Call]()
        turns, ahead = threading.Semaphore(at_once), AHEAD * at_once if at_once > 1 else 1
        try:
            while waiting or under_way:
                seconds = self.seconds()
                # One that is left behind is still waited for, before anything else is asked.
                limits.set_to(seconds + LONGEST)
                until = time.monotonic() + seconds
                while waiting and len(under_way) < ahead:
                    under_way.append(_Call(waiting.popleft(), self._in_threads, turns))
                if not under_way[0].is_done(until):
                    raise TimeoutError(f"MLflow has not answered in full within {seconds:.0f} s")
                yield self._heard(under_way.popleft())
        finally:  # also where Ctrl-C comes in
            self._left_behind += [call for call in under_way if not call.is_over()]

    def _heard(self, call: _Call) -> Any:
        from mlflow.exceptions import RestException

        try:
            answer = call.answer()
        except Exception as error:
            if isinstance(error, RestException):
                self._count()
            raise
        self._count()
        return answer

    def _count(self) -> None:
        self._answers += 1
        self.is_silent = False

    def _await_those_left_behind(self) -> None:
        until = time.monotonic() + self.seconds()
        for call in tuple(self._left_behind):
            give_up_at = call.begun + GIVEN_UP
            if not call.is_done(min(until, give_up_at)) and time.monotonic() < give_up_at:
                raise TimeoutError("MLflow has still not answered an earlier request in full")
            self._left_behind.remove(call)
