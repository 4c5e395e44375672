"""Rows that carry training steps: the one x axis, a resume by a step, and which calls record."""

import itertools
import subprocess
import sys
import textwrap

import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError, NoHeaderError
from delve.journal.stored_run import read_run

BATCH = 4


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


class Stepped(Recorder):
    """Keeps what each hook was told of the step."""

    def __init__(self):
        super().__init__()
        self.steps = []
        self.axes = []

    def resume_from_saved_state(self, initial_epoch, run):
        self.told = run
        return run.initial_epoch

    def add_scalars(self, value_dict, global_step, step):
        self.steps.append(("add_scalars", global_step, step))

    def add_array(self, name, epoch, step):
        self.steps.append(("add_array", epoch, step))

    def save(self, epoch, step, run):
        self.steps.append(("save", epoch, step))
        self.axes.append(run.axis)


class Older:
    """Has the hooks as they were before there were steps."""

    def __init__(self):
        self.rows = []

    def save(self, epoch, timestamp, run):
        self.rows.append(epoch)


def train(model, tracker, steps, **scalars):
    for step in steps:
        model(torch.randn(BATCH, 6))
        tracker.add_scalar("loss", step / 8)
        tracker.add_saturations(step=step)


def rows_of(folder):
    return [(record.epoch, record.step) for record in read_run(folder).records]


def samples_of(folder):
    return [record.metrics["train-samples/0"] for record in read_run(folder).records]


# --- what a row carries --------------------------------------------------------------------------


def test_each_hook_of_a_row_is_told_its_step(tmp_path, model):
    writer = Stepped()
    with SaturationTracker(tmp_path, writer, model, stats=["lsat", "spectrum"]) as tracker:
        train(model, tracker, [0, 5, 70])
    assert {(epoch, step) for _, epoch, step in writer.steps} == {(0, 0), (1, 5), (2, 70)}
    assert {hook for hook, _, _ in writer.steps} == {"add_scalars", "add_array", "save"}
    assert writer.axes == ["step"] * 3
    assert rows_of(tmp_path) == [(0, 0), (1, 5), (2, 70)]


def test_without_a_step_all_is_as_it_was(tmp_path, model):
    writer, older = Stepped(), Older()
    with SaturationTracker(tmp_path, [writer, older], model) as tracker:
        model(torch.randn(BATCH, 6))
        tracker.add_saturations()
        tracker.add_scalar("step", 7)  # a name like any other here
        tracker.save()
    assert {step for _, _, step in writer.steps} == {None}
    assert writer.axes == ["epoch", "epoch"]
    assert older.rows == [0, 1]
    assert rows_of(tmp_path) == [(0, None), (1, None)]


def test_a_writer_that_knows_no_steps_gets_the_rows(tmp_path, model):
    older = Older()
    with SaturationTracker(tmp_path, older, model) as tracker:
        train(model, tracker, [10, 20])
    assert older.rows == [0, 1]


def test_the_step_may_come_with_the_statistics_or_with_the_save(tmp_path, model):
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        model(torch.randn(BATCH, 6))
        tracker.add_saturations(save=False, step=10)
        tracker.save()
        tracker.add_saturations(save=False)
        tracker.save(step=20)
        tracker.add_saturations(save=False, step=30)
        tracker.save(step=31)
    assert rows_of(tmp_path) == [(0, 10), (1, 20), (2, 31)]


@pytest.mark.parametrize("step", [-1, 1.5, "7", True, 2**53 + 1, torch.tensor(7.0)])
def test_what_is_no_step_is_named_and_nothing_is_recorded(tmp_path, model, step):
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        model(torch.randn(BATCH, 6))
        for call in (tracker.add_saturations, tracker.save):
            with pytest.raises(ArgumentError, match="step must be a whole number"):
                call(step=step)
        assert tracker.epoch == 0
        tracker.add_saturations(step=3)  # of the samples that came before
    assert rows_of(tmp_path) == [(0, 3)]
    assert read_run(tmp_path).metrics


