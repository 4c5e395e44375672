"""What there is beside numbers: figures, the table of layers, notes, in whosever run."""

import io
import json
import sys
import threading
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from delve_mlflow import MLflowWriter
from delve_plot import heatmap_figure, rgba_pixels, saturation_figure
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from mlflow_runs import in_force
from mlflow_server import copy_store, history
from PIL import Image
from torch import nn

from delve import Metric, RunInfo, SaturationTracker
from delve.delivery.export import export
from delve.errors import WriterConfigurationError
from delve.testing import journal_entries, journal_rows, run_id, train

pytestmark = pytest.mark.usefixtures("store")

FIGURES = {"writer_args": {"figures": True}}
ALL = {
    "layers.json",
    "saturation.png",
    "train-saturation-heatmap.png",
    "eval-saturation-heatmap.png",
}


def the_run(folder):
    (run,) = in_force(run_id(folder))
    return run


def artifacts(mlflow_run_id, folder="delve", uri=None):
    """The files of a run in one of its folders, as MLflow gives them out."""
    client = MlflowClient(uri)
    files = [file.path for file in client.list_artifacts(mlflow_run_id, folder) if not file.is_dir]
    return {
        path.removeprefix(f"{folder}/"): Path(
            client.download_artifacts(mlflow_run_id, path)
        ).read_bytes()
        for path in files
    }


def of_layers(row, stat="saturation"):
    metrics = {Metric.parse(name): value for name, value in row.items()}
    return {metric: value for metric, value in metrics.items() if metric and metric.stat == stat}


def pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image)


def assert_last_epoch_and_heatmaps(files, folder):
    """The pictures are those that delve-plot draws of what the journal holds."""
    rows = {epoch: of_layers(row) for epoch, row in journal_rows(folder).items()}
    last = max(rows)
    drawn = saturation_figure(rows[last], ("0", "2"), epoch=last)
    np.testing.assert_array_equal(pixels(files["saturation.png"]), rgba_pixels(drawn))
    for mode in ("train", "eval"):
        values = [
            [row[Metric(mode, "saturation", layer)] for row in rows.values()] for layer in "02"
        ]
        drawn = heatmap_figure(np.array(values), list(rows), ("0", "2"), mode=mode)
        stored = pixels(files[f"{mode}-saturation-heatmap.png"])
        np.testing.assert_array_equal(stored, rgba_pixels(drawn))


def test_figures_and_table_show_what_the_journal_holds(tmp_path):
    train(tmp_path / "a", "mlflow", range(4), stats=["lsat", "idim"], **FIGURES)
    files = artifacts(the_run(tmp_path / "a").info.run_id)
    assert files.keys() == ALL
    assert_last_epoch_and_heatmaps(files, tmp_path / "a")
    table = json.loads(files["layers.json"])
    last = journal_rows(tmp_path / "a")[3]
    stats = ["saturation", "intrinsic-dimensionality"]
    assert table["columns"] == ["layer", "mode", "features", *stats, "epoch"]
    assert table["data"] == [
        [layer, mode, features, *(last[Metric(mode, stat, layer)] for stat in stats), 3]
        for layer, features in (("0", 8), ("2", 4))
        for mode in ("train", "eval")
    ]


def test_mlflow_itself_reads_the_table_as_one_of_its_own(tmp_path):
    train(tmp_path / "a", "mlflow", range(2))
    for _ in range(2):  # its own log_table would add the rows again
        train(tmp_path / "a", "mlflow", range(2, 4))
    run = the_run(tmp_path / "a")
    table = mlflow.load_table("delve/layers.json", run_ids=[run.info.run_id])
    assert table["mode"].tolist() == ["train", "eval"] * 2
    assert table["epoch"].tolist() == [3] * 4
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [
        {"path": "delve/layers.json", "type": "table"}
    ]


def test_a_value_that_json_has_no_number_for_is_told(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2))
    with SaturationTracker(tmp_path / "a", "mlflow", model, stats=["lsat", "trc"]) as tracker:
        model(torch.full((8, 3), torch.inf))
        tracker.add_saturations()
    table = json.loads(artifacts(the_run(tmp_path / "a").info.run_id)["layers.json"])
    (row,) = (dict(zip(table["columns"], row, strict=True)) for row in table["data"])
    recorded = journal_rows(tmp_path / "a")[0]
    for stat in set(table["columns"]) - {"layer", "mode", "features", "epoch"}:
        assert row[stat] == str(recorded[f"train-{stat}/0"])
    assert row["covariance-trace"] == "nan"


