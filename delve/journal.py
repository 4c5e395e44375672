"""The run's own record, ``journal.jsonl``: the source of truth that writers are fed from.

One JSON object a line: a header, then a line for each epoch, for each resume, for what a writer
remembers or that it was opened, for hyperparameters that a resumed run changed, and where the
folder was found elsewhere than before: moved (``home``), or a copy, which becomes a run of its own
(``fork``). A line that says ``resume`` voids the epochs at or after it that came before, and so
does the line of an epoch.
"""

from __future__ import annotations

import itertools
import json
import math
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from delve.errors import JournalError, NoHeaderError
from delve.home import Home, Whereabouts, whereabouts
from delve.journal_contents import FORMAT, Contents, read_contents, take_kept
from delve.journal_file import JournalFile, is_begun
from delve.journal_lines import NUMBER, decode_epoch, encode, to_json
from delve.log import get_logger
from delve.recorded_run import FILE_NAME, holds_run, open_journal
from delve.records import EpochRecord, Origin, enumerate_epochs
from delve.salvage import renew, write_anew

logger = get_logger(__name__)


def now_in_ms() -> int:
    """Wall time in milliseconds since 1970; 0 where a clock was set to before that in mid-run."""
    return max(0, time.time_ns() // 1_000_000)


class Journal:
    """One run's journal, open for appending.

    Made by :meth:`create` or :meth:`resume`. A disk that refuses a line does not stop the
    training: the line is kept in memory and tried again with the next one.
    """

    def __init__(self, file: JournalFile, contents: Contents) -> None:
        self.path = file.path
        self._file = file
        self._contents = contents

    @classmethod
    def open(
        cls, folder: Path, initial_epoch: int, layers: Sequence[str], config: Mapping[str, Any]
    ) -> Journal:
        """The journal of a new run, or of one that goes on from ``initial_epoch``.

        Raises:
            JournalError: It cannot be read or begun, or the clock stands before 1970.
        """
        _check_clock()
        if initial_epoch == 0:
            return cls.create(folder, layers, config)
        return cls.resume(folder, initial_epoch, layers, config)

    @classmethod
    def create(cls, folder: Path, layers: Sequence[str], config: Mapping[str, Any]) -> Journal:
        """Begin a new run's journal; an earlier run's is kept as ``journal.1.jsonl`` and so on."""
        header = _header(folder, layers, config)
        if is_begun(folder / FILE_NAME):
            header["replaces_earlier"] = True
        write_anew(folder, [header])
        return cls.reopen(folder)

    @classmethod
    def resume(
        cls,
        folder: Path,
        initial_epoch: int,
        layers: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> Journal:
        """Go on with the folder's journal from ``initial_epoch``, which voids that epoch and later.

        Says which epochs below it are missing. Without a journal a new one begins there; one
        without a header is kept under another name, and what it still tells is taken over.
        """
        resume = {"type": "resume", "epoch": initial_epoch, "time": now_in_ms()}
        if not is_begun(folder / FILE_NAME):
            write_anew(folder, [_header(folder, layers, config or {}), resume])
            logger.warning(
                "%s: there is no journal to resume from; each backend keeps what it holds below "
                "epoch %d, and nothing can be fed again",
                folder,
                initial_epoch,
            )
            return cls.reopen(folder)
        try:
            journal = cls.reopen(folder)
        except NoHeaderError:
            if not renew(folder, _header(folder, layers, config or {})):
                raise
            journal = cls.reopen(folder)
        journal._report_damage(initial_epoch)
        journal._append(resume)
        if config and json.loads(to_json(config)) != journal.config:
            journal._append({"type": "config", "config": dict(config)})
        journal.sync()  # before any backend drops what is void: a power cut must not bring it back
        return journal

    @classmethod
    def reopen(cls, folder: Path) -> Journal:
        """The folder's journal as it is, to feed writers from and keep their states in.

        A folder that is a copy of another run's becomes a run of its own, with the same epochs.

        Raises:
            JournalError: It cannot be read or opened.
        """
        path = folder / FILE_NAME
        try:
            with open_journal(path) as file:
                contents = take_kept(file) or read_contents(file)
        except OSError as error:
            raise JournalError(
                f"{path} cannot be read ({error.strerror or error}); see to the disk, and try again"
            ) from error
        journal = cls(_file_of(path, contents), contents)
        journal._settle(folder)
        return journal

    def _settle(self, folder: Path) -> None:
        """Note where the folder lies now, if that is not where it lay."""
        noted, run_id = self._contents.home, self.run_id
        if noted is None:  # written before journals noted it
            self._append({"type": "home", "home": Home.of(folder).as_json()})
            return
        found = whereabouts(folder, noted, lambda other: holds_run(other, run_id))
        here = Home.of(folder).as_json()
        match found:
            case Whereabouts.COPIED:
                fork = {"type": "fork", "run_id": uuid.uuid4().hex, "origin": noted.path}
                self._append({**fork, "home": here})
                logger.warning(
                    "%s is a copy of the run in %s, which is still there: it is a run of its own "
                    "from here on, with the same epochs so far, and gets runs of its own in remote "
                    "backends",
                    folder,
                    noted.path,
                )
            case Whereabouts.UNKNOWN:
                self._append({"type": "home", "home": here, "may_be_copy": True})
                logger.warning(
                    "%s was recorded in %s on %s, which cannot be seen from here: a remote run "
                    "that would have to be cut back is left as it is, in case that one goes on, "
                    "and a new one takes its place",
                    folder,
                    noted.path,
                    noted.host,
                )
            case Whereabouts.MOVED:
                self._append({"type": "home", "home": here})
            case Whereabouts.THERE if noted != Home.of(folder):
                self._append({"type": "home", "home": here})

    def _report_damage(self, initial_epoch: int) -> None:
        lines = self._contents.damaged_lines
        if lines:
            logger.warning("%s: unreadable lines: %s", self.path, enumerate_epochs(lines))
        if self._contents.misplaced_lines:
            logger.warning(
                "%s: lines that were repeated or moved are read where they belong: %s",
                self.path,
                enumerate_epochs(self._contents.misplaced_lines),
            )
        if self._contents.lost_lines:
            logger.warning(
                "%s: %d lines are gone from it; what backends hold beside it is kept where it may "
                "be of those",
                self.path,
                self._contents.lost_lines,
            )
        missing = _missing(self._contents.places, initial_epoch)
        if missing:
            logger.warning(
                "%s holds no record of epochs %s; backends keep what they hold of them",
                self.path,
                missing,
            )

    @property
    def run_id(self) -> str:
        """The identity of the run, kept when it is resumed."""
        return self._contents.run_id

    @property
    def is_deleted(self) -> bool:
        """Whether somebody has removed the journal; that is said once, and all else follows."""
        return self._file.is_deleted

    @property
    def may_be_copy(self) -> bool:
        """Whether the folder that this one came from may still record the run, out of sight."""
        return self._contents.may_be_copy

    def origin(self, writer: str) -> Origin | None:
        """The run that the folder was copied from, as the writer of this name knew it."""
        if self._contents.origin is None:
            return None
        run_id, folder = self._contents.origin
        return Origin(run_id, folder, dict(self._contents.origin_states.get(writer, {})))

    @property
    def created(self) -> int:
        """When the run began, in milliseconds since 1970."""
        return self._contents.created

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters that were given last."""
        return self._contents.config

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers in forward order, as last recorded."""
        return self._contents.layers

    @property
    def epochs(self) -> list[int]:
        """The recorded epochs, in rising order."""
        return list(self._contents.places)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that was ever recorded, voided epochs included, in first-seen order."""
        return tuple(self._contents.metrics)

    def state(self, writer: str) -> dict[str, Any]:
        """What the writer of this name remembered last."""
        return dict(self._contents.states.get(writer, {}))

    def remember(self, writer: str, state: Mapping[str, Any]) -> None:
        """Keep a writer's state, made of values that JSON can hold."""
        self._append({"type": "state", "writer": writer, "state": dict(state)})

    def sound_below(self, writer: str) -> float:
        """Below which epoch the writer's backend can hold nothing void; infinite: anywhere."""
        return self._contents.sound_below(writer)

    def mark_opened(self, writer: str) -> None:
        """Note that the writer's backend was started, or cut back to what is not void."""
        if self._contents.sound.get(writer) != math.inf:
            state = self.state(writer)
            self._append({"type": "state", "writer": writer, "state": state, "opened": True})

    def record(self, record: EpochRecord, layers: Sequence[str]) -> None:
        """Append one epoch; what is seldom new or seldom there stands in few lines."""
        entry: dict[str, Any] = {
            "type": "epoch",
            "epoch": record.epoch,
            "time": record.timestamp,
            "scalars": record.scalars,
            "metrics": record.metrics,
        }
        if tuple(layers) != self.layers:
            entry["layers"] = list(layers)
        if record.few_samples:
            entry["few_samples"] = record.few_samples
        self._append(entry)

    def read(self, epoch: int) -> EpochRecord:
        """One recorded epoch.

        Raises:
            KeyError: The journal does not hold it.
        """
        return decode_epoch(self._file.read(*self._contents.places[epoch]))

    def sync(self) -> None:
        """Have what was appended outlast a power cut, now and not within a second."""
        self._file.sync()

    def close(self) -> None:
        """Make everything durable; a second call does nothing."""
        self._file.close()

    def _append(self, entry: Mapping[str, Any]) -> None:
        # The file first: an epoch that a Ctrl-C keeps from the contents is recorded nevertheless,
        # while one that they know must be where they say.
        number, offset, length = self._file.add(lambda number: encode(entry, number))
        self._contents.add({**entry, NUMBER: number}, offset, length)
        self._file.flush()


def _file_of(path: Path, contents: Contents) -> JournalFile:
    return JournalFile(path, contents.size, contents.ends_in_newline, contents.last_number)


def _header(folder: Path, layers: Sequence[str], config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "run",
        "format": FORMAT,
        "run_id": uuid.uuid4().hex,
        "created": now_in_ms(),
        "layers": list(layers),
        "config": dict(config),
        "home": Home.of(folder).as_json(),
    }


def _check_clock() -> None:
    """Refuse a time that no line of a journal can have, and no backend."""
    seconds = time.time_ns() / 1e9
    if seconds < 0:
        raise JournalError(
            f"the clock of this machine stands {-seconds / 86_400:.1f} days before 1970, where the "
            "times of journals and backends begin; set it, for example with `date -s`"
        )


def _missing(held: Collection[int], until: int) -> str:
    """The epochs below ``until`` that are not held, in ranges, however many they are."""
    edges = [-1, *(epoch for epoch in held if epoch < until), until]
    gaps = [(a + 1, b - 1) for a, b in itertools.pairwise(edges) if b - a > 1]
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in gaps)
