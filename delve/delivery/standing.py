"""Where one writer stands: whether it is open, and which of the run's epochs it lacks."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """The states that a writer can be in; :class:`Standing` tells how it gets from one to another.

    What a writer is given depends on nothing else: epochs as they come where it is CURRENT, and
    those of the journal, in their order, where it is BEHIND or AWAY.
    """

    NEW = "neither started nor resumed yet; what it lacks, it tells when it is"
    CURRENT = "open, and lacks nothing"
    BEHIND = "open, and lacks every epoch from `first_lacking` on"
    AWAY = "to be opened at `first_lacking`, and lacks every epoch from there on"


class Standing:
    """The state of one writer, and the transitions; knows neither the writer nor the journal.

    ============================ ======== ============== =======================================
    transition                   from     to             when
    ============================ ======== ============== =======================================
    ``go_back(first)``           NEW      AWAY           what it holds from ``first`` on is void
    ..                           AWAY     AWAY           (the run went back while it was away)
    ``open(lacks_from)``         NEW      BEHIND         it was started or resumed
    ..                           AWAY     BEHIND
    ``take(epoch)``              BEHIND   BEHIND         it was given the first that it lacked
    ``catch_up()``               BEHIND   CURRENT        the journal holds nothing more for it
    ``fall_behind(epoch)``       NEW      AWAY           it failed, an interrupt came, or it is
    ..                           CURRENT  BEHIND         slow and the epoch is put off
    ..                           BEHIND   BEHIND         (it lacks earlier epochs already)
    ..                           AWAY     AWAY
    ``give_up(epoch)``           CURRENT  BEHIND         it may hold a part of the epoch, and would
    ..                           BEHIND   BEHIND         have that twice if it were given it again
    ..                           NEW      AWAY
    ..                           AWAY     AWAY
    ``take_back(first)``         CURRENT  BEHIND         what it took from ``first`` on is not in
    ..                           BEHIND   BEHIND         its backend
    ..                           AWAY     AWAY
    ``lose_backend()``           BEHIND   AWAY           what it writes through is gone for good
    ============================ ======== ============== =======================================

    Args:
        first: The first epoch that this process records.

    Attributes:
        state: The state.
        first_lacking: NEW, AWAY: the epoch at which it is to be opened. BEHIND, AWAY: the first
            epoch that it is to be given. CURRENT: of no meaning.
        given_up: The epochs that it is never given, although it may lack them.
    """

    def __init__(self, first: int) -> None:
        self.state = State.NEW
        self.first_lacking = first
        self.given_up: list[int] = []

    @property
    def is_open(self) -> bool:
        """Whether the writer was started or resumed, and its backend is not lost since."""
        return self.state in (State.CURRENT, State.BEHIND)

    @property
    def is_behind(self) -> bool:
        """Whether the writer is known to lack epochs."""
        return self.state in (State.BEHIND, State.AWAY)

    def go_back(self, first: int) -> None:
        """Before it is opened: it can hold nothing sound from ``first`` on, and is to lose that."""
        self._expect(State.NEW, State.AWAY)
        self.state, self.first_lacking = State.AWAY, first

    def open(self, lacks_from: int) -> None:
        """It is open, and lacks what the journal holds from that epoch on."""
        self._expect(State.NEW, State.AWAY)
        self.state, self.first_lacking = State.BEHIND, lacks_from

    def take(self, epoch: int) -> None:
        """It was given that epoch from the journal, and lacks those after it."""
        self._expect(State.BEHIND)
        self.first_lacking = epoch + 1

    def catch_up(self) -> None:
        """It was given all that the journal holds."""
        self._expect(State.BEHIND)
        self.state = State.CURRENT

    def fall_behind(self, epoch: int) -> None:
        """The epoch did not reach it whole; changes nothing where it lacks earlier ones."""
        if not self.is_behind:
            self.state = State.BEHIND if self.is_open else State.AWAY
            self.first_lacking = epoch

    def give_up(self, epoch: int) -> None:
        """The epoch may have reached it in part, and must not reach it a second time."""
        self.fall_behind(epoch)
        self.given_up.append(epoch)
        self.first_lacking = epoch + 1

    def take_back(self, first: int) -> None:
        """Epochs that it took, from that one on, have not reached its backend."""
        self._expect(State.CURRENT, State.BEHIND, State.AWAY)
        if self.is_behind:
            self.first_lacking = min(self.first_lacking, first)
        else:
            self.fall_behind(first)

    def lose_backend(self) -> None:
        """It has to be opened again before it gets what it lacks; without effect if it is not."""
        if self.state is State.BEHIND:
            self.state = State.AWAY

    def _expect(self, *states: State) -> None:
        assert self.state in states, f"a writer that is {self.state.name}"