def test_rows_with_steps_say_the_step(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2))
    with SaturationTracker(tmp_path / "a", "mlflow", model, **FIGURES) as tracker:
        for step in (10, 20):
            model(torch.randn(30, 3))
            tracker.add_saturations(step=step)
    files = artifacts(the_run(tmp_path / "a").info.run_id)
    table = json.loads(files["layers.json"])
    assert table["columns"][-2:] == ["epoch", "step"]
    assert table["data"][0][-2:] == [1, 20]
    metrics = of_layers(journal_rows(tmp_path / "a")[1])
    drawn = saturation_figure(metrics, ("0",), epoch=1, step=20)
    np.testing.assert_array_equal(pixels(files["saturation.png"]), rgba_pixels(drawn))


@pytest.mark.parametrize("first", [4, 2], ids=["goes on", "is cut back"])
def test_a_resumed_run_and_a_replayed_one_end_with_the_same(tmp_path, first, empty_store):
    folder = tmp_path / "a"
    train(folder, "mlflow", range(4))
    train(folder, "mlflow", range(first, 6), **FIGURES)
    resumed = artifacts(the_run(folder).info.run_id)
    assert_last_epoch_and_heatmaps(resumed, folder)
    (tmp_path / "other").mkdir()
    uri = copy_store(empty_store, tmp_path / "other")
    (outcome,) = export(folder, "mlflow", {"figures": True, "tracking_uri": uri})
    assert outcome.error is None
    (replayed,) = MlflowClient(uri).search_runs(["0"])
    assert artifacts(replayed.info.run_id, uri=uri) == resumed


def test_figures_that_nobody_asks_for_any_more_are_not_left_behind(tmp_path):
    folder = tmp_path / "a"
    train(folder, "mlflow", range(2), **FIGURES)
    train(folder, "mlflow", range(2, 3))
    assert_last_epoch_and_heatmaps(artifacts(the_run(folder).info.run_id), folder)


def test_a_run_without_layers_has_no_files_and_no_mark(tmp_path):
    with SaturationTracker(tmp_path / "a", "mlflow", nn.Linear(2, 2), **FIGURES) as tracker:
        tracker.add_scalar("loss", 1.0)
        tracker.save()
    run = the_run(tmp_path / "a")
    assert artifacts(run.info.run_id, "") == {}
    assert not any(tag.startswith("delve.files") for tag in run.data.tags)


def test_an_old_run_that_holds_files_of_delves_alone_is_no_loss(tmp_path):
    folder = tmp_path / "a"
    train(folder, "mlflow", range(3))
    train(folder, "mlflow", range(1, 3))
    (alive,) = MlflowClient().search_runs(["0"])
    MlflowClient().log_text(alive.info.run_id, "mine", "delve/mine/notes.md")
    train(folder, "mlflow", range(1, 3))
    kept = {run.info.run_id for run in MlflowClient().search_runs(["0"])}
    assert kept == {alive.info.run_id, the_run(folder).info.run_id}


def test_a_file_of_the_users_is_never_replaced(tmp_path):
    folder = tmp_path / "a"
    with mlflow.start_run() as own:
        mlflow.log_text("mine", "delve/layers.json")
        train(folder, "mlflow", range(2))
        train(folder, "mlflow", range(2, 4), **FIGURES)
        mlflow.log_text("mine too", "saturation.png")
    held = own.info.run_id
    assert artifacts(held) == {"layers.json": b"mine"}
    assert artifacts(held, "") == {"saturation.png": b"mine too"}
    files = artifacts(held, f"delve/{run_id(folder)[:8]}")
    assert files.keys() == ALL
    assert_last_epoch_and_heatmaps(files, folder)


def test_several_in_one_run_have_files_of_their_own(tmp_path):
    with mlflow.start_run() as own:
        for fold, epochs in (("fold0", 1), ("fold1", 2)):
            options = {"writer_args": {"prefix": f"{fold}/"}}
            train(tmp_path / fold, "mlflow", range(epochs), **options)
        train(tmp_path / "alike", "mlflow", range(3))
        train(tmp_path / "alike too", "mlflow", range(4))
    beside = f"delve/{run_id(tmp_path / 'alike too')[:8]}"
    for count, folder in enumerate(("delve/fold0", "delve/fold1", "delve", beside)):
        table = json.loads(artifacts(own.info.run_id, folder)["layers.json"])
        assert {row[-1] for row in table["data"]} == {count}


