"""Feeding the writers: each apart from the faults of the others, and all from the journal."""

import logging

import numpy as np
import pytest
from support.deliveries import FC, SPECTRUM, TIME, Answers, Flaky, Run, loss, row, rows, warnings_of
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.errors import BackendLostError, WriterConfigurationError, WriterFailedError
from delve.hookspecs import HOOKS
from delve.writers import AbstractWriter

# One writer's faults are its own


@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook != "held_epochs"])
def test_a_writer_that_raises_does_not_reach_the_others(tmp_path, caplog, hook):
    first, flaky, last = Recorder(), Flaky(hook), Recorder()
    if hook == "resume_from_saved_state":
        Run(tmp_path).open().save(0).close()
    initial_epoch = 1 if hook == "resume_from_saved_state" else 0
    run = Run(tmp_path, first, flaky, last, initial_epoch=initial_epoch).open()
    run.save(1, 2, arrays={SPECTRUM: np.zeros(3)})
    run.close()
    for other in (first, last):
        assert other.rows == rows(1, 2)
        opening = "resume_from_saved_state" if initial_epoch else "start"
        assert other.hooks == [opening, *2 * ["add_scalar", "add_scalars", "save"], "close"]
    assert f"ConnectionError: {hook} failed" in warnings_of(caplog)[0]
    assert "'Flaky'" in warnings_of(caplog)[0]


def test_nobody_else_waits_for_a_writer_that_is_tried_again(tmp_path, clock):
    flaky, other = Flaky(), Recorder()
    run = Run(tmp_path, flaky, other).open().save(*range(5))
    assert other.rows == rows(*range(5))
    assert flaky.tries == 1
    run.close()


