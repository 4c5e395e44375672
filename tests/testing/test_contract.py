"""The conformance kit finds each broken promise, and names it."""

import re

import pytest
from support import json_writers
from support.json_writers import JsonWriter

from delve.journal.journal import Journal
from delve.testing import Fault, Recording, differences, run_id, sample_rows

pytest_plugins = ["pytester"]


CONTRACT = """
import pytest
from delve.testing import WriterContract
from support import json_writers

class TestWriter(WriterContract):
    def make_writer(self, folder):
        return {writer}(folder)

    def read_scalars(self, folder):
        return json_writers.read_scalars(folder)

    def read_arrays(self, folder):
        return json_writers.read_arrays(folder)
"""


@pytest.fixture
def contract(pytester, monkeypatch):
    """Runs the contract, or one test of it, for a writer; ``more`` ends the test's class."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a second less per run

    def run(writer="json_writers.JsonWriter", test=None, more=""):
        path = pytester.makepyfile(test_contract=CONTRACT.format(writer=writer) + more)
        selected = "::".join(filter(None, [str(path), "TestWriter", test]))
        return pytester.inline_run("-p", "no:cacheprovider", "--assert=plain", selected)

    return run


def message(run):
    """What the only test that failed said."""
    (failure,) = run.getfailures()
    return failure.longrepr.reprcrash.message


def test_a_correct_writer_passes_every_test(contract):
    passed, skipped, failed = contract().listoutcomes()
    assert not failed
    assert ["entry_point is not set" in report.longrepr[2] for report in skipped] == [True]
    assert len(passed) > 30


@pytest.mark.parametrize(
    ("writer", "test", "promise"),
    [
        (
            "DropsAnEpoch",
            "test_scalars_and_metrics_come_back",
            "every epoch must come back exactly as recorded; it holds epochs 0, 2-3 in place of "
            "epochs 0-3",
        ),
        (
            "FillsGaps",
            "test_late_and_rare_metrics_come_back",
            "must be held in the epochs that have it, and only there; epoch 1 holds 'rare', which "
            "was not given there",
        ),
        (
            "SwallowsNaN",
            "test_nan_and_infinities_come_back",
            "NaN and infinities must come back as they are (override stored(value) for a backend "
            "that cannot hold them); epoch 0 lacks 'loss'",
        ),
        (
            "HoldsTheFirstValue",
            "test_a_value_logged_again_in_its_epoch_replaces",
            "the last value must be held, once; epoch 0 holds 'loss' as 0.75, not 0.5",
        ),
        (
            "RefusesEpochsWithoutValues",
            "test_an_epoch_without_values_does_no_harm",
            "an epoch without values must not disturb others; save raised ValueError: nothing to",
        ),
        (
            "CutsLongLayerNames",
            "test_dotted_and_long_layer_names_come_back",
            "each layer must keep a name of its own; epoch 0 holds the value of",
        ),
        (
            "MergesNames",
            "test_awkward_names_are_neither_lost_nor_merged",
            "metrics with awkward names must neither get lost nor merged; epoch 0 holds the value "
            "of 'a/b' 0 times",
        ),
        (
            "RenamesFromEpochToEpoch",
            "test_awkward_names_are_neither_lost_nor_merged",
            "a metric must keep its name from epoch to epoch; 'a/b' became ['a/b 0', 'a/b 1']",
        ),
        (
            "WritesWhereNamesLead",
            "test_awkward_names_stay_in_the_folder",
            "nothing must be written outside of",
        ),
        (
            "OverwritesTheJournal",
            "test_awkward_names_stay_in_the_folder",
            "a metric's name must not lead to the run's journal",
        ),
        (
            "HalvesThePrecision",
            "test_arrays_come_back",
            "every array must come back as recorded; it holds another "
            "'train-covariance-matrix/features.0' of epoch 0",
        ),
        (
            "DuplicatesAfterResume",
            "test_resume_keeps_what_is_below_and_goes_on[2]",
            "after a resume at epoch 2 the backend must hold epochs 0-1 of before and epoch 2 of "
            "after, each exactly once; epoch 0 holds 'loss' 2 times",
        ),
        (
            "KeepsVoidEpochs",
            "test_resume_keeps_what_is_below_and_goes_on[2]",
            "after a resume at epoch 2 the backend must hold epochs 0-1 of before and epoch 2 of "
            "after, each exactly once; it holds epochs 0-3 in place of epochs 0-2",
        ),
        (
            "KeepsVoidEpochs",
            "test_resume_before_the_first_epoch",
            "the backend must hold the new epochs 1-2 and nothing else; it holds epochs 1-5 in",
        ),
        (
            "KeepsVoidEpochs",
            "test_rows_of_steps_go_on_behind_those_that_stay",
            "that are resumed by step 200, go on with 250 and then with 700",
        ),
        (
            "DuplicatesAfterResume",
            "test_rows_of_steps_go_on_behind_those_that_stay",
            "must each be there once, in their order",
        ),
        (
            "DropsEverythingOnResume",
            "test_resume_keeps_what_is_below_and_goes_on[4]",
            "each exactly once; it holds epoch 4 in place of epochs 0-4",
        ),
        (
            "AnswersThatNothingLacks",
            "test_resume_brings_what_the_backend_missed",
            "resume_from_saved_state must answer at most 2, the first epoch that the backend "
            "lacks, so that it is fed epochs 2-3 and holds each exactly once; it answered 4",
        ),
        (
            "AnswersTheNextEpoch",
            "test_resume_keeps_what_is_below_and_goes_on[1]",
            "resume_from_saved_state(1) must answer the first epoch that the backend lacks, from "
            "0 to 1, or None; it answered 2",
        ),
        (
            "RemembersMoreThanItHolds",
            "test_resume_after_a_kill",
            "after a kill in epoch 3 and a resume there the backend must hold epochs 0-2, and "
            "epoch 3 without what was logged before the kill, each exactly once; it holds epoch 3 "
            "in place of epochs 0-3",
        ),
        (
            "ResumesOnlyOnce",
            "test_resume_can_be_repeated",
            "after a resume at epoch 2 that was repeated, because its answer got lost, the backend "
            "must hold epochs 0-1 of before and epoch 2 of after, each exactly once; "
            "resume_from_saved_state raised RuntimeError: resumed already",
        ),
        (
            "StartsOnlyOnce",
            "test_start_can_be_repeated",
            "after a start that was repeated, because its answer got lost, the backend must hold "
            "each epoch exactly once; start raised FileExistsError",
        ),
        (
            "AppendsWhatComesAgain",
            "test_an_epoch_fed_again_is_held_once",
            "must be held exactly once; epoch 1 holds 'loss' 2 times",
        ),
        (
            "KeepsTheOldRun",
            "test_a_new_run_leaves_nothing_of_the_old_one",
            "a new run (initial_epoch=0) must hold nothing of an earlier one in its folder; it "
            "holds epochs 0-3 in place of epochs 0-1",
        ),
        (
            "KeepsVoidArrays",
            "test_resume_keeps_the_arrays_below",
            "the arrays of epochs 0-1 of before and of epoch 2 of after; it holds "
            "'train-covariance-matrix/features.0' of epoch 3, which it must not",
        ),
        (
            "KeepsTheOldRun",
            "test_a_new_run_leaves_no_arrays_of_the_old_one",
            "a new run (initial_epoch=0) must hold no array of an earlier one in its folder",
        ),
        (
            "ClosesOnlyOnce",
            "test_a_second_close_does_nothing",
            "a second close must do nothing; close raised ValueError: closed already",
        ),
        (
            "SavesInClose",
            "test_close_after_an_error_keeps_what_was_saved",
            "close after an error must keep every saved epoch, and nothing that was not saved; it "
            "holds epochs 0-1, 99 in place of epochs 0-1",
        ),
        (
            "ClosesOnlyWhatWasStarted",
            "test_close_without_a_start",
            "close must work where start was never called; close raised AttributeError",
        ),
        (
            "ClosesOnlyWhatWasStarted",
            "test_close_after_a_start_that_never_succeeded",
            "close must work where start never succeeded; close raised AttributeError",
        ),
        (
            "ReadsBackHalf",
            "test_what_was_recorded_is_read_back",
            "held_epochs must give every epoch as it was recorded; it holds epochs 0, 2 in place",
        ),
        (
            "ReadsBackAfterAStart",
            "test_what_was_recorded_is_read_back",
            "held_epochs must give every epoch as it was recorded; it holds no epoch in place",
        ),
        (
            "TidiesUpWhileReading",
            "test_what_was_recorded_is_read_back",
            "held_epochs must change nothing",
        ),
        (
            "PrintsInTheConstructor",
            "test_the_constructor_is_silent",
            "the constructor must be silent; it said ['writing to",
        ),
        (
            "WritesInTheConstructor",
            "test_the_constructor_does_no_io",
            "the constructor must do no I/O",
        ),
        (
            "SleepsInTheConstructor",
            "test_the_constructor_is_cheap",
            "the constructor must be cheap; it took 0.",
        ),
        (
            "TakesAnUnknownArgument",
            "test_the_methods_fit_the_specification",
            "the writer's methods must fit delve.hookspecs.WriterSpec; writer "
            "'TakesAnUnknownArgument': ",
        ),
        (
            "MisspellsAHook",
            "test_the_methods_fit_the_specification",
            "the method add_scalers is not a hook and is never called; did you mean add_scalars?",
        ),
    ],
)
def test_a_broken_promise_is_named(contract, writer, test, promise):
    assert promise in message(contract(f"json_writers.{writer}", test))


def test_every_broken_writer_is_tried():
    (parametrized,) = test_a_broken_promise_is_named.pytestmark
    tried = {writer for writer, *_ in parametrized.args[1]}
    broken = {
        name
        for name, value in vars(json_writers).items()
        if isinstance(value, type) and issubclass(value, JsonWriter) and value is not JsonWriter
    }
    assert tried | {"ClipsInfinities"} == broken


def test_a_backend_that_clips_infinities_may_say_so(contract):
    test = "test_nan_and_infinities_come_back"
    writer = "json_writers.ClipsInfinities"
    assert "epoch 1 holds 'loss' as 1e+300, not inf" in message(contract(writer, test))
    more = """
    def stored(self, value):
        return json_writers.clipped(value)
