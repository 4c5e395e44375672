"""A few of the bench's kills and power cuts, always the same ones but for those by the clock."""

import random

import pytest
from support.crash_points import CrashPoint
from support.crashed_runs import CrashedRun
from support.cut_runs import CutRun

# How it goes on (where the journal ends, or from the last checkpoint), and where it is killed:
# place, occurrence, steps inside, whether W&B's service dies too.
RUNS = {
    "before anything": (True, [("journal", 1, 0, True), ("torn line", 1, 20, True)]),
    "before the first epoch": (
        False,
        [("wandb.open", 1, 900, False), ("mlflow.open", 1, 400, True)],
    ),
    "between journal and writers": (
        True,
        [("torn line", 9, 40, True), ("npy.add_array", 9, 5, False)],
    ),
    "in a rewrite": (True, [("tensorboard.save", 5, 30, True), ("csv.open", 1, 60, True)]),
    "after the last epoch": (False, [("batch", 17, 0, False), ("plot.close", 1, 300, True)]),
}


@pytest.mark.parametrize(("auto", "points"), RUNS.values(), ids=RUNS)
def test_a_killed_run_ends_with_what_an_undisturbed_one_holds(bench, auto, points, request):
    crashes = [CrashPoint(*point) for point in points]
    run = CrashedRun(bench, bench.folder / request.node.callspec.id, random.Random(0), auto)
    run.train(crashes)
    assert run.differences(bench.undisturbed()) == []
    assert run.places == [crash.place for crash in crashes]


# As above, and whether W&B is offline; the last is how long nothing happens before.
CUTS = {
    "where the journal ends": (True, False, [("npy.save", 5, 10, True), ("batch", 13, 0, True)]),
    "from a checkpoint": (
        False,
        True,
        [("tensorboard.save", 7, 20, True), ("csv.open", 1, 9, True)],
    ),
    "after quick epochs": (True, True, [("batch", 17, 0, True, 1.5)]),
}


@pytest.mark.parametrize(("auto", "offline", "points"), CUTS.values(), ids=CUTS)
def test_a_power_cut_costs_what_was_named_or_nothing(bench, auto, offline, points, request):
    folder = bench.folder / request.node.callspec.id
    run = CutRun(bench, folder, random.Random(1), auto, offline)
    run.train(CrashPoint(*point) for point in points)
    assert run.differences(bench.undisturbed()) == []
    assert len(run.cuts) == len(points)


def test_the_comparison_sees_what_is_missing_or_changed(bench):
    """The bench itself: with a wrong reference it finds the difference in each backend."""
    reference = bench.undisturbed()
    run = bench.reference_run
    assert run.differences(reference) == []
    for backend, points in reference.points.items():
        place = next(i for i, point in enumerate(points) if point[1] == "loss")
        epoch, name, value = points[place]
        points[place] = (epoch, name, value + 1)
        (difference,) = run.differences(reference)
        assert difference.startswith(f"{backend}: epoch {epoch} holds 'loss'")
        points[place] = (epoch, name, value)
        points.append((99, "loss", 1.0))
        (difference,) = run.differences(reference)
        assert difference.startswith(f"{backend}: it holds epochs")
        points.pop()
    for files, backend in ((reference.arrays, "npy"), (reference.pictures, "plot")):
        place, content = files.popitem()
        assert run.differences(reference) == [f"{backend}: {place} is too much"]
        files[place] = 255 - content
        (difference,) = run.differences(reference)
        assert difference.startswith(f"{backend}: {place}")
        files[place] = content
        files[f"other/{place}"] = content
        (difference,) = run.differences(reference)
        assert "is lost, and nobody said so" in difference or "is missing" in difference
        del files[f"other/{place}"]