@pytest.mark.parametrize("step", [20, 19, 0])
def test_a_step_that_falls_or_repeats_is_named_and_nothing_is_recorded(tmp_path, model, step):
    with SaturationTracker(tmp_path, Recorder(), model, stats=["n"]) as tracker:
        train(model, tracker, [10, 20])
        model(torch.randn(BATCH, 6))
        for call in (tracker.add_saturations, tracker.save):
            with pytest.raises(ArgumentError, match=rf"step={step} does not lie behind step 20"):
                call(step=step)
        tracker.add_saturations(step=21)
    assert rows_of(tmp_path) == [(0, 10), (1, 20), (2, 21)]
    assert samples_of(tmp_path) == [BATCH] * 3


def test_a_run_has_one_x_axis(tmp_path, model):
    with SaturationTracker(tmp_path / "a", Recorder(), model) as tracker:
        train(model, tracker, [10])
        for call in (tracker.add_saturations, tracker.save):
            with pytest.raises(ArgumentError, match="carry training steps"):
                call()
    with SaturationTracker(tmp_path / "b", Recorder(), model) as tracker:
        tracker.save()
        for call in (tracker.add_saturations, tracker.save):
            with pytest.raises(ArgumentError, match="one x axis"):
                call(step=10)
    assert (rows_of(tmp_path / "a"), rows_of(tmp_path / "b")) == ([(0, 10)], [(0, None)])


@pytest.mark.parametrize("initial", [1, "auto"])
def test_a_resume_does_not_change_the_axis(tmp_path, model, initial):
    with SaturationTracker(tmp_path / "a", Recorder(), model) as tracker:
        train(model, tracker, [10])
    with SaturationTracker(tmp_path / "a", Recorder(), model, initial_epoch=initial) as tracker:
        with pytest.raises(ArgumentError, match="carry training steps, the last one 10"):
            tracker.save()
        with pytest.raises(ArgumentError, match="behind step 10"):
            tracker.save(step=10)
        train(model, tracker, [11])
    assert rows_of(tmp_path / "a") == [(0, 10), (1, 11)]
    with SaturationTracker(tmp_path / "b", Recorder(), model) as tracker:
        tracker.save()
    with (
        SaturationTracker(tmp_path / "b", Recorder(), model, initial_epoch=initial) as tracker,
        pytest.raises(ArgumentError, match="one x axis"),
    ):
        tracker.save(step=5)


def test_a_scalar_named_step_is_none_in_a_run_of_steps(tmp_path, model):
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        tracker.add_scalar("step", 1)
        with pytest.raises(ArgumentError, match="a scalar named 'step'"):
            tracker.save(step=1)
        tracker.save()
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        tracker.save(step=1)
        with pytest.raises(ArgumentError, match="'step' is taken"):
            tracker.add_scalar("step", 1)


def test_what_is_left_at_the_end_has_the_last_step_that_was_told(tmp_path, model, caplog):
    with SaturationTracker(tmp_path, Recorder(), model, every=10) as tracker:
        train(model, tracker, range(1, 26))
    assert rows_of(tmp_path) == [(0, 10), (1, 20), (2, 25)]
    with SaturationTracker(tmp_path, Recorder(), model, initial_step=20) as tracker:
        tracker.add_scalar("test accuracy", 0.5)
    assert rows_of(tmp_path) == [(0, 10), (1, 20), (2, 21)]
    assert "recorded at step 21" in caplog.text


# --- a resume by a step --------------------------------------------------------------------------


@pytest.mark.parametrize(("initial_step", "kept"), [(30, 3), (39, 3), (40, 4), (10, 1), (99, 5)])
def test_rows_up_to_the_step_stay(tmp_path, model, initial_step, kept):
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        train(model, tracker, range(10, 51, 10))
    writer = Stepped()
    with SaturationTracker(tmp_path, writer, model, initial_step=initial_step) as tracker:
        assert tracker.epoch == kept
        train(model, tracker, [100])
    assert rows_of(tmp_path) == [*((e, 10 * e + 10) for e in range(kept)), (kept, 100)]
    assert dict(writer.told.steps) == {epoch: 10 * epoch + 10 for epoch in range(kept)}
    assert writer.told.initial_x == initial_step + 1
    assert writer.told.axis == "step"


def test_a_run_that_recorded_nothing_up_to_there_begins_anew(tmp_path, model):
    SaturationTracker(tmp_path, Recorder(), model).close()
    with SaturationTracker(tmp_path, Recorder(), model, initial_step=50, every=100) as tracker:
        train(model, tracker, range(51, 251))
    assert rows_of(tmp_path) == [(0, 100), (1, 200), (2, 250)]
    with SaturationTracker(tmp_path, Recorder(), model, initial_step=99) as tracker:
        assert tracker.epoch == 0