"""
    contract(writer, test, more).assertoutcome(passed=1)


def test_an_entry_point_to_another_class_is_named(contract):
    run = contract(test="test_the_entry_point_names_the_class", more="\n    entry_point = 'print'")
    assert message(run) == (
        "AssertionError: the entry point 'print' must name JsonWriter; "
        "it names delve.writers.PrintWriter"
    )


def test_an_entry_point_that_is_not_installed_is_named(contract):
    run = contract(
        test="test_the_entry_point_names_the_class", more="\n    entry_point = 'nowhere'"
    )
    assert "must name JsonWriter; save_to: no writer 'nowhere' is installed" in message(run)


def test_a_slow_import_at_module_level_is_named(contract, pytester):
    pytester.makepyfile(
        slow_writer="""
import time
from support.json_writers import JsonWriter

class SlowWriter(JsonWriter):
    pass

begun = time.process_time()
while time.process_time() - begun < 0.4:
    pass
"""
    )
    pytester.syspathinsert()
    more = "\nfrom slow_writer import SlowWriter"
    run = contract("SlowWriter", "test_importing_the_module_leaves_a_slow_backend_alone", more)
    assert re.search(
        "a slow backend must be imported inside the methods, not at module level; importing "
        r"slow_writer takes 0\.\d s and brings in slow_writer support",
        message(run),
    )


def test_a_recording_feeds_with_the_journals_own_values_and_times(tmp_path):
    class Notes:
        def __init__(self):
            self.calls = []

        def add_scalar(self, name, value, epoch, timestamp):
            self.calls.append((epoch, name, value, timestamp))

        def save(self, epoch, timestamp):
            self.calls.append((epoch, timestamp))

    writer, rows = Notes(), sample_rows(range(2))
    lost = Fault("save", [0], reached=True)
    recording = Recording(writer, tmp_path, "a promise", faults=[lost])
    recording.open()
    recording.save(*rows)
    recording.close()
    journal = Journal.resume(tmp_path, 2)
    replayed = writer.calls[len(rows[0].scalars) + 1 :]
    expected = []
    for record in map(journal.read, journal.epochs):
        expected += [(record.epoch, *item, record.timestamp) for item in record.scalars.items()]
        expected.append((record.epoch, record.timestamp))
    journal.close()
    assert replayed == expected
    assert run_id(tmp_path) == journal.run_id


def test_differences_are_put_in_words():
    rows = {0: {"a": 1.0}, 1: {"a": 2.0, "b": 3.0}, 2: {}}
    assert not differences([(0, "a", 1.0), (1, "b", 3.0), (1, "a", 2.0)], rows)
    assert differences([], rows) == "it holds no epoch in place of epochs 0-1"
    assert differences([(0, "a", 1.5), (1, "a", 2.0), (1, "a", 2.0), (1, "c", 0.0)], rows) == (
        "epoch 0 holds 'a' as 1.5, not 1.0; epoch 1 lacks 'b'; "
        "epoch 1 holds 'a' 2 times: [2.0, 2.0]; "
        "epoch 1 holds 'c', which was not given there"
    )
    many = {0: {str(number): 0.0 for number in range(9)}}
    assert differences([(0, "0", 0.0)], many).endswith("; and 3 more differences")
