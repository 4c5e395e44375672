import copy
import io
import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from support.models import ConvLSTM, reference_saturation
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError, DelveError, JournalError, RunFolderInUseError
from delve.journal.reading import read_epochs
from delve.journal.stored_run import read_run


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.fixture
def writer():
    return Recorder()


class Arrays(Recorder):
    """Keeps arrays too."""

    def __init__(self):
        super().__init__()
        self.arrays = {}

    def add_array(self, name, value):
        self.arrays[name] = value


def run_python(program, *arguments):
    """Run a program in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def feed(model, batches=2):
    for _ in range(batches):
        model(torch.randn(20, 6))


# --- the numbers ---------------------------------------------------------------------------------


def test_saturation_is_taken_over_all_batches_of_the_epoch(tmp_path, writer):
    torch.manual_seed(0)
    model = ConvLSTM()
    tracker = SaturationTracker(tmp_path, writer, model)
    for epoch in range(2):
        seen = {"train": {}, "eval": {}}
        for mode, batches in (("train", 7), ("eval", 3)):
            model.train(mode == "train")
            for batch in range(batches):
                # Batches of other scale, place and size: no one of them stands for the rest.
                x = torch.randn(4 + batch, 1, 5, 5) * (1 + batch) + 3 * epoch * batch
                model(x)
                for name, samples in model.outputs(x).items():
                    seen[mode].setdefault(name, []).append(samples.numpy())
        tracker.add_saturations()
        for mode, layers in seen.items():
            for name, batches in layers.items():
                expected = reference_saturation(np.concatenate(batches))
                assert writer.rows[epoch][f"{mode}-saturation/{name}"] == expected, (mode, name)
    assert len(writer.rows[0]) == 6


def test_intrinsic_dimensionality_is_saturation_times_features(tmp_path, writer, model):
    tracker = SaturationTracker(tmp_path, writer, model, stats=["lsat", "idim_train"])
    feed(model)
    tracker.add_saturations()
    row = writer.rows[0]
    assert row["train-intrinsic-dimensionality/0"] == row["train-saturation/0"] * 5
    assert row["train-intrinsic-dimensionality/2"] == row["train-saturation/2"] * 3


def test_a_single_stat_may_be_given_without_a_list(tmp_path, writer, model):
    tracker = SaturationTracker(tmp_path, writer, model, stats="idim")
    feed(model)
    tracker.add_saturations()
    assert set(writer.rows[0]) == {
        "train-intrinsic-dimensionality/0",
        "train-intrinsic-dimensionality/2",
    }


def test_the_threshold_is_the_share_of_the_variance(tmp_path, model):
    low, high = Recorder(), Recorder()
    x = torch.randn(500, 6)
    for folder, writer, threshold in (("low", low, 0.3), ("high", high, 1.0)):
        with SaturationTracker(
            tmp_path / folder, writer, model, sat_threshold=threshold
        ) as tracker:
            model(x)
            tracker.add_saturations()
    assert low.rows[0]["train-saturation/0"] < high.rows[0]["train-saturation/0"] == 1.0


def test_outputs_that_are_not_finite_give_nan_and_one_warning(tmp_path, writer, model, caplog):
    tracker = SaturationTracker(tmp_path, writer, model)
    feed(model)
    model(torch.full((3, 6), math.nan))
    tracker.add_saturations()
    feed(model)
    tracker.add_saturations()
    assert math.isnan(writer.rows[0]["train-saturation/0"])
    assert not math.isnan(writer.rows[1]["train-saturation/0"])
    assert caplog.text.count("not finite") == 1
    assert "NaN, in: 0, 2" in caplog.text


def test_a_layer_that_saw_nothing_adds_nothing(tmp_path, writer, model):
    tracker = SaturationTracker(tmp_path, writer, model)
    model[0](torch.randn(9, 6))
    tracker.add_saturations()
    assert set(writer.rows[0]) == {"train-saturation/0"}


# --- the epoch rule ------------------------------------------------------------------------------


def test_what_is_logged_before_save_belongs_to_the_epoch(tmp_path, writer, model):
    tracker = SaturationTracker(tmp_path, writer, model)
    tracker.add_scalar("accuracy", 0.1)
    tracker.add_scalar("accuracy", 0.2)
    feed(model)
    tracker.add_saturations(save=False)
    tracker.add_scalar("late", 1)
    tracker.save()
    tracker.add_scalar("accuracy", 0.3)
    tracker.save()
    assert writer.rows[0] == {"accuracy": 0.2, "late": 1.0} | {
        key: value for key, value in writer.rows[0].items() if key.startswith("train-")
    }
    assert writer.rows[1] == {"accuracy": 0.3}
    assert tracker.epoch == 2
    assert read_epochs(tmp_path) == [0, 1]


def test_the_first_epoch_is_initial_epoch(tmp_path, writer, model):
    SaturationTracker(tmp_path, Recorder(), model).close()
    tracker = SaturationTracker(tmp_path, writer, model, initial_epoch=7)
    assert tracker.epoch == 7
    tracker.add_scalar("accuracy", 0.5)
    tracker.save()
    assert writer.rows == {7: {"accuracy": 0.5}}


def test_hooks_come_in_the_order_of_the_contract(tmp_path, writer, model):
    with SaturationTracker(tmp_path, writer, model) as tracker:
        feed(model)
        tracker.add_scalar("accuracy", 1)
        tracker.add_saturations()
    assert writer.hooks == ["start", "add_scalar", "add_scalars", "save", "close"]


def test_close_saves_what_is_staged_as_one_more_epoch(tmp_path, writer, model):
    with SaturationTracker(tmp_path, writer, model) as tracker:
        tracker.save()
        tracker.add_scalar("test accuracy", 0.9)
    assert writer.rows == {1: {"test accuracy": 0.9}}
    assert writer.hooks[-2:] == ["save", "close"]


def test_an_exception_drops_what_is_staged_and_says_what(tmp_path, writer, model, caplog):
    error = RuntimeError("training failed")

    def train():
        with SaturationTracker(tmp_path, writer, model) as tracker:
            tracker.save()
            tracker.add_scalar("half", 0.9)
            raise error

    with pytest.raises(RuntimeError, match="training failed"):
        train()
    assert read_epochs(tmp_path) == [0]
    assert "dropped: half" in caplog.text
    assert writer.calls[-1] == ("close", {"error": error})


def test_close_is_idempotent_and_ends_the_tracker(tmp_path, writer, model):
    tracker = SaturationTracker(tmp_path, writer, model)
    tracker.close()
    tracker.close()
    assert writer.hooks.count("close") == 1
    for call in (tracker.add_saturations, tracker.save, lambda: tracker.add_scalar("a", 1)):
        with pytest.raises(RuntimeError, match="initial_epoch=0"):
            call()


def test_a_closed_tracker_does_not_record(tmp_path, writer, model):
    tracker = SaturationTracker(tmp_path, writer, model)
    assert tracker.is_recording()
    tracker.close()
    assert not tracker.is_recording()
    tracker.resume()
    assert not tracker.is_recording()


@pytest.mark.parametrize(
    ("ending", "status", "epochs"),
    [
        ("", 0, [0, 1]),
        ("sys.exit(3)", 3, [0, 1]),  # Python keeps no trace of it
        ("raise RuntimeError('diverged')", 1, [0]),
    ],
)
def test_a_tracker_that_nobody_closes_is_closed_when_python_ends(tmp_path, ending, status, epochs):
    program = f"""
        import sys, torch
        from delve import SaturationTracker
        tracker = SaturationTracker(sys.argv[1], "print", torch.nn.Linear(2, 2))
        tracker.save()
        tracker.add_scalar("half", 0.5)
        {ending}
    """
    done = run_python(program, tmp_path / "run")
    assert done.returncode == status, done.stderr
    assert read_epochs(tmp_path / "run") == epochs


# --- the names of the layers and of scalars ------------------------------------------------------


def test_one_more_layer_gets_a_name_that_is_free(tmp_path, writer):
    first, second, third = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)
    with SaturationTracker(
        tmp_path, writer, [first, second], stats=["n"], ignore_layer_names=["Linear-0"]
    ) as tracker:
        tracker.register_forward_hooks(third)
        second(torch.randn(40, 4))
        third(torch.randn(7, 4))
        tracker.add_saturations()
    assert writer.rows[0] == {"train-samples/Linear-1": 40, "train-samples/Linear-2": 7}


def test_the_layers_of_a_container_are_named_by_their_types(tmp_path, writer, model):
    container = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Conv1d(3, 2, 1))
    with SaturationTracker(tmp_path, writer, model, stats=["n"]) as tracker:
        tracker.register_forward_hooks(container)
        container[0](torch.randn(40, 3))
        container[2](torch.randn(5, 3, 2))
        tracker.add_saturations()
    assert writer.rows[0] == {"train-samples/Linear-2": 40, "train-samples/Conv1d-3": 10}


@pytest.mark.parametrize("name", ["average-train-sat", "average-eval-sat"])
def test_the_names_of_the_averages_are_taken_where_they_are_recorded(tmp_path, writer, model, name):
    with SaturationTracker(tmp_path / "a", Recorder(), model, average_sat=True) as tracker:
        with pytest.raises(ArgumentError, match=f"'{name}' is taken"):
            tracker.add_scalar(name, 0.5)
        feed(model)
        tracker.add_saturations()
    with SaturationTracker(tmp_path / "b", writer, model) as tracker:
        tracker.add_scalar(name, 0.5)
    assert writer.rows == {0: {name: 0.5}}


def test_the_current_saturation_uses_up_no_warning(tmp_path, writer, caplog, capsys):
    layer = nn.Linear(4, 10)
    with SaturationTracker(tmp_path, writer, layer) as tracker:
        layer(torch.randn(5, 4))
        tracker.saturation()
        assert capsys.readouterr().out.startswith("Linear-0:")
        assert not caplog.text
        tracker.add_saturations()
    assert caplog.text.count("fewer samples than features") == 1


# --- resuming ------------------------------------------------------------------------------------


def test_auto_goes_on_after_the_last_recorded_epoch(tmp_path, model):
    folder = tmp_path / "run"
    with SaturationTracker(folder, Recorder(), model, initial_epoch="auto") as tracker:
        assert tracker.epoch == 0
        tracker.save()
        tracker.save()
    with SaturationTracker(folder, Recorder(), model, initial_epoch="auto") as tracker:
        assert tracker.epoch == 2


@pytest.mark.parametrize("has_journal", [True, False])
def test_auto_goes_on_where_a_resume_that_recorded_nothing_began(tmp_path, model, has_journal):
    if has_journal:
        with SaturationTracker(tmp_path, Recorder(), model) as tracker:
            tracker.save()
    SaturationTracker(tmp_path, Recorder(), model, initial_epoch=5).close()
    with SaturationTracker(tmp_path, Recorder(), model, initial_epoch="auto") as tracker:
        assert tracker.epoch == 5


def test_auto_begins_nothing_anew_over_epochs_that_cannot_be_read(tmp_path, model):
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        tracker.save()
    journal = tmp_path / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"epoch": 0', '"epoch": 1'))  # not its checksum
    before = journal.read_bytes()
    with pytest.raises(JournalError, match=r"unreadable lines: \d; give initial_epoch as a number"):
        SaturationTracker(tmp_path, Recorder(), model, initial_epoch="auto")
    assert journal.read_bytes() == before


def test_auto_refuses_a_folder_with_files_of_delves_and_no_journal(tmp_path, model):
    (tmp_path / "metrics.csv").write_text("epoch,train-saturation/fc\n0,0.5\n")
    with pytest.raises(ArgumentError, match=r"no journal, but files of a run.*\(metrics\.csv\)"):
        SaturationTracker(tmp_path, Recorder(), model, initial_epoch="auto")


def test_a_resumed_run_keeps_its_id_and_its_hyperparameters(tmp_path, model):
    first, second = Recorder(), Recorder()
    with SaturationTracker(tmp_path, first, model, config={"lr": 0.1}) as tracker:
        tracker.save()
    SaturationTracker(tmp_path, second, model, initial_epoch=1).close()
    old, new = first.calls[0][1]["run"], second.calls[0][1]["run"]
    assert (new.run_id, new.created, new.config) == (old.run_id, old.created, {"lr": 0.1})
    assert new.epochs == (0,)


def test_missing_epochs_are_named(tmp_path, model, caplog):
    with SaturationTracker(tmp_path, Recorder(), model) as tracker:
        tracker.save()
    SaturationTracker(tmp_path, Recorder(), model, initial_epoch=4).close()
    assert "no record of epochs 1-3" in caplog.text


# --- checkpoints inside an epoch -----------------------------------------------------------------


def test_a_checkpoint_keeps_all_that_is_staged(tmp_path, model):
    expected, found = Arrays(), Arrays()
    arguments = {"modules": model, "stats": ["lsat", "cov", "embed"], "average_sat": True}
    with SaturationTracker(tmp_path / "whole", expected, **arguments) as tracker:
        feed(model)
        tracker.add_saturations(save=False)
        torch.save(tracker.state_dict(), tmp_path / "state.pt")
        tracker.save()
    with SaturationTracker(tmp_path / "restored", found, **arguments) as tracker:
        tracker.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        tracker.save()
    assert found.rows == expected.rows
    assert set(found.arrays) == set(expected.arrays)
    assert len(found.arrays) == 4
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    assert [name.layer for name in found.arrays] == ["0", "0", "2", "2"]


TRAINING = """
    import sys
    from pathlib import Path
    import torch
    from torch import nn
    from delve import SaturationTracker

    class Keeping:
        kept = {}
        def add_scalars(self, value_dict):
            self.kept |= {str(name): value for name, value in value_dict.items()}
        def add_array(self, name, value):
            self.kept[str(name)] = torch.from_numpy(value.copy())

    folder, first, end, state = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 70), nn.ReLU(), nn.Linear(70, 3))
    stats = ["lsat", "trc", "cov", "spectrum", "embed"]
    tracker = SaturationTracker(folder, Keeping(), model, stats=stats, log_interval=2)
    if first:
        tracker.load_state_dict(torch.load(state, weights_only=True))
    for batch in range(first, end):
        model.train(batch % 3 > 0)
        model(torch.randn(300, 6, generator=torch.Generator().manual_seed(batch)) * (batch + 1))
    if end < 40:
        torch.save(tracker.state_dict(), state)
        tracker.close(RuntimeError("killed"))
    else:
        tracker.add_saturations()
        tracker.close()
        torch.save(Keeping.kept, folder / "kept.pt")