def test_the_first_step_begins_a_new_run_where_there_is_none(tmp_path, model):
    with SaturationTracker(tmp_path / "new", Recorder(), model, initial_step=0) as tracker:
        train(model, tracker, [1])
    assert rows_of(tmp_path / "new") == [(0, 1)]


def test_a_journal_that_cannot_tell_the_epoch_is_named(tmp_path, model):
    def resume(folder, initial_step=5, **more):
        SaturationTracker(folder, Recorder(), model, initial_step=initial_step, **more)

    with pytest.raises(ArgumentError, match="holds no journal"):
        resume(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with SaturationTracker(tmp_path / "epochs", Recorder(), model) as tracker:
        tracker.save()
    before = (tmp_path / "epochs/journal.jsonl").read_bytes()
    with pytest.raises(ArgumentError, match=r"no training steps.*initial_epoch"):
        resume(tmp_path / "epochs")
    for epoch in (1, "auto"):
        with pytest.raises(ArgumentError, match="exclude each other"):
            resume(tmp_path / "epochs", initial_epoch=epoch)
    for step in (-1, "7", True, 0.5):
        with pytest.raises(ArgumentError, match="initial_step must be a whole number"):
            resume(tmp_path / "epochs", step)
    assert (tmp_path / "epochs/journal.jsonl").read_bytes() == before
    (tmp_path / "epochs/journal.jsonl").write_bytes(before.partition(b"\n")[2])
    with pytest.raises(NoHeaderError):
        resume(tmp_path / "epochs")


def test_rows_that_a_journal_has_lost_at_the_step_are_not_guessed(tmp_path, model):
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        train(model, tracker, range(10, 51, 10))
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"step": 30', b'"step": 35'))
    with pytest.raises(ArgumentError, match="lost what lies between epochs 1 and 3"):
        SaturationTracker(tmp_path, Recorder(), model, initial_step=35)
    with SaturationTracker(tmp_path, Recorder(), model, initial_step=40) as tracker:
        assert tracker.epoch == 4


# --- which calls record --------------------------------------------------------------------------


def test_only_every_so_many_calls_record_and_the_last_value_of_a_scalar_counts(tmp_path, model):
    with SaturationTracker(tmp_path, Recorder(), model, stats=["n"], every=10) as tracker:
        train(model, tracker, range(1, 31))
    records = read_run(tmp_path).records
    assert [record.step for record in records] == [10, 20, 30]
    assert [record.scalars["loss"] for record in records] == [10 / 8, 20 / 8, 30 / 8]
    assert samples_of(tmp_path) == [10 * BATCH] * 3


@pytest.mark.parametrize("passes", [1, 3])
def test_the_batches_of_the_call_alone(tmp_path, model, passes):
    with SaturationTracker(
        tmp_path, Recorder(), model, stats=["n"], every=10, gather="last"
    ) as tracker:
        for step in range(1, 31):
            for _ in range(passes):
                model(torch.randn(BATCH, 6))
            tracker.add_saturations(step=step)
    assert rows_of(tmp_path) == [(0, 10), (1, 20), (2, 30)]
    assert samples_of(tmp_path) == [passes * BATCH] * 3


def test_it_counts_without_steps_too(tmp_path, model, caplog):
    with SaturationTracker(
        tmp_path, Recorder(), model, stats=["n"], every=3, gather="last"
    ) as tracker:
        for _ in range(9):
            model(torch.randn(BATCH, 6))
            tracker.add_saturations()
    assert rows_of(tmp_path) == [(0, None), (1, None), (2, None)]
    assert samples_of(tmp_path) == [BATCH] * 3
    assert "saw nothing" not in caplog.text


def test_in_between_a_compiled_model_is_not_compiled_again(tmp_path, model):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with SaturationTracker(
        tmp_path, Recorder(), model, stats=["n"], every=5, gather="last"
    ) as tracker:
        compiled = torch.compile(model, backend="eager")
        for step in range(1, 21):
            compiled(torch.randn(BATCH, 6))
            tracker.add_saturations(step=step)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert samples_of(tmp_path) == [BATCH] * 4


@pytest.mark.parametrize("gather", ["window", "last"])
def test_it_counts_on_after_a_resume_by_a_step(tmp_path, model, gather):
    arguments = {"stats": ["n"], "every": 10, "gather": gather}
    with SaturationTracker(tmp_path, Recorder(), model, **arguments) as tracker:
        train(model, tracker, range(1, 35))
        state = tracker.state_dict()
        train(model, tracker, range(35, 45))
    with SaturationTracker(tmp_path, Recorder(), model, initial_step=34, **arguments) as tracker:
        assert tracker.epoch == 3
        train(model, tracker, range(35, 51))
    gathered = BATCH * (10 if gather == "window" else 1)
    assert rows_of(tmp_path) == [(0, 10), (1, 20), (2, 30), (3, 40), (4, 50)]
    assert samples_of(tmp_path)[4] == gathered
    assert samples_of(tmp_path)[3] == (6 * BATCH if gather == "window" else BATCH)
    with SaturationTracker(tmp_path, Recorder(), model, initial_step=34, **arguments) as tracker:
        tracker.load_state_dict(state)  # with which the samples of before are there too
        train(model, tracker, range(35, 51))
    assert rows_of(tmp_path) == [(0, 10), (1, 20), (2, 30), (3, 40), (4, 50)]
    assert samples_of(tmp_path) == [gathered] * 5


def test_a_row_of_what_was_left_at_a_good_end_is_no_turn(tmp_path, model):
    """A handler of SIGTERM closes the run between two rows: later ones are where they would be."""
    with SaturationTracker(tmp_path, Recorder(), model, every=4) as tracker:
        train(model, tracker, range(1, 7), loss=1.0)
    with SaturationTracker(tmp_path, Recorder(), model, every=4, initial_step=6) as tracker:
        train(model, tracker, range(7, 13), loss=1.0)
    run = read_run(tmp_path)
    steps = {record.step for record in map(run.record_of, run.epochs) if record.metrics}
    assert steps == {4, 8, 12}


def test_it_counts_on_from_a_state_alone(tmp_path, model):
    with SaturationTracker(tmp_path, Recorder(), model, stats=["n"], every=10) as tracker:
        for _ in range(13):
            model(torch.randn(BATCH, 6))
            tracker.add_saturations()
        state = tracker.state_dict()
    with SaturationTracker(
        tmp_path, Recorder(), model, stats=["n"], every=10, initial_epoch=1
    ) as tracker:
        tracker.load_state_dict(state)
        for _ in range(7):
            model(torch.randn(BATCH, 6))
            tracker.add_saturations()
    assert samples_of(tmp_path) == [10 * BATCH] * 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"every": 0}, "every must be a whole number"),
        ({"every": 1.5}, "every must be a whole number"),
        ({"gather": "all"}, "gather must be 'window' or 'last'"),
    ],
)
def test_bad_arguments_are_named_before_a_file_is_touched(tmp_path, model, arguments, told):
    with pytest.raises(ArgumentError, match=told):
        SaturationTracker(tmp_path / "a", Recorder(), model, **arguments)
    assert not (tmp_path / "a").exists()