def test_the_traceback_is_there_for_who_asks(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        Run(tmp_path, Flaky(calls=[0])).open().save(0).close()
    (debug, *_) = [record for record in caplog.records if record.levelno == logging.DEBUG]
    assert isinstance(debug.exc_info[1], ConnectionError)


@pytest.mark.parametrize("hook", ["add_scalar", "add_scalars", "save"])
@pytest.mark.parametrize("goes_on", [True, False])
def test_an_interrupted_epoch_reaches_every_writer(tmp_path, caplog, hook, goes_on):
    first, interrupted, last = Recorder(), Flaky(hook, [1], KeyboardInterrupt), Recorder()
    run = Run(tmp_path, first, interrupted, last).open().save(0)
    with pytest.raises(KeyboardInterrupt):
        run.save(1)
    if hook == "add_scalar":
        run.save(1)  # as a tracker does, whose epoch is still open
    if goes_on:
        run.save(2)
    run.close()
    for writer in (first, interrupted, last):
        assert writer.rows == rows(*range(3 if goes_on else 2))
        assert writer.hooks[-1] == "close"
    assert first.hooks.count("save") == (3 if goes_on else 2)  # it was served before
    assert not warnings_of(caplog)


def test_an_interrupted_epoch_is_named_where_feeding_it_again_would_double_it(tmp_path, caplog):
    class Appends:
        def __init__(self):
            self.lines = []

        def add_scalars(self, prefix, value_dict):
            self.lines.append("metrics")

        def save(self):
            if len(self.lines) == 3:
                raise KeyboardInterrupt
            self.lines.append("save")

    writer = Appends()
    run = Run(tmp_path, writer).open().save(0)
    with pytest.raises(KeyboardInterrupt):
        run.save(1)
    run.save(2).close()
    assert writer.lines == ["metrics", "save", "metrics", "metrics", "save"]
    (warning,) = warnings_of(caplog)
    assert warning.startswith("writer 'Appends' did not get epochs 1;")


def test_an_interrupt_in_close_leaves_no_other_writer_open(tmp_path):
    first, last = Flaky("close", error=KeyboardInterrupt), Recorder()
    run = Run(tmp_path, first, last).open().save(0)
    with pytest.raises(KeyboardInterrupt):
        run.close()
    assert last.hooks[-1] == "close"


# Recovery


@pytest.mark.parametrize("hook", ["start", "add_scalar", "add_scalars", "save"])
def test_a_writer_that_recovers_gets_all_that_it_missed(tmp_path, clock, hook):
    flaky = Flaky(hook, calls=[0])
    run = Run(tmp_path, flaky).open().save(0, 1, 2)
    clock.now += 2
    run.save(3)
    assert flaky.rows == rows(0, 1, 2, 3)
    assert flaky.saved == [0, 1, 2, 3]
    run.save(4)
    assert flaky.saved == [0, 1, 2, 3, 4]
    assert flaky.hooks.count("start") == 1
    assert flaky.hooks[0] == "start"
    run.close()


def test_what_was_missed_comes_with_the_journals_timestamps(tmp_path, clock):
    class Stamps:
        def __init__(self):
            self.stamps = []

        def add_scalar(self, epoch, timestamp):
            if len(self.stamps) == 0:
                self.stamps.append("failed")
                raise ConnectionError
            self.stamps.append((epoch, timestamp))

        def add_scalars(self, global_step, timestamp):
            self.stamps.append((global_step, timestamp))

        def save(self, epoch, timestamp):
            self.stamps.append((epoch, timestamp))

    writer = Stamps()
    run = Run(tmp_path, writer).open().save(0, 1)
    run.close()
    assert writer.stamps == ["failed", *3 * [(0, TIME)], *3 * [(1, TIME + 60_000)]]


class Lost(Flaky):
    """Loses its backend, with all that it held from one epoch on."""

    def __init__(self, calls, held):
        super().__init__(calls=calls, error=BackendLostError)
        self.held = held

    def resume_from_saved_state(self, initial_epoch, run):
        Recorder.resume_from_saved_state(self, initial_epoch, run)
        return run.first_lacking(range(self.held))


@pytest.mark.parametrize("held", [1, 3], ids=["two epochs were lost", "none was lost"])
def test_a_writer_whose_backend_is_lost_is_resumed_and_fed_what_it_lacks(tmp_path, clock, held):
    lost, other = Lost([3], held), Recorder()
    run = Run(tmp_path, lost, other).open().save(0, 1, 2, 3)
    clock.now += 60
    run.save(4, 5).close()
    ((_, resumed),) = [call for call in lost.calls if call[0] == "resume_from_saved_state"]
    assert resumed["initial_epoch"] == resumed["run"].initial_epoch == 3
    assert resumed["run"].epochs == (0, 1, 2)
    assert resumed["run"].metrics == ("loss", FC)
    assert lost.saved == [0, 1, 2, *range(held, 6)]
    assert lost.rows == other.rows == rows(*range(6))
    assert lost.hooks.count("start") == other.hooks.count("start") == 1


def test_a_writer_that_loses_its_backend_before_the_first_epoch_starts_again(tmp_path):
    lost = Lost([0], held=0)
    Run(tmp_path, lost).open().save(0, 1).close()
    assert lost.hooks.count("start") == 2
    assert "resume_from_saved_state" not in lost.hooks
    assert lost.saved == [0, 1]


def test_a_backend_that_is_lost_again_and_again_costs_no_epoch(tmp_path, clock):
    lost = Lost([1, 2, 4], held=1)
    run = Run(tmp_path, lost).open()
    for epoch in range(6):
        run.save(epoch)
        clock.now += 600
    run.close()
    assert lost.rows == rows(*range(6))
    assert lost.hooks.count("resume_from_saved_state") == 3


def test_close_tries_a_last_time(tmp_path, caplog):
    flaky = Flaky(calls=[0])
    Run(tmp_path, flaky).open().save(0, 1, 2).close()
    assert flaky.rows == rows(0, 1, 2)
    assert flaky.hooks[-1] == "close"
    assert len(warnings_of(caplog)) == 1


def test_a_writer_that_fails_again_while_it_catches_up_goes_on_from_there(tmp_path, clock):
    flaky = Flaky(calls=[1, 3])  # epoch 1, then epoch 2 of the second attempt
    run = Run(tmp_path, flaky).open().save(0, 1, 2, 3)
    clock.now += 2
    run.save(4)
    assert flaky.saved == [0, 1]
    clock.now += 4
    run.save(5)
    assert flaky.saved == [0, 1, 2, 3, 4, 5]
    assert flaky.rows == rows(*range(6))
    run.close()


def test_each_outage_is_warned_of_once(tmp_path, clock, caplog):
    caplog.set_level(logging.INFO)
    run = Run(tmp_path, Flaky(calls=[0, 1, 2, 8])).open()
    for epoch in range(7):
        run.save(epoch)
        clock.now += 100
    run.close()
    said = [message for message in caplog.messages if "Flaky" in message]
    assert [("failed" in message, "caught up" in message) for message in said] == [
        (True, False),
        (False, True),
        (True, False),
        (False, True),
    ]


def test_arrays_of_the_epoch_in_which_it_recovers_reach_the_writer(tmp_path, clock):
    class Arrays(Flaky):
        def add_array(self, name, value, epoch):
            self.calls.append(("add_array", {"name": name, "epoch": epoch}))

        def save(self, epoch, timestamp):
            clock.now += 0.5
            super().save(epoch, timestamp)

    writer = Arrays(calls=[0])
    run = Run(tmp_path, writer).open().save(0, 1, arrays={SPECTRUM: np.zeros(3)})
    clock.now += 12
    run.save(2, arrays={SPECTRUM: np.zeros(3)})
    given = [call["epoch"] for hook, call in writer.calls if hook == "add_array"]
    assert given == [0, 2]  # that of epoch 1 is lost: the journal holds scalars
    run.close()


# A writer that stays dead


def test_a_dead_writer_is_warned_of_once_and_named_at_close_with_its_epochs(tmp_path, caplog):
    dead = Flaky(calls=range(1, 99))
    Run(tmp_path, dead).open().save(*range(5)).close()
    first, last = warnings_of(caplog)
    assert first.startswith("writer 'Flaky' failed at epoch 1: ConnectionError: save failed")
    assert last.startswith("writer 'Flaky' did not get epochs 1-4; they are in ")
    assert str(tmp_path / "journal.jsonl") in last
    assert last.endswith("resume the run with this writer in save_to to deliver them")
    assert dead.hooks[-1] == "close"


def test_what_an_installed_writer_did_not_get_is_delivered_by_a_command(tmp_path, caplog):
    dead = Flaky(calls=range(1, 99))
    vars(dead)["name"] = "print"  # as of a writer that was selected by this name
    Run(tmp_path / "a run", dead).open().save(0, 1).close()
    command = f"`delve export '{tmp_path}/a run' --to print` delivers them"
    assert warnings_of(caplog)[-1].endswith(command)


def test_a_writer_that_never_started_is_closed_all_the_same(tmp_path, caplog):
    dead = Flaky("start")
    Run(tmp_path, dead).open().save(0, 1).close()
    assert dead.hooks == ["close"]
    assert "did not get epochs 0-1" in warnings_of(caplog)[-1]


def test_a_writer_that_fails_to_close_is_named_and_the_others_are_closed(tmp_path, caplog):
    last = Recorder()
    Run(tmp_path, Flaky("close"), last).open().save(0).close()
    assert warnings_of(caplog) == ["writer 'Flaky' failed to close: ConnectionError: close failed"]
    assert last.hooks[-1] == "close"


def test_every_writer_is_told_the_error_that_ended_the_run(tmp_path):
    writer, error = Recorder(), RuntimeError("the training failed")
    Run(tmp_path, writer).open().save(0).close(error)
    assert writer.calls[-1] == ("close", {"error": error})


def test_a_long_message_is_cut_to_its_first_line(tmp_path, caplog):
    class Wordy:
        def save(self):
            raise ValueError("first\n" + "more\n" * 100)

    Run(tmp_path, Wordy()).open().save(0).close()
    assert "ValueError: first; the training goes on" in caplog.text
    assert "more" not in caplog.text


# on_writer_error="raise", and what only the user can mend


def test_raise_makes_the_first_failure_an_exception_once_all_others_were_fed(tmp_path):
    first, last = Recorder(), Recorder()
    run = Run(tmp_path, first, Flaky(calls=[1]), last, raise_errors=True).open().save(0)
    with pytest.raises(WriterFailedError, match="'Flaky' failed: ConnectionError: save") as caught:
        run.save(1)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert first.rows == last.rows == rows(0, 1)
    assert last.hooks[-1] == "save"
    run.close(caught.value)
    assert first.hooks[-1] == last.hooks[-1] == "close"


@pytest.mark.parametrize("hook", ["start", "add_scalar", "add_scalars", "close"])
def test_raise_holds_in_every_hook(tmp_path, hook):
    last = Recorder()
    run = Run(tmp_path, Flaky(hook), last, raise_errors=True)
    with pytest.raises(WriterFailedError, match=f"{hook} failed"):
        run.open().save(0).close()
    run.close(RuntimeError())  # as the tracker does
    assert last.hooks[-1] == "close"


def test_raise_does_not_hide_the_error_that_ended_the_run(tmp_path):
    run = Run(tmp_path, Flaky("close"), raise_errors=True).open()
    run.close(RuntimeError("the training failed"))


@pytest.mark.parametrize("hook", ["start", "resume_from_saved_state"])
def test_a_wrong_configuration_ends_the_construction(tmp_path, hook):
    model, first = nn.Linear(4, 3), Recorder()
    misconfigured = Flaky(hook, error=WriterConfigurationError)
    initial_epoch = int(hook == "resume_from_saved_state")
    if initial_epoch:
        SaturationTracker(tmp_path, Recorder(), model).close()
    with pytest.raises(WriterConfigurationError, match=f"{hook} failed"):
        SaturationTracker(tmp_path, [first, misconfigured], model, initial_epoch=initial_epoch)
    assert first.hooks == [hook, "close"]
    assert misconfigured.hooks == ["close"]
    assert not model._forward_hooks
    SaturationTracker(tmp_path, Recorder(), model).close()  # the folder is free again


def test_a_wrong_configuration_found_later_does_not_end_the_training(tmp_path, clock, caplog):
    class FoundLater(Flaky):
        def start(self, run):
            self.tries += 1
            if self.tries == 1:
                raise ConnectionError("no answer")
            raise WriterConfigurationError("wrong password")

    last = Recorder()
    run = Run(tmp_path, FoundLater(), last).open().save(0)
    clock.now += 2
    run.save(1)
    run.close()
    assert last.rows == rows(0, 1)
    assert last.hooks[-1] == "close"
    assert "did not get epochs 0-1" in warnings_of(caplog)[-1]


# Writers as delve 0.1 documents them


class Legacy:
    """The five methods, and rows told apart by the calls of save alone."""

    def __init__(self):
        self.saved, self.row, self.resumed_at, self.closed = [], {}, None, False

    def resume_from_saved_state(self, initial_epoch):
        self.resumed_at = initial_epoch

    def add_scalar(self, name, value, **kwargs):
        assert not kwargs
        self.row[name] = value

    def add_scalars(self, prefix, value_dict, **kwargs):
        for name, value in value_dict.items():
            self.add_scalar(prefix + name, value, **kwargs)

    def save(self):
        self.saved.append(self.row)
        self.row = {}

    def close(self):
        self.closed = True


class LegacyBare(Legacy):
    def add_scalar(self, name, value):
        self.row[name] = value

    def add_scalars(self, prefix, value_dict):
        self.row.update({f"{prefix}{name}": value for name, value in value_dict.items()})


class LegacySamples(Legacy):
    def add_scalars(self, prefix, value_dict, sample_value_dict, **kwargs):
        assert not sample_value_dict
        super().add_scalars(prefix, value_dict)


class LegacyAnyArguments(Legacy):
    def resume_from_saved_state(self, initial_epoch, *args, **kwargs):
        super().resume_from_saved_state(initial_epoch)

    def save(self, *args, **kwargs):
        super().save()

    def close(self, *args, **kwargs):
        super().close()


class LegacyCannotResume(Legacy):
    def resume_from_saved_state(self, initial_epoch):
        raise NotImplementedError("no state is kept")


class LegacyAbstract(Legacy, AbstractWriter):
    pass


LEGACY = [
    Legacy,
    LegacyBare,
    LegacySamples,
    LegacyAnyArguments,
    LegacyCannotResume,
    LegacyAbstract,
]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "in a list"])
@pytest.mark.parametrize("writer_class", LEGACY)
def test_a_writer_for_delve_01_works_unchanged(tmp_path, caplog, writer_class, beside):
    writer, other = writer_class(), Recorder()
    Run(tmp_path, *([other] * beside), writer).open().save(0, 1).close()
    assert writer.saved == [row(0), row(1)]
    assert writer.closed
    assert writer.resumed_at is None
    assert not caplog.messages


