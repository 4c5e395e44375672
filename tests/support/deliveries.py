"""Runs whose writers are fed as the tracker feeds them, and writers that fail or were away."""

import logging

from delve.delivery.checked_writer import check_writer
from delve.delivery.delivery import Delivery
from delve.journal.journal import Journal
from delve.records import EpochRecord, Metric, RunInfo
from support.writers import Recorder

FC = Metric("train", "saturation", "fc")
SPECTRUM = Metric("train", "spectrum", "fc")

TIME = 1_700_000_000_000  # of epoch 0, in milliseconds; later epochs come one minute apart


class Run:
    """A run in a folder, recorded by these writers, as the tracker wires it."""

    def __init__(
        self, folder, *writers, initial_epoch=0, raise_errors=False, config=None, patience=60.0
    ):
        folder.mkdir(exist_ok=True)
        if initial_epoch:
            self.journal = Journal.resume(folder, initial_epoch, ["fc"], config)
        else:
            self.journal = Journal.create(folder, ["fc"], config or {})
        names = [getattr(writer, "name", type(writer).__name__) for writer in writers]
        named = [
            check_writer(f"{name}-{number}" if name in names[:number] else name, writer)
            for number, (name, writer) in enumerate(zip(names, writers, strict=True))
        ]
        run = RunInfo(
            folder,
            self.journal.run_id,
            self.journal.created,
            layers=("fc",),
            config=config or {},
            initial_epoch=initial_epoch,
            epochs=tuple(self.journal.epochs),
            metrics=self.journal.metrics,
        )
        self.delivery = Delivery(named, self.journal, run, raise_errors, patience=patience)

    def open(self):
        self.delivery.open()
        return self

    def save(self, *epochs, arrays=None):
        for epoch in epochs:
            time = TIME + 60_000 * epoch
            # The moment of logging is earlier than that of saving.
            self.delivery.add_scalar("loss", loss(epoch), epoch, time - 1000)
            record = EpochRecord(epoch, time, {"loss": loss(epoch)}, {FC: epoch / 10})
            self.journal.write_epoch(record, ["fc"])
            self.delivery.save(record, arrays or {}, ["fc"])
        return self

    def close(self, error=None):
        try:
            self.delivery.close(error)
        finally:
            self.journal.close()


def loss(epoch):
    return 1 / (epoch + 1)


def row(epoch):
    return {"loss": loss(epoch), FC: epoch / 10}


def rows(*epochs):
    return {epoch: row(epoch) for epoch in epochs}


class Flaky(Recorder):
    """Raises in one hook, in some of its calls, before it notes them."""

    def __init__(self, hook="save", calls=range(99), error=ConnectionError):
        super().__init__()
        self.failing, self.failing_calls, self.error = hook, calls, error
        self.tries = 0

    def may_fail(self, hook):
        if hook == self.failing:
            self.tries += 1
            if self.tries - 1 in self.failing_calls:
                raise self.error(f"{hook} failed")

    def start(self, run):
        self.may_fail("start")
        super().start(run)

    def resume_from_saved_state(self, initial_epoch, run):
        self.may_fail("resume_from_saved_state")
        super().resume_from_saved_state(initial_epoch, run)
        return run.first_lacking(())

    def add_scalar(self, name, value, epoch):
        self.may_fail("add_scalar")
        super().add_scalar(name, value, epoch)

    def add_scalars(self, value_dict, global_step, prefix):
        self.may_fail("add_scalars")
        super().add_scalars(value_dict, global_step, prefix)

    def add_array(self, name, value, epoch):
        self.may_fail("add_array")

    def save(self, epoch, timestamp):
        self.may_fail("save")
        super().save(epoch, timestamp)

    def close(self, error):
        self.may_fail("close")
        super().close(error)

    @property
    def saved(self):
        return [call["epoch"] for hook, call in self.calls if hook == "save"]


class Keeping(Recorder):
    """Holds what it was given over several runs, as a backend does."""

    is_down = False

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.held = {}
        self.given = []

    @property
    def rows(self):
        return self.held

    @property
    def resumed(self):
        return [call for hook, call in self.calls if hook == "resume_from_saved_state"]

    def start(self, run):
        super().start(run)
        self.held.clear()

    def resume_from_saved_state(self, initial_epoch, run):
        if self.is_down:
            raise ConnectionError("down")
        super().resume_from_saved_state(initial_epoch, run)
        assert run.initial_epoch == initial_epoch
        assert all(epoch < initial_epoch for epoch in run.epochs)
        self.held = {epoch: row for epoch, row in self.held.items() if epoch < initial_epoch}
        return run.first_lacking(self.held)

    def add_scalar(self, name, value, epoch):
        self.held.setdefault(epoch, {})[name] = value

    def add_scalars(self, value_dict, global_step, prefix):
        self.held.setdefault(global_step, {}).update(value_dict)

    def save(self, epoch, timestamp):
        self.given.append(epoch)


class Answers(Recorder):
    """Gives one answer to a resume, whatever it holds."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def resume_from_saved_state(self, initial_epoch):
        return self.answer


def warnings_of(caplog):
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]