def test_all_ranks_go_on_at_the_same_step_and_a_mistake_in_one_is_raised_in_all(tmp_path):
    program = """
        import sys, torch, torch.distributed as dist
        from delve import SaturationTracker
        from delve.errors import ArgumentError
        folder, rank = sys.argv[1], int(sys.argv[2])
        dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
        torch.manual_seed(0)
        model = torch.nn.Linear(6, 5)
        for begin, end in ((0, 25), (24, 40)):
            with SaturationTracker(f"{folder}/run", "print", model, stats=["n"], every=10,
                                   gather="last", initial_step=begin) as tracker:
                for step in range(begin + 1, end + 1):
                    model(torch.randn(4, 6))
                    if step == 40:
                        try:
                            tracker.add_saturations(step=step if rank else 3)
                        except ArgumentError as error:
                            print(error)
                    tracker.add_saturations(step=step)
        dist.destroy_process_group()
    """
    command = [sys.executable, "-c", textwrap.dedent(program), tmp_path]
    ranks = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert all("step=3 does not lie behind step 30" in words for words in said)
    records = list(read_run(tmp_path / "run").records)
    assert [record.step for record in records] == [10, 20, 30, 40]
    samples = itertools.chain.from_iterable(record.metrics.values() for record in records)
    assert list(samples) == [8.0] * 4
