"""Runs of a real tracker, read back from the event files and compared with the journal."""

import numpy as np
import pytest
from tensorboard_runs import read_points, serving

from delve.testing import HISTORIES, journal_rows, train
from delve.testing.histories import fresh


def resumed_where_the_clock_ran_back(folder, writer):
    fresh(folder, writer)
    for path in event_files(folder):
        stamp = path.name.split(".")[3]
        path.rename(path.with_name(path.name.replace(stamp, f"{int(stamp) + 50_000}")))
    train(folder, writer, range(3, 6))


def configured_anew(folder, writer):
    config = {"lr": 0.1, "optimizer": {"name": "sgd"}, "bad": float("nan"), "seed": 2**60}
    train(folder, writer, range(2), config=config | {"lr": 0.5})
    train(folder, writer, range(2, 3), config=config)


ALL_HISTORIES = [*HISTORIES, resumed_where_the_clock_ran_back, configured_anew]


def event_files(folder):
    return sorted((folder / "tensorboard").rglob("*tfevents*"))


def single(values):
    """Values in the precision of TensorBoard."""
    return {name: float(np.float32(value)) for name, value in values.items()}


def as_rows(points):
    rows = {}
    for epoch, name, value in points:
        assert name not in rows.setdefault(epoch, {}), f"{name} of epoch {epoch} is there twice"
        rows[epoch][name] = value
    return rows


def assert_same_as_journal(points, folder):
    expected = {epoch: single(row) for epoch, row in journal_rows(folder).items()}
    assert as_rows(points) == expected
    steps = {}
    for epoch, name, _ in points:
        steps.setdefault(name, []).append(epoch)
    assert all(epochs == sorted(epochs) for epochs in steps.values())


@pytest.fixture(scope="module")
def histories(tmp_path_factory):
    """A log directory with a run for each history."""
    folder = tmp_path_factory.mktemp("tensorboard") / "runs"
    for history in ALL_HISTORIES:
        history(folder / history.__name__, "tensorboard")
    fresh(folder / "watched", "tensorboard")
    return folder


@pytest.fixture(scope="module")
def servers(histories):
    with serving(histories, load_fast=False) as slow, serving(histories, load_fast=True) as fast:
        yield {"--load_fast=false": slow, "--load_fast=true": fast}


@pytest.mark.parametrize("history", ALL_HISTORIES, ids=lambda history: history.__name__)
def test_the_event_files_hold_what_the_journal_says(histories, history):
    folder = histories / history.__name__
    assert_same_as_journal(read_points(folder), folder)


@pytest.mark.parametrize("option", ["--load_fast=false", "--load_fast=true"])
@pytest.mark.parametrize("history", ALL_HISTORIES, ids=lambda history: history.__name__)
def test_tensorboard_shows_what_the_journal_says(histories, servers, history, option):
    folder = histories / history.__name__
    expected = sum(map(len, journal_rows(folder).values()))
    server = servers[option]
    server.wait_for(lambda: len(server.points(history.__name__)) >= expected)
    assert_same_as_journal(server.points(history.__name__), folder)


def test_a_tensorboard_that_watches_the_run_drops_the_epochs_that_a_resume_made_void(
    histories, servers
):
    def shows_epoch_4(server):
        return any(epoch == 4 for epoch, *_ in server.points("watched"))

    for server in servers.values():
        server.wait_for(lambda server=server: shows_epoch_4(server))
        assert shows_epoch_4(server)
    train(histories / "watched", "tensorboard", range(3, 4))
    for server in servers.values():
        server.wait_for(lambda server=server: not shows_epoch_4(server))
        assert_same_as_journal(server.points("watched"), histories / "watched")


@pytest.mark.parametrize("option", ["--load_fast=false", "--load_fast=true"])
def test_the_hparams_page_shows_the_run_with_its_settings_and_status(histories, servers, option):
    server, groups = servers[option], []

    def is_there():
        answer = server.post(
            "/data/plugin/hparams/session_groups",
            {
                "startIndex": 0,
                "sliceSize": 9,
                "colParams": [],
                "allowedStatuses": [
                    "STATUS_UNKNOWN",
                    "STATUS_SUCCESS",
                    "STATUS_FAILURE",
                    "STATUS_RUNNING",
                ],
            },
        )
        groups[:] = answer["sessionGroups"]
        return bool(groups) and groups[0]["sessions"][0]["status"] == "STATUS_SUCCESS"

    server.wait_for(is_there)
    assert len(groups) == 1
    assert groups[0]["name"].startswith("configured_anew-")
    assert groups[0]["hparams"] == {
        "lr": 0.1,
        "optimizer.name": "sgd",
        "bad": "NaN",
        "seed": str(2**60),
    }
    metrics = {(m["name"].get("group", ""), m["name"]["tag"]) for m in groups[0]["metricValues"]}
    assert ("", "accuracy") in metrics
    assert ("train", "saturation/000.0") in metrics


@pytest.mark.parametrize("option", ["--load_fast=false", "--load_fast=true"])
def test_custom_scalars_show_one_chart_a_statistic_with_all_layers(histories, servers, option):
    server = servers[option]
    server.wait_for(lambda: server.get("/data/plugin/custom_scalars/layout"))
    layout = server.get("/data/plugin/custom_scalars/layout")
    charts = [chart for category in layout["category"] for chart in category["chart"]]
    assert [chart["title"] for chart in charts] == ["saturation"]
    (pattern,) = charts[0]["multiline"]["tag"]
    shown = server.get(
        "/data/plugin/custom_scalars/scalars", run="fresh/tensorboard/eval", tag=pattern
    )
    assert shown["regex_valid"]
    assert sorted(shown["tag_to_events"]) == ["saturation/000.0", "saturation/001.2"]
