"""A run's ``journal.jsonl``, open for writing: the source of truth that writers are fed from.

What its lines hold is told in :mod:`delve.journal.format`.
"""

from __future__ import annotations

import json
import math
import os
import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from delve.base.log import get_logger
from delve.errors import JournalError, NoHeaderError
from delve.journal.clock import check_clock, now_in_ms
from delve.journal.contents import Contents, read_contents
from delve.journal.damage import report_damage, report_other_model
from delve.journal.file import JournalFile, is_begun
from delve.journal.format import (
    BeginLine,
    ConfigLine,
    EndLine,
    EpochLine,
    ForkLine,
    HomeLine,
    Line,
    NumberedLine,
    ResumeLine,
    StateLine,
)
from delve.journal.headers import new_header
from delve.journal.home import Home, Whereabouts, whereabouts
from delve.journal.lines import to_json
from delve.journal.parsing import LineParser
from delve.journal.reading import JOURNAL_NAME, holds_run, open_journal
from delve.journal.salvage import renew, write_anew
from delve.records import EpochRecord, Origin

logger = get_logger("delve.journal")  # one name for all that is said of the journal


class Journal:
    """One run's journal, open for appending.

    Made by :meth:`create` or :meth:`resume`. A disk that refuses a line does not stop the
    training: the line is kept in memory and tried again with the next one.
    """

    def __init__(self, file: JournalFile, contents: Contents) -> None:
        self.path = file.path
        self._file = file
        self._contents = contents
        self._parser = LineParser(str(self.path), most_kept=0)

    @classmethod
    def open(
        cls,
        folder: Path,
        initial_epoch: int,
        layers: Sequence[str],
        config: Mapping[str, Any],
        replaces_earlier: bool = False,
    ) -> Journal:
        """The journal of a new run, or of one that goes on from ``initial_epoch``.

        What backends hold may be of an earlier run if it ``replaces_earlier`` or finds a journal.

        Raises:
            JournalError: It cannot be read or begun, or the clock stands before 1970.
        """
        check_clock()
        if initial_epoch == 0:
            return cls.create(folder, layers, config, replaces_earlier)
        return cls.resume(folder, initial_epoch, layers, config)

    @classmethod
    def create(
        cls,
        folder: Path,
        layers: Sequence[str],
        config: Mapping[str, Any],
        replaces_earlier: bool = False,
    ) -> Journal:
        """Begin a new run's journal; an earlier run's is kept as ``journal.1.jsonl`` and so on."""
        replaces_earlier = replaces_earlier or is_begun(folder / JOURNAL_NAME)
        write_anew(folder, [new_header(folder, layers, config, replaces_earlier)])
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
        resume = ResumeLine(initial_epoch, now_in_ms())
        if not is_begun(folder / JOURNAL_NAME):
            write_anew(folder, [new_header(folder, layers, config or {}), resume])
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
            if not renew(folder, new_header(folder, layers, config or {})):
                raise
            journal = cls.reopen(folder)
        report_damage(journal.path, journal._contents, initial_epoch)
        journal._append(resume)
        if config and json.loads(to_json(config)) != journal.config:
            journal._append(ConfigLine(dict(config)))
        journal.sync()  # before any backend drops what is void: a power cut must not bring it back
        return journal

    @classmethod
    def reopen(cls, folder: Path) -> Journal:
        """The folder's journal as it is, to feed writers from and keep their states in.

        A folder that is a copy of another run's becomes a run of its own, with the same epochs.

        Raises:
            JournalError: It cannot be read or opened.
        """
        path = folder / JOURNAL_NAME
        try:
            with open_journal(path) as file:
                contents = read_contents(file)
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
            self._append(HomeLine(Home.of(folder)))
            return
        found = whereabouts(folder, noted, lambda other: holds_run(other, run_id))
        here = Home.of(folder)
        match found:
            case Whereabouts.COPIED:
                self._append(ForkLine(uuid.uuid4().hex, noted.path, here))
                logger.warning(
                    "%s is a copy of the run in %s, which is still there: it is a run of its own "
                    "from here on, with the same epochs so far, and gets runs of its own in remote "
                    "backends",
                    folder,
                    noted.path,
                )
            case Whereabouts.UNKNOWN:
                self._append(HomeLine(here, may_be_copy=True))
                logger.warning(
                    "%s was recorded in %s on %s, which cannot be seen from here: a remote run "
                    "that would have to be cut back is left as it is, in case that one goes on, "
                    "and a new one takes its place",
                    folder,
                    noted.path,
                    noted.host,
                )
            case Whereabouts.MOVED:
                self._append(HomeLine(here))
            case Whereabouts.THERE if noted != here:
                self._append(HomeLine(here))

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
    def steps(self) -> dict[int, int]:
        """The training steps of those that have one."""
        return dict(self._contents.steps)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that was ever recorded, voided epochs included, in first-seen order."""
        return tuple(self._contents.metrics)

    def state(self, writer: str) -> dict[str, Any]:
        """What the writer of this name remembered last."""
        return dict(self._contents.states.get(writer, {}))

    def remember(self, writer: str, state: Mapping[str, Any]) -> None:
        """Keep a writer's state, made of values that JSON can hold."""
        self._append(StateLine(writer, dict(state)))

    def sound_below(self, writer: str) -> float:
        """The first epoch from which the writer's backend may hold void numbers; infinite: none."""
        return self._contents.sound_below(writer)

    def mark_opened(self, writer: str) -> None:
        """Note that the writer's backend was started, or cut back to what is not void."""
        if self._contents.sound.get(writer) != math.inf:
            self._append(StateLine(writer, self.state(writer), opened=True))

    def write_epoch(self, record: EpochRecord, layers: Sequence[str]) -> None:
        """Append one epoch; its line tells layers and features where they are not as they were."""
        changed = list(layers) if tuple(layers) != self.layers else None
        known_before, layers_before = dict(self._contents.features), self.layers
        features = {name: n for name, n in record.features.items() if known_before.get(name) != n}
        self._append(EpochLine.of(replace(record, features=features), changed))
        report_other_model(self.path, record.epoch, known_before, features, layers_before)

    def begin(self) -> None:
        """Note that this process records the run from now on."""
        self._append(BeginLine(now_in_ms(), platform.node(), os.getpid()))

    def end(self, error: BaseException | None) -> None:
        """Note that it does no more, and what ended the training, if anything went wrong."""
        self._append(EndLine(now_in_ms(), type(error).__name__ if error else None))

    def read(self, epoch: int) -> EpochRecord:
        """One recorded epoch.

        Raises:
            KeyError: The journal does not hold it.
        """
        content = self._file.read(*self._contents.places[epoch])
        return self._parser.parse_epoch(content).record

    def sync(self) -> None:
        """Have what was appended outlast a power cut, now and not within a second."""
        self._file.sync()

    def close(self) -> None:
        """Make everything durable; a second call does nothing."""
        self._file.close()

    def _append(self, line: Line) -> None:
        # The file first: an epoch that a Ctrl-C keeps from the contents is recorded nevertheless,
        # while one that they know must be where they say.
        number, offset, length = self._file.add(line.encode)
        self._contents.take(NumberedLine(number, line), offset, length)
        self._file.flush()


def _file_of(path: Path, contents: Contents) -> JournalFile:
    return JournalFile(path, contents.size, contents.ends_in_newline, contents.last_number)
