"""The promise of the delivery, whatever befalls: each epoch once, none lost, none stale.

A machine of random steps drives one writer of each kind: it logs, saves, waits, closes, is killed,
and resumes at lower epochs, while the writer's backend fails, answers slowly, refuses items, is
lost, or is interrupted, before or after a call has taken effect. What the backend holds is compared
with the rows that were recorded, by values that never repeat.
"""

import itertools
import logging
import re
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from support.deliveries import Run

from delve.delivery import attempts, feed
from delve.delivery.checked_writer import check_writer
from delve.delivery.delivery import Delivery
from delve.errors import BackendLostError, RejectedError, WriterConfigurationError
from delve.journal.journal import Journal
from delve.records import EpochRecord, Metric, RunInfo

FC = Metric("train", "saturation", "fc")
SPECTRUM = Metric("train", "spectrum", "fc")

SECONDS = {"slow": 0.7, "slower": 4.0, "slowest": 70.0}
RAISED = {"fails": ConnectionError, "interrupted": KeyboardInterrupt, "exits": SystemExit}
FAULTS = ("killed", "lost", "refuses", "misconfigured", *SECONDS, *RAISED)
AFTER = ("killed after", *(f"{fault} after" for fault in RAISED))

# What becomes of the calls of the writer's hooks during a step, one after the other.
fates = st.lists(st.sampled_from(["works"] * 12 + [*FAULTS, *AFTER]), max_size=8)
works = st.just([])


class KilledError(BaseException):
    """The process is gone: nothing that it does from here on takes effect."""


class Backend:
    """What outlives the process: the storage, and what is to befall it."""

    def __init__(self, clock):
        self.clock = clock
        self.fates = []
        self.befell = []  # in this step
        self.pace = 0.0  # seconds of every call
        self.is_killed = False
        self.is_open = False  # as the writer has answered
        self.refused = set()

    def call(self, effect, items=(), may_lose=True):
        """One call of a hook, which has this effect unless something befalls it."""
        if self.is_killed:
            raise KilledError
        self.clock.now += self.pace
        fate = self.fates.pop(0) if self.fates else "works"
        if fate != "works":
            self.befell.append(fate)
        if fate in SECONDS:
            self.clock.now += SECONDS[fate]
        elif fate.startswith("killed"):
            if fate.endswith("after"):
                effect()
            self.is_killed = True
            raise KilledError
        elif fate == "lost":
            if may_lose:
                self.is_open = False
                self.lose()
            raise BackendLostError(fate)
        elif fate == "refuses" and items:
            self.refused.update(items)
            self.refuse()
            raise RejectedError(items, "it does")
        elif fate in ("misconfigured", "refuses"):
            raise WriterConfigurationError(fate)
        elif fate.removesuffix(" after") in RAISED:
            if fate.endswith("after"):
                effect()
            raise RAISED[fate.removesuffix(" after")](fate)
        return effect()

    def lose(self):
        """What it takes with it when it is lost."""

    def refuse(self):
        """What it drops of the epoch under way where it refuses an item."""


class Table(Backend):
    """Replaces by epoch, and writes each value when it gets it."""

    def __init__(self, clock):
        super().__init__(clock)
        self.rows, self.whole, self.arrays, self.lost = {}, set(), {}, set()

    def start(self):
        self.cut(0)

    def cut(self, first):
        self.rows = {epoch: row for epoch, row in self.rows.items() if epoch < first}
        self.arrays = {epoch: array for epoch, array in self.arrays.items() if epoch < first}
        self.whole = {epoch for epoch in self.whole if epoch < first}

    def lose(self):
        last = max(self.rows, default=0)
        self.lost |= self.whole & {last}
        self.cut(last)

    def put(self, epoch, values):
        self.rows.setdefault(epoch, {}).update(values)

    def complete(self, epoch):
        self.whole.add(epoch)
        self.lost.discard(epoch)


class Replaces:
    """A writer for it, as of this process."""

    def __init__(self, table):
        self.table = table

    def start(self):
        self.table.call(self.table.start, may_lose=False)
        self.table.is_open = True

    def resume_from_saved_state(self, initial_epoch, run):
        self.table.call(lambda: self.table.cut(initial_epoch), may_lose=False)
        self.table.is_open = True
        return run.first_lacking(self.table.whole)

    def add_scalar(self, name, value, epoch):
        self.table.call(lambda: self.table.put(epoch, {name: value}), [name])

    def add_scalars(self, value_dict, global_step):
        self.table.call(lambda: self.table.put(global_step, value_dict), list(value_dict))

    def save(self, epoch):
        self.table.call(lambda: self.table.complete(epoch))

    def close(self):
        self.table.call(lambda: None, may_lose=False)


