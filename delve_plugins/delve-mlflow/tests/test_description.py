"""What MLflow's page says of a run, above its numbers."""

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow_runs import Recording, in_force, rows

TAG = "mlflow.note.content"

pytestmark = pytest.mark.usefixtures("store")


def description(run):
    (found,) = in_force(run.run_id)
    return found.data.tags.get(TAG)


def test_a_run_of_delves_says_what_it_is_and_how_to_see_more(tmp_path):
    run = Recording(tmp_path / "a run")
    run.record(rows(0))
    assert f"`delve show '{tmp_path}/a run'`" in description(run)
    assert description(run).startswith("Recorded by Delve")


@pytest.mark.parametrize("first", [2, 1], ids=["goes on", "is cut back"])
def test_what_a_user_wrote_stays(tmp_path, first):
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1), arguments={"tags": {TAG: "mine"}})
    assert description(run) == "mine"
    MlflowClient().set_tag(run.state["run_id"], TAG, "changed in the page")
    run.record(rows(2), first)
    assert description(run) == "changed in the page"
    MlflowClient().delete_tag(run.state["run_id"], TAG)
    run.record(rows(3), 3)
    assert description(run) is None


@pytest.mark.parametrize("first", [2, 1], ids=["goes on", "is cut back"])
def test_a_folder_that_was_moved_is_named_as_it_is_called_now(tmp_path, first):
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1))
    run.folder = tmp_path / "b"
    run.record(rows(2), first)
    assert f"`delve show {tmp_path}/b`" in description(run)


def test_a_users_run_gets_none(tmp_path):
    with mlflow.start_run() as own:
        Recording(tmp_path / "a").record(rows(0))
    assert TAG not in MlflowClient().get_run(own.info.run_id).data.tags
