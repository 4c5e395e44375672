"""What the writer puts into its files, read back with TensorBoard's event accumulator."""

import shutil
import threading
from pathlib import Path

import numpy as np
import torch
from delve_tensorboard import TensorBoardWriter
from tensorboard_runs import accumulator, events, read_points
from torch import nn

from delve import Metric, RunInfo, SaturationTracker
from delve.journal.journal import Journal
from delve.testing import train


def run_info(folder, initial_epoch=0, **told):
    return RunInfo(folder, "0123456789", 0, initial_epoch=initial_epoch, **told)


def save(writer, run, epoch, metrics, timestamp=5000, **scalars):
    for name, value in scalars.items():
        writer.add_scalar(name, value)
    writer.add_scalars(metrics)
    writer.save(epoch, timestamp, run)


def saturations(layers, mode="train"):
    return {Metric(mode, "saturation", layer): index / 8 for index, layer in enumerate(layers)}


def scalar_tags(folder):
    return set(accumulator(folder).Tags()["scalars"])


def test_a_tag_stays_when_the_forward_order_changes(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path, layers=("a", "b", "c"))
    writer.start(run)
    save(writer, run, 0, saturations(["a", "b"]))
    later = run_info(tmp_path, layers=("c", "b", "a"), state=run.state)
    save(writer, later, 1, saturations(["a", "b", "c"]))
    writer.close(None, later)
    expected = {"saturation/000.a", "saturation/001.b", "saturation/002.c"}
    assert scalar_tags(tmp_path / "tensorboard/train") == expected
    resumed = run_info(tmp_path, 2, layers=("b", "c", "a"), state=run.state)
    writer = TensorBoardWriter(tmp_path)
    writer.resume_from_saved_state(2, resumed)
    save(writer, resumed, 2, saturations(["a", "b", "c"]))
    assert scalar_tags(tmp_path / "tensorboard/train") == expected


def test_the_tags_stay_when_the_files_are_gone(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path, layers=("a", "b"))
    writer.start(run)
    save(writer, run, 0, saturations(["a", "b"]))
    writer.close(None, run)
    shutil.rmtree(tmp_path / "tensorboard")
    resumed = run_info(tmp_path, 1, layers=("b", "a"), epochs=(0,), state=run.state)
    writer = TensorBoardWriter(tmp_path)
    assert writer.resume_from_saved_state(1, resumed) == 0
    save(writer, resumed, 0, saturations(["a", "b"]))
    assert scalar_tags(tmp_path / "tensorboard/train") == {"saturation/000.a", "saturation/001.b"}


def test_without_the_journal_the_tags_are_taken_from_the_files(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path, layers=("a", "b"))
    writer.start(run)
    save(writer, run, 0, saturations(["a", "b"]))
    save(writer, run, 1, saturations(["a", "b"]))
    writer.close(None, run)
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path, 1, layers=("b", "a"))
    assert writer.resume_from_saved_state(1, run) == 1
    save(writer, run, 1, saturations(["a", "b"]))
    held = accumulator(tmp_path / "tensorboard/train")
    assert set(held.Tags()["scalars"]) == {"saturation/000.a", "saturation/001.b"}
    assert [event.step for event in held.Scalars("saturation/000.a")] == [0, 1]


def test_the_numbers_of_an_epoch_are_one_event_in_each_run_and_the_layout_comes_after(tmp_path):
    train(tmp_path, "tensorboard", range(5))
    for mode in ("", "train", "eval"):
        (path,) = (tmp_path / "tensorboard" / mode).glob("*tfevents*")
        held = [e for e in events(path) if e.WhichOneof("what") == "summary"]
        epochs = [e.step for e in held if e.summary.value[0].tag != "custom_scalars__config__"]
        assert epochs == [0, 1, 2, 3, 4]
        assert [event.step for event in held] == ([0, *epochs] if mode == "" else epochs)


def test_the_layout_is_written_once_a_process_and_again_with_a_new_statistic(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path)
    writer.start(run)
    for epoch in range(3):
        save(writer, run, epoch, saturations(["a"]))
    for epoch in range(3, 5):
        save(writer, run, epoch, {Metric("eval", "covariance-trace", "a"): 1.0})
    writer.close(None, run)
    resumed = run_info(tmp_path, 5, epochs=range(5), state=run.state)
    writer = TensorBoardWriter(tmp_path)
    assert writer.resume_from_saved_state(5, resumed) == 5
    save(writer, resumed, 5, saturations(["a"]))
    layouts = accumulator(tmp_path / "tensorboard").Tensors("custom_scalars__config__")
    assert [event.step for event in layouts] == [0, 3, 5]
    assert b"covariance" not in layouts[0].tensor_proto.string_val[0]
    assert b"covariance" in layouts[2].tensor_proto.string_val[0]


def test_a_mode_that_comes_rarely_lacks_nothing(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path)
    writer.start(run)
    for epoch in range(5):
        rare = saturations(["a"], "eval") if epoch in (1, 3) else {}
        save(writer, run, epoch, saturations(["a"]) | rare)
    writer.close(None, run)
    resumed = run_info(tmp_path, 5, epochs=range(5), state=run.state)
    assert TensorBoardWriter(tmp_path).resume_from_saved_state(5, resumed) == 5