class StoresArrays(Replaces):
    def add_array(self, name, value, epoch):
        self.table.call(lambda: self.table.arrays.update({epoch: value.item()}), [name])


class Lines(Backend):
    """Appends, and is told of no epoch; what it gets before a line is full stays for the next."""

    def __init__(self, clock):
        super().__init__(clock)
        self.lines, self.line = [], []

    def start(self):
        self.lines, self.line = [], []

    def refuse(self):
        self.line = []

    def end_line(self):
        self.lines.append(self.line)
        self.line = []


class Appends:
    """A writer for it, as delve 0.1 documents them."""

    def __init__(self, lines):
        self.lines = lines

    def start(self):
        self.lines.call(self.lines.start)
        self.lines.is_open = True

    def resume_from_saved_state(self, initial_epoch):
        self.lines.call(lambda: None)
        self.lines.is_open = True

    def add_scalar(self, name, value):
        self.lines.call(lambda: self.lines.line.append((name, value)))

    def add_scalars(self, prefix, value_dict):
        self.lines.call(lambda: self.lines.line.extend(value_dict.items()), list(value_dict))

    def save(self):
        self.lines.call(self.lines.end_line)

    def close(self):
        self.lines.call(lambda: None)


class Bystander:
    """A writer behind it, whose own interrupts must cost the first one nothing."""

    is_interrupted = False

    def save(self):
        if self.is_interrupted:
            raise KeyboardInterrupt


class Named(logging.Handler):
    """The epochs that a writer did not get, as the user is told."""

    def __init__(self):
        super().__init__()
        self.epochs = set()

    def emit(self, record):
        found = re.match(r"delve: writer 'it' did not get epochs ([\d, -]+);", record.getMessage())
        for span in found[1].split(", ") if found else ():
            first, _, last = span.partition("-")
            self.epochs.update(range(int(first), int(last or first) + 1))


