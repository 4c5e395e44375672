"""Keys with a number before each layer, which keep forward order on MLflow's page."""

import json
import shutil

import mlflow
import pytest
import torch
from delve_mlflow.keys import Keys, LayerNumbers
from mlflow import MlflowClient
from mlflow_runs import in_force
from mlflow_server import copy_store, history
from torch import nn

from delve import SaturationTracker
from delve.delivery.export import export
from delve.errors import ArgumentError, WriterConfigurationError
from delve.records import Metric
from delve.testing import journal_rows, run_id, train

pytestmark = pytest.mark.usefixtures("no_settings")

ORDERED = {"writer_args": {"key_style": "ordered"}}


@pytest.fixture(params=["store", "file_store"])
def backend(request):
    return request.getfixturevalue(request.param)


def the_run(folder):
    (run,) = in_force(run_id(folder))
    return run


def numbered(recorded, numbers, prefix=""):
    """What a run has to hold: computed from the names alone."""

    def key(name):
        stem, slash, layer = name.partition("/")
        is_layers = name.startswith(("train-", "eval-"))
        return prefix + (f"{stem}{slash}{numbers[layer]}.{layer}" if is_layers else name)

    return {
        epoch: {key(name): value for name, value in row.items()} for epoch, row in recorded.items()
    }


TWO = {"0": "00", "2": "01"}


def assert_numbered(folder, numbers=TWO):
    assert history(the_run(folder).info.run_id) == numbered(journal_rows(folder), numbers)


def test_layers_stand_in_forward_order(tmp_path, backend):
    names = ["zeta", "alpha", *(f"block{n}" for n in range(9, 0, -1))]
    model = nn.Sequential()
    for name in names:
        model.add_module(name, nn.Linear(3, 3))
    with SaturationTracker(tmp_path / "a", "mlflow", model, **ORDERED) as tracker:
        model(torch.randn(30, 3))
        tracker.add_saturations()
    keys = sorted(the_run(tmp_path / "a").data.metrics)
    assert keys == [f"train-saturation/{place:02d}.{name}" for place, name in enumerate(names)]


def test_a_run_is_cut_back_and_gone_on_with_in_its_style(tmp_path, backend):
    train(tmp_path / "a", "mlflow", range(4), **ORDERED)
    train(tmp_path / "a", "mlflow", range(2, 5))  # nothing said: as before
    assert_numbered(tmp_path / "a")
    train(tmp_path / "a", "mlflow", range(5, 6), **ORDERED)
    assert_numbered(tmp_path / "a")


def test_a_replay_keeps_the_style_and_adds_no_point(tmp_path, store, empty_store):
    train(tmp_path / "a", "mlflow", range(3), **ORDERED)
    (outcome,) = export(tmp_path / "a", "mlflow")
    assert outcome.error is None
    assert_numbered(tmp_path / "a")
    (tmp_path / "other").mkdir()
    uri = copy_store(empty_store, tmp_path / "other")
    (outcome,) = export(tmp_path / "a", "mlflow", {"tracking_uri": uri})
    (other,) = MlflowClient(uri).search_runs(["0"])
    assert other.data.metrics.keys() == the_run(tmp_path / "a").data.metrics.keys()


@pytest.mark.parametrize("began", ["ordered", "plain", None])
@pytest.mark.parametrize("knows", [True, False], ids=["known", "lost"])
def test_another_style_than_before_is_refused_at_once(tmp_path, store, began, knows):
    """The journal knows it, or the run in MLflow alone."""
    other = "plain" if began == "ordered" else "ordered"
    train(tmp_path / "a", "mlflow", range(2), writer_args={"key_style": began})
    if not knows:
        lose_states(tmp_path / "a")
    before = history(the_run(tmp_path / "a").info.run_id)
    with pytest.raises(WriterConfigurationError, match=f"key_style='{began or 'plain'}'.*{other}"):
        train(tmp_path / "a", "mlflow", range(1, 3), writer_args={"key_style": other})
    assert history(the_run(tmp_path / "a").info.run_id) == before


def lose_states(folder):
    """Take what the writers remembered out of the journal."""
    path = folder / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["type"] != "state"]
    path.write_text("".join(kept), encoding="utf-8")


def test_numbers_that_the_journal_lost_are_those_of_the_run(tmp_path, store):
    """A model that has got a layer in front: the others keep their numbers."""
    train(tmp_path / "a", "mlflow", range(3), **ORDERED)
    lose_states(tmp_path / "a")
    model = nn.Sequential()
    model.add_module("first", nn.Linear(6, 6))
    model.add_module("0", nn.Linear(6, 8))
    model.add_module("2", nn.Linear(8, 4))
    with SaturationTracker(tmp_path / "a", "mlflow", model, initial_epoch=2) as tracker:
        model(torch.randn(30, 6))
        tracker.add_saturations()
    assert_numbered(tmp_path / "a", {**TWO, "first": "02"})


def test_a_users_run_and_a_prefix_go_with_it(tmp_path, store, caplog):
    options = {"writer_args": {"key_style": "ordered", "prefix": "fold0/"}}
    with mlflow.start_run() as own:
        mlflow.log_metric("mine", 1.0, step=0)
        train(tmp_path / "a", "mlflow", range(2), **options)
        train(tmp_path / "a", "mlflow", range(2, 4))
        with pytest.raises(WriterConfigurationError, match="key_style='ordered'"):
            train(tmp_path / "a", "mlflow", range(4, 5), writer_args={"key_style": "plain"})
    held = history(own.info.run_id)
    held[0].pop("mine")
    assert held == numbered(journal_rows(tmp_path / "a"), TWO, "fold0/")
    assert caplog.text == ""


def test_a_copied_folder_keeps_the_style_in_its_own_run(tmp_path, store):
    train(tmp_path / "a", "mlflow", range(2), **ORDERED)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    train(tmp_path / "b", "mlflow", range(2, 3))
    assert_numbered(tmp_path / "a")
    assert_numbered(tmp_path / "b")


def test_a_number_stays_with_its_layer():
    numbers = LayerNumbers()
    assert numbers.add(["b", "a"], ["a", "b"])
    assert not numbers.add(["a"], ["b", "a"])
    assert numbers.add(["c", "unknown"], ["c", "a", "b"])
    assert numbers.texts == {"a": "00", "b": "01", "c": "02", "unknown": "03"}
    keys = Keys("fold0/", numbers)
    assert keys.of(Metric("eval", "saturation", "b")) == "fold0/eval-saturation/01.b"
    assert keys.of("eval-saturation/b") == "fold0/eval-saturation/01.b"
    assert keys.of("loss") == "fold0/loss"


def test_many_layers_have_more_digits():
    numbers = LayerNumbers()
    layers = [f"layer{place}" for place in range(1001)]
    numbers.add(layers, layers)
    texts = [numbers.texts[layer] for layer in layers]
    assert texts == sorted(texts)
    assert (texts[0], texts[-1]) == ("0000", "1000")


def test_a_style_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="key_style must be 'plain', or 'ordered'"):
        train(tmp_path / "a", "mlflow", range(1), writer_args={"key_style": "forward"})