@pytest.mark.parametrize("writer_class", LEGACY)
def test_a_writer_for_delve_01_is_resumed(recorded, caplog, writer_class):
    writer, other = writer_class(), Answers(0)
    Run(recorded, writer, other, initial_epoch=4).open().save(4).close()
    assert writer.saved == [row(4)]
    assert other.rows == rows(*range(5))
    if writer_class is LegacyCannotResume:
        assert writer.resumed_at is None
        assert warnings_of(caplog) == [
            "writer 'LegacyCannotResume' cannot resume (NotImplementedError: no state is kept); "
            "it gets the epochs from 4 on"
        ]
    else:
        assert writer.resumed_at == 4
        assert not warnings_of(caplog)


def test_a_writer_for_delve_01_works_in_the_tracker(tmp_path):
    model = nn.Linear(4, 3)
    for initial_epoch in (0, 1):
        writer = LegacyAbstract()
        with SaturationTracker(tmp_path, writer, model, initial_epoch=initial_epoch) as tracker:
            tracker.add_scalar("loss", 0.5)
            tracker.add_saturations()
        assert writer.saved == [{"loss": 0.5}]
        assert writer.resumed_at == (initial_epoch or None)
        assert writer.closed


@pytest.mark.parametrize("hook", ["add_scalars", "save"])
def test_an_epoch_that_it_may_hold_in_part_is_not_fed_to_a_writer_that_is_not_told_which(
    tmp_path, clock, caplog, hook
):
    class Fails(LegacyBare):
        tries = 0

        def may_fail(self, name):
            if name == hook:
                self.tries += 1
                if self.tries == 2:
                    raise ConnectionError

        def add_scalars(self, prefix, value_dict):
            self.may_fail("add_scalars")
            super().add_scalars(prefix, value_dict)

        def save(self):
            self.may_fail("save")
            super().save()

    writer = Fails()
    run = Run(tmp_path, writer).open().save(0, 1, 2)
    clock.now += 2
    run.save(3)
    run.close()
    assert [r["loss"] for r in writer.saved] == [loss(0), loss(2), loss(3)]
    assert "did not get epochs 1;" in warnings_of(caplog)[-1]