class Trainings(RuleBasedStateMachine):
    """One training after the other in a folder, and what all of them have recorded."""

    kind: type
    backend: type

    def __init__(self):
        super().__init__()
        memory = Path(
            "/dev/shm"
        )  # syncing journals to a disk is most of the time, and no matter here
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.clock = SimpleNamespace(now=1000.0)
        self.real = attempts.time
        attempts.time = feed.time = SimpleNamespace(monotonic=lambda: self.clock.now)  # type: ignore[assignment]
        self.named = Named()
        logging.getLogger("delve.delivery").addHandler(self.named)
        self.stored = self.backend(self.clock)
        self.values = itertools.count(1)
        self.recorded = {}  # epoch: its record and its array
        self.epoch = self.first = 0
        self.scalars = {}
        self.journal = self.delivery = None

    def teardown(self):
        try:
            if self.journal:
                self.end(is_killed=False, fates=[])
                self.begin(self.epoch, [])
                self.end(is_killed=False, fates=[])
                self.check_the_end()
        finally:
            logging.getLogger("delve.delivery").removeHandler(self.named)
            attempts.time = feed.time = self.real
            shutil.rmtree(self.folder)

    @initialize(fates=fates, pace=st.sampled_from([0.0, 0.0, 1.5]))
    def first_training(self, fates, pace):
        self.begin(0, fates, pace=pace)

    @precondition(lambda self: self.delivery)
    @rule(name=st.sampled_from(["loss", "accuracy"]), fates=fates)
    def log(self, name, fates):
        self.scalars[name] = float(next(self.values))
        with self.step(fates):
            self.delivery.add_scalar(name, self.scalars[name], self.epoch, 1)

    @precondition(lambda self: self.delivery)
    @rule(fates=fates, interrupts_the_other=st.sampled_from([False, False, False, True]))
    def save(self, fates, interrupts_the_other):
        epoch, array = self.epoch, float(next(self.values))
        record = EpochRecord(epoch, 1, self.scalars, {FC: float(next(self.values))})
        self.epoch, self.scalars = epoch + 1, {}
        self.recorded[epoch] = record, array
        self.journal.write_epoch(record, ["fc"])
        self.bystander.is_interrupted = interrupts_the_other
        was_sound = self.is_sound
        with self.step(fates, epoch):
            self.delivery.save(record, {SPECTRUM: np.array(array)}, ["fc"])
        self.bystander.is_interrupted = False
        if self.delivery and not self.stored.befell and not self.is_away:
            self.check_saved(epoch, was_sound)
            self.is_sound |= self.has(epoch)

    @precondition(lambda self: self.delivery)
    @rule(times=st.integers(2, 4), fates=fates)
    def save_some(self, times, fates):
        """More epochs than steps, so that there is something to catch up with."""
        for _ in range(times):
            if self.delivery:
                self.save(fates, False)
                fates = []

    @rule(seconds=st.sampled_from([0.5, 3.0, 60.0, 2000.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule(
        is_killed=st.booleans(),
        back=st.sampled_from([0, 0, 0, 1, 2, 4, 99]),
        is_away=st.sampled_from([False, False, False, True]),
        pace=st.sampled_from([0.0, 0.0, 1.5]),
        closing=fates,
        opening=fates,
    )
    def resume(self, is_killed, back, is_away, pace, closing, opening):
        self.end(is_killed, closing)
        self.begin(max(0, self.epoch - back), opening, is_away, pace)

    def begin(self, first, fates, is_away=False, pace=0.0):
        """Start or resume the training, as Run does."""
        if first:
            self.journal = Journal.resume(self.folder, first, ["fc"])
        else:
            self.journal = Journal.create(self.folder, ["fc"], {})
        self.epoch = self.first = first
        self.recorded = {e: row for e, row in self.recorded.items() if e < first}
        self.scalars = {}
        self.stored.is_open = self.stored.is_killed = False
        self.stored.pace = pace
        self.is_away, self.is_slow, self.is_sound = is_away, pace > 0, True
        self.bystander = Bystander()
        writer = check_writer("it", self.kind(self.stored))
        writers = [] if is_away else [writer]
        run = RunInfo(
            self.folder,
            self.journal.run_id,
            self.journal.created,
            initial_epoch=first,
            epochs=tuple(self.journal.epochs),
            metrics=self.journal.metrics,
        )
        writers.append(check_writer("bystander", self.bystander))
        self.delivery = Delivery(writers, self.journal, run)
        try:
            with self.step(fates, is_closed_by=BaseException):
                self.delivery.open()
        except (KeyboardInterrupt, SystemExit, WriterConfigurationError) as error:
            self.end(is_killed=False, fates=[], error=error)
        self.is_sound &= all(map(self.has, self.recorded))  # else it is behind from the beginning

    def end(self, is_killed, fates, error=None):
        """Close the training, or drop all that is in memory."""
        if self.delivery is None:
            return
        self.named.epochs.clear()
        delivery, self.delivery = self.delivery, None
        if not is_killed:
            with self.step(fates):
                delivery.close(error)
        self.journal.close()
        if not (is_killed or self.stored.is_killed or self.is_away):
            is_whole = not self.stored.befell and error is None
            assert self.stored.is_open or not is_whole, "it was not opened a last time"
            self.check_closed(is_whole)

    def step(self, fates, epoch=None, is_closed_by=()):
        return Step(self, fates, epoch, is_closed_by)

    def has(self, epoch):
        """Whether the backend has it whole, so that the writer is up to date."""
        return False

    def check_closed(self, is_whole):
        raise NotImplementedError

    def check_saved(self, epoch, was_sound):
        raise NotImplementedError

    def check_the_end(self):
        raise NotImplementedError


class Step:
    """One call of the delivery, in which these things befall the writer's calls."""

    def __init__(self, trainings, fates, epoch, is_closed_by):
        self.trainings, self.epoch, self.is_closed_by = trainings, epoch, is_closed_by
        trainings.stored.fates = [] if trainings.is_away else list(fates)
        trainings.stored.befell = []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        trainings, stored = self.trainings, self.trainings.stored
        stored.fates = []
        trainings.is_slow |= bool(SECONDS.keys() & stored.befell)
        trainings.is_sound &= not (stored.befell or error)
        if stored.is_killed:
            if trainings.delivery:
                trainings.delivery = None
                trainings.journal.close()
            return True
        if error is None or isinstance(error, self.is_closed_by):
            return False
        if self.epoch is not None:
            trainings.delivery.fall_behind(self.epoch)  # as Run does
        return isinstance(error, (KeyboardInterrupt, SystemExit))


class IntoTable(Trainings):
    backend = Table

    def wanted(self, epoch):
        record, _ = self.recorded[epoch]
        return self.without_refused({**record.scalars, **record.metrics})

    def without_refused(self, row):
        return {name: value for name, value in row.items() if name not in self.stored.refused}

    def has(self, epoch):
        return self.stored.is_open and epoch in self.stored.whole

    def check_rows(self, epochs):
        for epoch in epochs:
            assert epoch in self.stored.whole, f"epoch {epoch} is lost"
            assert self.without_refused(self.stored.rows.get(epoch, {})) == self.wanted(epoch)

    def check_closed(self, is_whole):
        is_quick = is_whole and not self.is_slow
        assert not (is_quick and self.named.epochs), "the last feeding has left something out"
        unnamed = self.recorded.keys() - self.named.epochs
        if not self.stored.is_open:  # what it lacks from before, it could not tell
            unnamed = {epoch for epoch in unnamed if epoch >= self.first} - self.stored.lost
        else:
            assert self.stored.whole <= self.recorded.keys(), "void epochs are there still"
            self.check_arrays()
        self.check_rows(unnamed)

    def check_saved(self, epoch, was_sound):
        if was_sound and not self.is_slow:
            self.check_rows(self.recorded)

    def check_arrays(self):
        for epoch, array in self.stored.arrays.items():
            assert array == self.recorded[epoch][1], f"the array of epoch {epoch} is stale"

    def check_the_end(self):
        assert self.is_away or self.stored.whole == self.recorded.keys()
        self.check_rows(self.recorded)


class Replacing(IntoTable):
    kind = Replaces


class StoringArrays(IntoTable):
    kind = StoresArrays

    def check_saved(self, epoch, was_sound):
        super().check_saved(epoch, was_sound)
        given = self.has(epoch) or was_sound
        if given and SPECTRUM not in self.stored.refused:
            assert self.stored.arrays.get(epoch) == self.recorded[epoch][1], "its array is lost"


class Appending(Trainings):
    kind, backend = Appends, Lines

    def check_once(self):
        given = [*itertools.chain(*self.stored.lines), *self.stored.line]
        assert len(given) == len(set(given)), "a value is there twice"

    def check_closed(self, is_whole):
        self.check_once()
        for epoch, (record, _) in self.recorded.items():
            if epoch >= self.first and epoch not in self.named.epochs:
                row = {**record.scalars, **record.metrics}
                wanted = {item for item in row.items() if item[0] not in self.stored.refused}
                assert any(wanted <= set(line) for line in self.stored.lines), f"{epoch} is lost"

    def check_saved(self, epoch, was_sound):
        self.check_once()

    def check_the_end(self):
        self.check_once()


TestReplacing = Replacing.TestCase
TestStoringArrays = StoringArrays.TestCase
TestAppending = Appending.TestCase
TestReplacing.settings = TestStoringArrays.settings = settings(stateful_step_count=25)
TestAppending.settings = settings(stateful_step_count=25, max_examples=120)  # it forgives nothing


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit, WriterConfigurationError])
@pytest.mark.parametrize("hook", ["add_scalar", "add_scalars", "save"])
def test_an_opening_that_ends_while_it_catches_up_doubles_nothing(tmp_path, caplog, fault, hook):
    """It was away while a new run began in its folder, and is started late."""

    class Stops(Legacy):
        def may_stop(self, name):
            if name == hook and hook not in self.stopped:
                self.stopped.append(hook)
                raise fault

    Run(tmp_path, Legacy()).open().save(0, 1).close()
    Run(tmp_path).open().save(0, 1, 2).close()
    writer = Stops()
    run = Run(tmp_path, writer, initial_epoch=3)
    with pytest.raises(fault) as raised:
        run.open()
    run.close(RuntimeError() if fault is KeyboardInterrupt else raised.value)
    assert len(writer.given) == len(set(writer.given))
    assert "'Stops' did not get epochs 0" in caplog.text


@pytest.mark.parametrize("hook", ["add_scalar", "add_scalars", "save"])
def test_a_handler_that_exits_in_the_last_feeding_doubles_nothing(tmp_path, caplog, hook):
    class Exits(Legacy):
        is_down = True

        def may_stop(self, name):
            if self.is_down:
                raise ConnectionError
            if name == hook and hook not in self.stopped:
                self.stopped.append(hook)
                raise SystemExit

    writer = Exits()
    run = Run(tmp_path, writer).open().save(0, 1, 2)
    writer.is_down = False
    with pytest.raises(SystemExit):
        run.close()
    assert len(writer.given) == len(set(writer.given))
    assert len(writer.given) >= 2
    assert "'Exits' did not get epochs 0" in caplog.text


class Legacy:
    """Appends, and is told of no epoch; may stop in a call that has taken effect."""

    def __init__(self):
        self.given, self.stopped = [], []

    def may_stop(self, name):
        """What becomes of the call."""

    def start(self):
        self.given.clear()

    def resume_from_saved_state(self, initial_epoch):
        """It cannot tell what it holds."""

    def add_scalar(self, name, value):
        self.given.append((name, value))
        self.may_stop("add_scalar")

    def add_scalars(self, prefix, value_dict):
        self.given.extend(value_dict.items())
        self.may_stop("add_scalars")

    def save(self):
        self.may_stop("save")
