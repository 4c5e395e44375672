"""Whose a run in MLflow is: it says so itself, whatever a folder holds."""

import copy
import shutil

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow_runs import LAYER, Recording, in_force, rows, unchanged
from mlflow_server import history

from delve.delivery.export import export
from delve.errors import WriterConfigurationError
from delve.records import Origin
from delve.testing import journal_rows, train
from delve.testing import run_id as journal_id

pytestmark = pytest.mark.usefixtures("store")

OTHER = "f" * 32  # an identity of somebody else's


def all_runs(view=ViewType.ACTIVE_ONLY):
    return MlflowClient().search_runs(["0"], run_view_type=view)


def foreign_run(**tags):
    """A run with points that Delve did not make, or made for another."""
    client = MlflowClient()
    run_id = client.create_run("0", tags=tags).info.run_id
    for step in range(6):
        client.log_metric(run_id, LAYER, 9.0, step=step)
    return run_id


def assert_one_run(recording):
    (run,) = in_force(recording.run_id)
    assert history(run.info.run_id) == recording.rows
    return run


# --- copied and moved ----------------------------------------------------------------------------


def test_a_copied_folder_gets_a_run_of_its_own_and_the_origins_is_left_alone(tmp_path, caplog):
    """With the real tracker: `cp -r`, and a resume further back in the copy."""
    train(tmp_path / "a", "mlflow", range(5))
    (origin,) = all_runs()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with unchanged(origin.info.run_id):
        train(tmp_path / "b", "mlflow", range(2, 4))
    (own,) = [run for run in all_runs() if run.info.run_id != origin.info.run_id]
    assert history(own.info.run_id) == journal_rows(tmp_path / "b")
    assert own.info.run_name == "b"
    assert own.data.tags["delve.copied_from"] == origin.info.run_id
    assert own.data.tags["delve.savefile"] == str(tmp_path / "b")
    assert "mlflow.parentRunId" not in own.data.tags
    assert caplog.text.count(f"MLflow run {origin.info.run_id} is left to that one") == 1
    train(tmp_path / "a", "mlflow", range(5, 6))
    assert history(origin.info.run_id) == journal_rows(tmp_path / "a")
    train(tmp_path / "b", "mlflow", range(4, 6))
    assert history(own.info.run_id) == journal_rows(tmp_path / "b")
    assert len(all_runs(ViewType.ALL)) == 2


def test_a_copy_of_a_copy_and_two_copies_of_one_run_get_runs_of_their_own(tmp_path):
    train(tmp_path / "a", "mlflow", range(4))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    train(tmp_path / "b", "mlflow", range(2, 3))
    train(tmp_path / "c", "mlflow", range(3, 5))
    shutil.copytree(tmp_path / "b", tmp_path / "d")
    train(tmp_path / "d", "mlflow", range(1, 3))
    found = {run.info.run_name: run for run in all_runs(ViewType.ALL)}
    assert sorted(found) == ["a", "b", "c", "d"]
    for name, run in found.items():
        assert history(run.info.run_id) == journal_rows(tmp_path / name)
    assert found["d"].data.tags["delve.copied_from"] == found["b"].info.run_id


def test_an_export_of_a_copied_folder_makes_a_run_of_its_own(tmp_path):
    train(tmp_path / "a", "mlflow", range(3))
    (origin,) = all_runs()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with unchanged(origin.info.run_id):
        assert [outcome.error for outcome in export(tmp_path / "b", "mlflow")] == [None]
    (own,) = [run for run in all_runs() if run.info.run_id != origin.info.run_id]
    assert history(own.info.run_id) == journal_rows(tmp_path / "b")


def test_a_copy_whose_origin_remembers_nonsense_gets_a_run_all_the_same(tmp_path, caplog):
    copy = Recording(tmp_path / "b")
    copy.rows = rows(0, 1, 2)
    copy.record(rows(3), 3, origin=Origin(OTHER, "\x1b[2J", {"run_id": ["x"]}))
    assert "delve.copied_from" not in assert_one_run(copy).data.tags
    assert r"a copy of \x1b[2J" in caplog.text


def test_an_address_that_would_steer_the_terminal_is_spelt_out(tmp_path, caplog):
    run = Recording(tmp_path / "a", rows=rows(0))
    run.state = {"address": "\x1b]0;title\x07", "run_id": "\x1b[2J"}
    run.record(rows(1), 1)
    assert r"\x1b]0;title\x07" in caplog.text
    assert "\x1b" not in caplog.text


@pytest.mark.parametrize("initial_epoch", [3, 2])
def test_a_moved_folder_goes_on_in_its_run(tmp_path, initial_epoch):
    train(tmp_path / "a", "mlflow", range(3))
    (tmp_path / "a").rename(tmp_path / "b")
    train(tmp_path / "b", "mlflow", range(initial_epoch, 5))
    (run,) = all_runs()
    assert history(run.info.run_id) == journal_rows(tmp_path / "b")
    assert run.data.tags["delve.savefile"] == str(tmp_path / "b")