def test_a_writer_that_is_told_the_epoch_by_a_default_is_fed_it_again(tmp_path, clock):
    class Defaults:
        def __init__(self):
            self.saved = []

        def save(self, epoch=None):
            if len(self.saved) == 0:
                self.saved.append("failed")
                raise ConnectionError
            self.saved.append(epoch)

    writer = Defaults()
    run = Run(tmp_path, writer).open().save(0)
    clock.now += 2
    run.save(1)
    run.close()
    assert writer.saved == ["failed", 0, 1]


# Writers that behave badly


def test_a_writer_cannot_change_what_the_others_get(tmp_path):
    class Vandal:
        def start(self, run):
            run.config["model"].clear()
            run.config.clear()

        def add_scalars(self, value_dict):
            value_dict.clear()

        def add_array(self, value):
            value[:] = -1

    class Keeps(Recorder):
        def add_array(self, value):
            self.array = value.copy()

    config, last = {"model": {"width": 64}}, Keeps()
    run = Run(tmp_path, Vandal(), last, config=config).open()
    run.save(0, arrays={SPECTRUM: np.ones(3)})
    run.close()
    assert last.rows == rows(0)
    assert last.calls[0][1]["run"].config == config == {"model": {"width": 64}}
    assert np.array_equal(last.array, np.ones(3))