def test_a_note_goes_where_nothing_is_wrong_any_more(tmp_path):
    def record(epoch, batch):
        model = nn.Sequential(nn.Linear(3, 2))
        with SaturationTracker(
            tmp_path / "a", "mlflow", model, stats="health", initial_epoch=epoch
        ) as tracker:
            model(batch)
            tracker.add_saturations()
        return artifacts(the_run(tmp_path / "a").info.run_id)

    torch.manual_seed(0)
    assert b"never vary" in record(0, torch.ones(40, 3))["notes.md"]
    assert record(1, torch.randn(4000, 3))["notes.md"] == b"nothing any more\n"


def test_figures_are_drawn_at_their_pace_and_at_the_end(tmp_path, monkeypatch):
    from delve_mlflow import pictures

    drawn, draw = [], pictures.pictures

    def noted(run, with_heatmaps=True):
        drawn.append((run.epochs[-1], with_heatmaps))
        return draw(run, with_heatmaps)

    monkeypatch.setattr(pictures, "pictures", noted)
    train(tmp_path / "a", "mlflow", range(12), **FIGURES)
    assert drawn == [(0, False), (11, True)]
    monkeypatch.setattr("delve.files.pace.Pace.is_due", lambda _: True)
    train(tmp_path / "a", "mlflow", range(12, 14), **FIGURES)
    assert drawn[2:] == [(12, True), (13, True), (13, True)]


@pytest.mark.parametrize("options", [{}, {**FIGURES, "nosave": True}], ids=["default", "nosave"])
def test_there_is_no_figure_unless_it_is_wanted(tmp_path, options):
    train(tmp_path / "a", "mlflow", range(2), **options)
    assert artifacts(the_run(tmp_path / "a").info.run_id).keys() == {"layers.json"}


def test_a_figure_that_cannot_be_drawn_is_named_once_and_costs_nothing_else(
    tmp_path, monkeypatch, caplog
):
    def fail(*_, **__):
        raise RuntimeError("latex could not be found")

    monkeypatch.setattr("delve_mlflow.pictures.saturation_figure", fail)
    monkeypatch.setattr("delve.files.pace.Pace.is_due", lambda _: True)
    train(tmp_path / "a", "mlflow", range(3), **FIGURES)
    assert caplog.text.count("MLflow gets no figures (RuntimeError: latex could not be") == 1
    run = the_run(tmp_path / "a")
    assert (run.info.status, artifacts(run.info.run_id).keys()) == ("FINISHED", {"layers.json"})


def test_a_store_that_takes_no_file_loses_no_number(tmp_path, monkeypatch, caplog):
    nowhere = tmp_path / "nowhere"
    nowhere.write_text("a file, where a folder would have to be made")
    experiment = MlflowClient().create_experiment("full", (nowhere / "artifacts").as_uri())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    train(tmp_path / "a", "mlflow", range(3), **FIGURES)
    run = the_run(tmp_path / "a")
    assert run.info.status == "FINISHED"
    assert run.data.metrics.keys() == set(journal_rows(tmp_path / "a")[0])
    assert caplog.text.count("MLflow gets no figures") == 1
    assert "failed at epoch" not in caplog.text
    assert set(journal_entries(tmp_path / "a")) == {0, 1, 2}


def test_a_server_keeps_them_too(tmp_path, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    train(tmp_path / "a", "mlflow", range(2), **FIGURES)
    files = artifacts(the_run(tmp_path / "a").info.run_id)
    assert files.keys() == ALL
    assert_last_epoch_and_heatmaps(files, tmp_path / "a")


def test_without_delve_plot_figures_are_refused_at_once(tmp_path, monkeypatch):
    for name in ("delve_plot.figures", "delve_mlflow.pictures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "delve_plot", None)
    writer = MLflowWriter(tmp_path, figures=True)
    with pytest.raises(WriterConfigurationError, match=r"pip install \./delve_plugins/delve-plot"):
        writer.start(RunInfo(tmp_path, "0" * 32, 0))
    writer.start(RunInfo(tmp_path, "0" * 32, 0, images=False))


def test_a_store_that_hangs_is_waited_for_once_and_keeps_no_number_back(
    tmp_path, server, monkeypatch
):
    released = threading.Event()

    def hang(path, _):
        if "mlflow-artifacts" in path:
            released.wait(60)
        return

    with FaultyProxy(server.url) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        train(tmp_path / "a", "mlflow", range(3))
        proxy.pass_all()
        proxy.refuse = hang
        begun = time.monotonic()
        train(tmp_path / "a", "mlflow", range(3, 5))
        seconds = time.monotonic() - begun
        released.set()
    asked = [request for request in proxy.requests if "mlflow-artifacts" in request]
    assert len(asked) == 1
    assert seconds < 8
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    run = the_run(tmp_path / "a")
    assert run.info.status == "FINISHED"
    assert history(run.info.run_id) == journal_rows(tmp_path / "a")