def test_a_moved_project_with_its_store_goes_on_in_its_run(tmp_path, empty_store):
    """Folder and address are others than before; the run's own id is not."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    shutil.copy(empty_store, old / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{old}/mlflow.db")
    train(old / "a", "mlflow", range(3))
    old.rename(new)
    mlflow.set_tracking_uri(f"sqlite:///{new}/mlflow.db")
    train(new / "a", "mlflow", range(3, 5))
    (run,) = all_runs()
    assert history(run.info.run_id) == journal_rows(new / "a")


def test_a_run_for_another_folder_that_the_journal_does_not_name_is_left_alone(tmp_path):
    """The same identity in a store says little: the folder may have come from anywhere."""
    theirs = Recording(tmp_path / "theirs")
    theirs.record(rows(0, 1, 2, 3))
    (run,) = all_runs()
    ours = Recording(tmp_path / "ours", rows=rows(0, 1))
    with unchanged(run.info.run_id):
        ours.record(rows(2), 2)
    (own,) = [other for other in all_runs() if other.info.run_id != run.info.run_id]
    assert history(own.info.run_id) == ours.rows


# --- a folder that may be a copy -----------------------------------------------------------------


def test_what_may_be_a_copy_goes_on_where_nothing_has_to_be_dropped(tmp_path):
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1, 2))
    run.folder = tmp_path / "b"
    run.record(rows(3, 4), 3, may_be_copy=True)
    assert_one_run(run)
    assert len(all_runs(ViewType.ALL)) == 1


def test_what_may_be_a_copy_parts_where_the_run_holds_more(tmp_path, caplog):
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1, 2, 3))
    (known,) = all_runs()
    run.folder = tmp_path / "b"
    with unchanged(known.info.run_id):
        run.record(rows(2), 2, may_be_copy=True)
        assert "holds more than the journal" in caplog.text
        run.record(rows(3), 3, may_be_copy=True)
        run.record(rows(1), 1, may_be_copy=True)
    own = [other for other in all_runs() if other.info.run_id == run.state["run_id"]]
    assert history(own[0].info.run_id) == run.rows
    assert own[0].data.tags["delve.copied_from"]


def test_a_run_begun_by_a_folder_from_elsewhere_is_cut_back_by_it(tmp_path):
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1, 2, 3))
    run.folder = tmp_path / "b"
    for first in (2, 3, 1):
        run.record(rows(first), first, may_be_copy=True)
    in_force = [other for other in all_runs() if other.info.run_id == run.state["run_id"]]
    assert history(in_force[0].info.run_id) == run.rows
    assert len(all_runs()) == 2  # the one of the folder out of sight, and this one's


def test_two_folders_from_elsewhere_do_not_go_on_in_one_run(tmp_path):
    first = Recording(tmp_path / "a")
    first.record(rows(0, 1, 2))
    second = copy.deepcopy(first)
    first.folder, second.folder = tmp_path / "b", tmp_path / "c"
    first.record(rows(3), 3, may_be_copy=True)
    second.record({3: {"loss": 103.0}}, 3, may_be_copy=True)
    first.record(rows(4), 4, may_be_copy=True)
    assert first.state["run_id"] != second.state["run_id"]
    assert history(first.state["run_id"]) == first.rows
    assert history(second.state["run_id"]) == second.rows


@pytest.mark.parametrize("folder", ["a", "b"], ids=["the same path, as in containers", "another"])
def test_an_attempt_to_part_that_was_cut_off_is_taken_up(tmp_path, folder):
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1, 2, 3))
    (known,) = all_runs()
    run.folder = tmp_path / folder
    state = dict(run.state)
    run.record(rows(2), 2, may_be_copy=True)
    run.state = state  # as if the process had died before it could remember
    with unchanged(known.info.run_id):
        run.record(rows(2), 2, may_be_copy=True)
    assert len(all_runs(ViewType.ALL)) == 2


def test_what_may_be_a_copy_deletes_no_copy_that_another_folder_makes(tmp_path):
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1, 2))
    (known,) = all_runs()
    tags = {**known.data.tags, "delve.state": "copying", "delve.resumed_from": known.info.run_id}
    making = MlflowClient().create_run("0", tags=tags).info.run_id
    with unchanged(making):
        run.record(rows(3), 3, may_be_copy=True)


# --- a folder that somebody else made ------------------------------------------------------------


@pytest.mark.parametrize("owned", [True, False])
@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"delve.run_id": OTHER},
        {"delve.run_id": OTHER, "delve.superseded_by": "0" * 32},
        {f"delve.records.{OTHER}": "/somewhere"},
    ],
    ids=["no Delve's", "another's", "another's old one", "a user's"],
)
@pytest.mark.parametrize("initial_epoch", [2, 8])
def test_a_run_that_only_the_journal_names_is_left_alone(
    tmp_path, owned, tags, initial_epoch, caplog
):
    theirs = foreign_run(**tags)
    run = Recording(tmp_path / "a", rows=rows(*range(initial_epoch)))
    run.state = {"run_id": theirs, "owned": owned, "experiment_id": "0", "address": None}
    with unchanged(theirs):
        run.record(rows(initial_epoch), initial_epoch, config={"lr": 1})
    assert assert_one_run(run).info.run_id != theirs
    assert caplog.text.count(f"MLflow run {theirs}, which the journal names") == 1


def test_a_succession_that_somebody_else_wrote_down_retires_nothing(tmp_path):
    """The tags of a run can be changed by anybody who can write there."""
    theirs = foreign_run()
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1, 2))
    MlflowClient().set_tag(run.state["run_id"], "delve.resumed_from", theirs)
    with unchanged(theirs):
        run.record(rows(3), 3)


@pytest.mark.parametrize(
    "state",
    [
        {"run_id": 7},
        {"run_id": ["a"], "owned": "yes"},
        {"run_id": "../../etc/passwd", "owned": True},
        {"run_id": "' OR 1=1", "experiment_id": "1' OR '1'='1"},
        {"run_id": "nowhere", "owned": 3, "experiment_id": "no-number"},
        {"run_id": None, "owned": None, "address": None, "experiment_id": None, "untold": None},
        {"owned": True},
        {"address": {"a": 1}, "untold": "RUNNING"},
        {"untold": 5, "prefix": 3},
        {"prefix": "a//../b"},
        {"address": "sqlite:///elsewhere", "experiment_id": 4},
        {"": [], "x": {"y": [None]}},
        ["a", "list"],
    ],
)
def test_a_state_of_any_shape_is_passed_over(tmp_path, state, caplog):
    run = Recording(tmp_path / "a", rows=rows(0, 1))
    if isinstance(state, list):
        run.state = type("Remembering", (list,), {"update": lambda *_, **__: None})(state)
    else:
        run.state = dict(state)
    run.record(rows(2), 2)
    assert assert_one_run(run).info.status == "FINISHED"
    assert caplog.text.count("cannot be used and is passed over") <= 1


def test_an_identity_that_is_no_identity_harms_no_search(tmp_path):
    theirs = foreign_run(**{"delve.run_id": OTHER})
    run = Recording(tmp_path / "a", run_id=f"' OR tags.`delve.run_id` = '{OTHER}")
    with unchanged(theirs):
        run.record(rows(0, 1))
        run.record(rows(2), 2)
    (own,) = [other for other in all_runs() if other.info.run_id != theirs]
    assert history(own.info.run_id) == run.rows


# --- a run of the user's -------------------------------------------------------------------------


def test_a_run_of_the_users_that_is_over_is_known_by_its_mark(tmp_path):
    run = Recording(tmp_path / "a")
    with mlflow.start_run() as own:
        run.record(rows(0, 1))
    run.record(rows(2, 3), 2)
    assert run.state["run_id"] == own.info.run_id
    assert history(own.info.run_id) == run.rows
    assert MlflowClient().get_run(own.info.run_id).info.status == "FINISHED"
    assert len(all_runs(ViewType.ALL)) == 1


def test_a_run_of_the_users_without_the_mark_is_not_gone_on_in(tmp_path, caplog):
    run = Recording(tmp_path / "a")
    with mlflow.start_run() as own:
        run.record(rows(0, 1))
    MlflowClient().delete_tag(own.info.run_id, f"delve.records.{run.run_id}")
    with unchanged(own.info.run_id):
        run.record(rows(2), 2)
    assert_one_run(run)
    assert "which the journal names" in caplog.text


def test_a_run_of_delves_that_another_one_records_into_is_not_replaced(
    tmp_path, monkeypatch, caplog
):
    """What the other one has sent there cannot be told from its own."""
    host, guest = Recording(tmp_path / "a"), Recording(tmp_path / "b", OTHER)
    host.record(rows(0, 1, 2))
    monkeypatch.setenv("MLFLOW_RUN_ID", host.state["run_id"])
    guest.record({epoch: {"train-saturation/conv": 0.5} for epoch in range(9)})
    monkeypatch.delenv("MLFLOW_RUN_ID")
    host.record(rows(1), 1)
    (run,) = all_runs(ViewType.ALL)
    points = MlflowClient().get_metric_history(run.info.run_id, "train-saturation/conv")
    assert [point.step for point in points] == list(range(9))
    assert "holds other runs of Delve's too" in caplog.text


def test_a_named_run_that_was_deleted_is_the_users_mistake(tmp_path, monkeypatch):
    run_id = foreign_run()
    MlflowClient().delete_run(run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with pytest.raises(WriterConfigurationError, match="MLFLOW_RUN_ID"):
        Recording(tmp_path / "a").record(rows(0))


def test_a_journal_that_names_the_run_of_a_folder_that_is_there_gets_a_run_of_its_own(tmp_path):
    """A folder made up from another's identity, so that it does not look like a copy."""
    train(tmp_path / "a", "mlflow", range(4))
    (theirs,) = all_runs()
    made_up = Recording(tmp_path / "b", journal_id(tmp_path / "a"), rows=rows(0, 1))
    made_up.folder.mkdir()
    made_up.state = {"run_id": theirs.info.run_id, "owned": True}
    with unchanged(theirs.info.run_id):
        made_up.record(rows(1), 1)
    (own,) = [run for run in all_runs() if run.info.run_id != theirs.info.run_id]
    assert history(own.info.run_id) == made_up.rows