class CallsBack:
    """Logs into the tracker that feeds it."""

    tracker: SaturationTracker

    def __init__(self):
        self.calls = 0

    def save(self):
        self.calls += 1
        self.tracker.add_scalar("from within", 1.0)


def test_a_writer_that_calls_the_tracker_back_harms_no_row(tmp_path, caplog):
    class Rows(Legacy):  # not told the epoch: what is staged goes into the row that is saved next
        pass

    calls_back, last = CallsBack(), Rows()
    with SaturationTracker(tmp_path, [calls_back, last], nn.Linear(4, 3)) as tracker:
        calls_back.tracker = tracker
        for epoch in range(2):
            tracker.add_scalar("loss", loss(epoch))
            tracker.add_saturations()
    assert last.saved == [{"loss": loss(0)}, {"loss": loss(1)}]
    assert "writer 'CallsBack' failed" in caplog.text


def test_a_writer_that_saves_from_within_save_does_not_run_forever(tmp_path):
    class Saves(CallsBack):
        def save(self):
            self.calls += 1
            self.tracker.save()

    saves, last = Saves(), Recorder()
    with SaturationTracker(tmp_path, [saves, last], nn.Linear(4, 3)) as tracker:
        saves.tracker = tracker
        tracker.add_scalar("loss", 1.0)
        tracker.save()
        assert tracker.epoch == 1
    assert saves.calls <= 2  # at once, and a last time in close
    assert last.rows == {0: {"loss": 1.0}}