"""


def test_a_checkpoint_restored_in_a_new_process_goes_on_to_the_same_bits(tmp_path):
    state = tmp_path / "state.pt"
    for arguments in (("whole", 0, 40), ("begun", 0, 23), ("restored", 23, 40)):
        done = run_python(TRAINING, tmp_path / arguments[0], *arguments[1:], state)
        assert done.returncode == 0, done.stderr
    expected, found = (torch.load(tmp_path / name / "kept.pt") for name in ("whole", "restored"))
    assert {"train-saturation/0", "train-spectrum/0", "eval-embedded-sample/2"} <= set(expected)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(found[name]), torch.as_tensor(value)), name


# --- the user's model ----------------------------------------------------------------------------


def test_after_close_the_model_carries_no_hook(tmp_path, writer, model):
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    with SaturationTracker(tmp_path, writer, model):
        assert model[0]._forward_hooks
        feed(model)
    assert not any(module._forward_hooks for module in model.modules())
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before


def duplicate_by_saving(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, duplicate_by_saving])
def test_copies_of_a_tracked_model_work_and_are_not_tracked(tmp_path, model, duplicate):
    plain, disturbed = Recorder(), Recorder()
    x = torch.randn(50, 6)
    with SaturationTracker(tmp_path / "plain", plain, model) as tracker:
        model(x)
        tracker.add_saturations()
    with SaturationTracker(tmp_path / "disturbed", disturbed, model) as tracker:
        duplicated = duplicate(model)
        model(x)
        y = torch.randn(50, 6) * torch.tensor([100.0, 0, 0, 0, 0, 0])
        assert torch.equal(
            duplicated(y), model[2](torch.relu(y @ model[0].weight.T + model[0].bias))
        )
        tracker.add_saturations()
    assert disturbed.rows[0]["train-saturation/0"] == plain.rows[0]["train-saturation/0"]


def test_gradients_are_those_of_the_untracked_model(tmp_path, writer, model):
    x = torch.randn(10, 6)
    model(x).sum().backward()
    expected = model[0].weight.grad.clone()
    model.zero_grad()
    with SaturationTracker(tmp_path, writer, model):
        model(x).sum().backward()
    assert torch.equal(model[0].weight.grad, expected)


def test_layers_are_named_in_the_order_of_their_first_calls(tmp_path, writer):
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(3, 2)
            self.first = nn.Linear(4, 3)

        def forward(self, x):
            return self.last(self.first(x))

    model = Backwards()
    with SaturationTracker(tmp_path, writer, model) as tracker:
        model(torch.randn(9, 4))
        tracker.add_saturations()
    assert list(writer.rows[0]) == ["train-saturation/first", "train-saturation/last"]
    resumed = Recorder()
    SaturationTracker(tmp_path, resumed, model, initial_epoch=1).close()
    assert resumed.calls[0][1]["run"].layers == ("first", "last")


# --- mistakes, named before any file is touched ---------------------------------------------------

MISTAKES = {
    "no model": ({"modules": None}, "modules must be the model"),
    "no layer": ({"modules": nn.Sequential(nn.ReLU())}, "1 Sequential, 1 ReLU"),
    "unknown stat": ({"stats": ["satt"]}, "no statistic 'satt'"),
    "threshold 0": ({"sat_threshold": 0}, "sat_threshold"),
    "threshold 99": ({"sat_threshold": 99}, "sat_threshold"),
    "threshold text": ({"sat_threshold": ".99"}, "sat_threshold"),
    "negative epoch": ({"initial_epoch": -1}, "initial_epoch"),
    "fractional epoch": ({"initial_epoch": 1.5}, "initial_epoch"),
    "epoch True": ({"initial_epoch": True}, "initial_epoch"),
    "epoch text": ({"initial_epoch": "last"}, "initial_epoch"),
    "unknown writer": ({"save_to": "cvs"}, "installed: .*print"),
    "no writer": ({"save_to": []}, "at least one writer"),
    "unknown argument": ({"save_to": "print", "writer_args": {"colour": 1}}, "'colour'"),
    "conv_method": ({"conv_method": "sum"}, "'channelwise', 'mean'"),
    "timeseries_method": ({"timeseries_method": "median"}, "'last_timestep', 'first', 'mean', 't"),
    "mask": ({"mask": "on"}, "mask must be 'auto' or None, not 'on'"),
    "mask of a batch": ({"mask": torch.ones(2, 3)}, "not a Tensor; .*with tracker.mask"),
    "config": ({"config": [1]}, "config must be a dictionary"),
    "on_writer_error": ({"on_writer_error": "ignore"}, "'warn' or 'raise'"),
    "device": ({"device": "warp"}, "device: 'warp'"),
    "savefile": ({"savefile": 3}, "savefile must be the path"),
    "savefile on a store": ({"savefile": "s3://bucket/a"}, "local one.*delve export"),
    "ends_well": ({"ends_well": [int]}, "ends_well must be classes of exceptions"),
    "config's key": ({"config": {"a": [{object(): 1}]}}, r"config\['a'\]\[0\]"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_before_any_file_is_touched(tmp_path, model, mistake):
    changed, message = MISTAKES[mistake]
    folder = tmp_path / "run"
    arguments = {"savefile": folder, "save_to": Recorder(), "modules": model} | changed
    with pytest.raises(DelveError, match=message):
        SaturationTracker(**arguments)
    assert not folder.exists()
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named(tmp_path, model, writer):
    with pytest.raises(ArgumentError, match="device: 'cuda' cannot be used here"):
        SaturationTracker(tmp_path, writer, model, device="cuda")


def test_an_empty_savefile_leaves_the_working_directory_alone(tmp_path, model, writer, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="savefile must be the path of a folder, not ''"):
        SaturationTracker("", writer, model)
    assert not list(tmp_path.iterdir())


def test_a_savefile_that_is_a_file_is_refused(tmp_path, model, writer):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArgumentError, match="is a file"):
        SaturationTracker(tmp_path / "file", writer, model)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "value", [None, "0.5", 1j, [0.5], torch.zeros(2), object()], ids=lambda v: type(v).__name__
)
def test_a_scalar_that_is_no_number_names_itself(tmp_path, model, writer, value):
    tracker = SaturationTracker(tmp_path, writer, model)
    with pytest.raises(ArgumentError, match="the scalar 'loss' must be a number"):
        tracker.add_scalar("loss", value)


@pytest.mark.parametrize(
    "value", [1, True, np.float32(1), np.array(1.0), torch.tensor(1), torch.tensor([1.0])]
)
def test_any_single_number_is_a_scalar(tmp_path, model, writer, value):
    tracker = SaturationTracker(tmp_path, writer, model)
    tracker.add_scalar("loss", value)
    assert writer.rows == {0: {"loss": 1.0}}


@pytest.mark.parametrize("name", ["epoch", "train-saturation/0", "", 3, "\ud800"])
def test_names_that_delve_uses_are_refused(tmp_path, model, writer, name):
    tracker = SaturationTracker(tmp_path, writer, model)
    with pytest.raises(ArgumentError, match="name"):
        tracker.add_scalar(name, 1.0)


# --- two trackers --------------------------------------------------------------------------------


def test_a_second_tracker_on_the_folder_is_refused_until_the_first_is_closed(tmp_path, model):
    first = SaturationTracker(tmp_path, Recorder(), model)
    with pytest.raises(RunFolderInUseError, match="in use"):
        SaturationTracker(tmp_path, Recorder(), model)
    first.close()
    SaturationTracker(tmp_path, Recorder(), model).close()


def test_the_folder_is_free_again_after_a_failed_construction(tmp_path, model):
    class Misconfigured(Recorder):
        def start(self, run):
            raise ArgumentError("not like this")

    with pytest.raises(DelveError):
        SaturationTracker(tmp_path, Misconfigured(), model, on_writer_error="raise")
    assert not any(module._forward_hooks for module in model.modules())
    SaturationTracker(tmp_path, Recorder(), model).close()


def test_a_tracker_of_another_process_keeps_the_folder(tmp_path, model):
    program = (
        "import sys; from pathlib import Path; from delve.journal.lock import FolderLock;"
        "lock = FolderLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunFolderInUseError, match="another process"):
            SaturationTracker(tmp_path, Recorder(), model)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        holder.kill()
    SaturationTracker(tmp_path, Recorder(), model).close()


def test_the_tracker_describes_itself(tmp_path, model, writer):
    tracker = SaturationTracker(tmp_path, [writer, "print"], model)
    named = f"2 layers, {type(writer).__name__} + print"
    assert repr(tracker) == f"SaturationTracker('{tmp_path}', epoch 0, {named})"


def test_a_training_that_changes_its_folder_records_on_in_the_first(tmp_path, model, monkeypatch):
    class Touching:
        def save(self, epoch, run):
            (run.savefile / f"epoch-{epoch}").touch()

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with SaturationTracker("run", Touching(), model, on_writer_error="raise") as tracker:
        tracker.save()
        monkeypatch.chdir("elsewhere")
        tracker.save()
    assert tracker.savefile == tmp_path / "run"
    assert read_epochs(tmp_path / "run") == [0, 1]
    assert [(tmp_path / "run" / f"epoch-{epoch}").exists() for epoch in (0, 1)] == [True, True]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_forked_child_leaves_the_run_to_its_parent(tmp_path):
    program = """
        import os, sys
        from torch import nn
        from delve import SaturationTracker

        model = nn.Linear(2, 2)
        with SaturationTracker(sys.argv[1], "print", model) as tracker:
            tracker.save()
            tracker.add_scalar("loss", 1.0)
            child = os.fork()
            if not child:
                try:
                    tracker.add_scalar("loss", 2.0)
                except RuntimeError as error:
                    print(error)
                    sys.exit(3)  # which leaves the `with`
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
            tracker.save()
        print(tracker, model._forward_hooks)
    """
    result = run_python(program, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "belongs to the process that made it" in result.stdout
    assert "closed" in result.stdout
    assert read_epochs(tmp_path) == [0, 1]
    assert "ended by" not in result.stderr


def test_a_layer_is_not_tracked_once_the_tracker_is_closed(tmp_path, model, writer):
    tracker = SaturationTracker(tmp_path, writer, model)
    tracker.close()
    with pytest.raises(RuntimeError, match="is closed"):
        tracker.register_forward_hooks(layer := nn.Linear(2, 2))
    assert not layer._forward_hooks


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_ctrl_c_inside_the_journal_costs_the_writers_no_epoch(tmp_path, monkeypatch, call):
    """In a notebook the training goes on after it."""
    first, second = Kept(), Kept()
    real = getattr(os, call)

    def interrupted(*arguments):
        monkeypatch.setattr(os, call, real)
        result = real(*arguments)
        raise KeyboardInterrupt(result)

    monkeypatch.setattr("delve.journal.file.FSYNC_INTERVAL", 0.0)
    monkeypatch.setattr("delve.journal.file.FSYNC_SHARE", float("inf"))
    tracker = SaturationTracker(tmp_path, [first, second], nn.Linear(2, 2))
    tracker.save()
    tracker.add_scalar("only in 1", 1.0)
    monkeypatch.setattr(os, call, interrupted)
    with pytest.raises(KeyboardInterrupt):
        tracker.save()
    tracker.add_scalar("only in 2", 2.0)
    tracker.close()
    expected = {1: {"only in 1": 1.0}, 2: {"only in 2": 2.0}}
    assert first.rows == second.rows == expected
    assert first.epochs == second.epochs == [0, 1, 2]
    records = {record.epoch: record.scalars for record in read_run(tmp_path).records}
    assert records == {0: {}, **expected}


class Kept(Recorder):
    """Knows the epochs that were saved."""

    @property
    def epochs(self):
        return [arguments["epoch"] for hook, arguments in self.calls if hook == "save"]