def test_a_mode_that_a_resume_made_void_altogether_is_not_missed_later(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path)
    writer.start(run)
    save(writer, run, 0, saturations(["a"]))
    save(writer, run, 1, saturations(["a"], "eval"))
    writer.close(None, run)
    state = run.state
    for initial_epoch in (1, 2):
        run = run_info(tmp_path, initial_epoch, epochs=range(initial_epoch), state=state)
        writer = TensorBoardWriter(tmp_path)
        assert writer.resume_from_saved_state(initial_epoch, run) == initial_epoch
        save(writer, run, initial_epoch, saturations(["a"]))
        writer.close(None, run)


def test_events_have_the_time_of_the_journal(tmp_path):
    train(tmp_path, "csv", range(2))
    train(tmp_path, "tensorboard", range(2, 3))
    journal = Journal.resume(tmp_path, 3)
    times = [journal.read(epoch).timestamp / 1000 for epoch in range(3)]
    journal.close()
    held = accumulator(tmp_path / "tensorboard").Scalars("accuracy")
    assert [event.wall_time for event in held] == times


def test_an_epoch_is_in_the_files_as_soon_as_it_is_saved(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path)
    writer.start(run)
    for epoch in range(2):
        save(writer, run, epoch, saturations(["a"]), accuracy=0.5)
        assert {point[0] for point in read_points(tmp_path)} == set(range(epoch + 1))


def test_values_beyond_single_precision_become_infinite_or_zero(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path)
    writer.start(run)
    save(writer, run, 0, {}, huge=1e300, tiny=-1e-300, third=1 / 3)
    values = {name: value for _, name, value in read_points(tmp_path)}
    assert values == {"huge": float("inf"), "tiny": 0.0, "third": float(np.float32(1 / 3))}


def test_event_files_of_others_stay(tmp_path):
    train(tmp_path, "tensorboard", range(5))
    foreign = tmp_path / "tensorboard" / "train" / "events.out.tfevents.1000000000.host.1.0"
    foreign.write_bytes(b"mine")
    train(tmp_path, "tensorboard", range(5))
    train(tmp_path, "tensorboard", range(3, 4))
    assert foreign.read_bytes() == b"mine"


def test_resuming_often_leaves_no_pile_of_files(tmp_path):
    train(tmp_path, "tensorboard", range(5))
    for _ in range(3):
        train(tmp_path, "tensorboard", range(5, 6))
    assert len(sorted((tmp_path / "tensorboard").rglob("*tfevents*"))) == 3 * 2


def test_an_earlier_epoch_that_comes_late_is_put_in_its_place(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path)
    writer.start(run)
    for epoch, value in ((0, 1.0), (2, 2.0), (3, 3.0), (1, 4.0), (2, 5.0), (3, 6.0), (4, 7.0)):
        save(writer, run, epoch, {}, loss=value)
    writer.close(None, run)
    points = [(epoch, value) for epoch, _, value in read_points(tmp_path)]
    assert points == [(0, 1.0), (1, 4.0), (2, 5.0), (3, 6.0), (4, 7.0)]


def test_an_epoch_of_an_earlier_file_can_be_replaced(tmp_path):
    train(tmp_path, "tensorboard", range(5))
    run = run_info(tmp_path, 5, epochs=range(5), state={"begins": {"train": 0, "eval": 0}})
    writer = TensorBoardWriter(tmp_path)
    assert writer.resume_from_saved_state(5, run) == 5
    save(writer, run, 5, {}, accuracy=0.5)
    save(writer, run, 2, {}, accuracy=0.75)
    writer.close(None, run)
    held = accumulator(tmp_path / "tensorboard").Scalars("accuracy")
    assert [(event.step, event.value) for event in held] == [
        (epoch, float(np.float32(value)))
        for epoch, value in ((0, 0.0), (1, 0.1), (2, 0.75), (3, 0.3), (4, 0.4), (5, 0.5))
    ]


def open_files():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_it_starts_no_thread_and_keeps_no_file_open(tmp_path):
    threads, files = threading.active_count(), open_files()
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path)
    writer.start(run)
    save(writer, run, 0, saturations(["a"]))
    assert threading.active_count() == threads
    assert open_files() == files
    writer.close(None, run)


def test_rows_of_steps_stand_at_them_and_are_read_back_as_rows(tmp_path):
    net = nn.Linear(2, 2)
    with SaturationTracker(tmp_path, "tensorboard", net, stats=["n"]) as tracker:
        for step in (100, 250, 400):
            net(torch.ones(3, 2))
            tracker.add_scalar("loss", step)
            tracker.add_saturations(step=step)
    with SaturationTracker(tmp_path, "tensorboard", net, stats=["n"], initial_step=250) as tracker:
        tracker.add_scalar("loss", 7.0)
        tracker.save(step=251)
    points = sorted((step, value) for step, name, value in read_points(tmp_path) if name == "loss")
    assert points == [(100, 100.0), (250, 250.0), (251, 7.0)]
    held = list(TensorBoardWriter(tmp_path).held_epochs(RunInfo(tmp_path, "id", 0)))
    assert [(one.epoch, one.step) for one in held] == [(0, 100), (1, 250), (2, 251)]
    assert [one.values["loss"] for one in held] == [100.0, 250.0, 7.0]
