"""One run of the user's that several of Delve's record into, and what else the user has there."""

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow_runs import LAYER, Recording, in_a_process, in_force, rows
from mlflow_server import history

from delve.delivery.export import export
from delve.errors import ArgumentError, WriterConfigurationError
from delve.testing import journal_rows, train

pytestmark = pytest.mark.usefixtures("store")

FOLD = {"prefix": "fold0/"}


def prefixed(recorded, prefix="fold0/"):
    return {
        epoch: {f"{prefix}{name}": value for name, value in row.items()}
        for epoch, row in recorded.items()
    }


def points(run_id, key):
    return sorted(point.step for point in MlflowClient().get_metric_history(run_id, key))


# --- folds ---------------------------------------------------------------------------------------


def test_two_folds_that_log_into_one_run_are_told_how_to_part(tmp_path, caplog):
    with mlflow.start_run():
        Recording(tmp_path / "fold0", "0" * 32).record(rows(0, 1))
        assert caplog.text == ""
        Recording(tmp_path / "fold1", "1" * 32).record(rows(0, 1))
    assert caplog.text.count("their curves mix there") == 1
    assert str(tmp_path / "fold0") in caplog.text
    assert "writer_args={'prefix': 'fold0/'}" in caplog.text


def test_folds_with_prefixes_are_kept_apart(tmp_path, caplog):
    folds = [Recording(tmp_path / f"fold{n}", str(n) * 32) for n in range(3)]
    with mlflow.start_run() as own:
        for number, fold in enumerate(folds):
            fold.record(rows(0, 1), arguments={"prefix": f"fold{number}/"})
            fold.record(rows(2), 2, arguments={"prefix": f"fold{number}/"})
    held = history(own.info.run_id)
    for number, fold in enumerate(folds):
        for epoch, row in prefixed(fold.rows, f"fold{number}/").items():
            assert row.items() <= held[epoch].items()
    assert "mix" not in caplog.text


def test_a_new_run_in_the_folder_of_an_earlier_one_is_another_run_there_too(tmp_path, caplog):
    with mlflow.start_run():
        train(tmp_path / "a", "mlflow", range(2))
        train(tmp_path / "a", "mlflow", range(2))
    assert caplog.text.count("their curves mix there") == 1


# --- the prefix ----------------------------------------------------------------------------------


def test_a_prefix_stands_before_each_key_and_is_cut_as_any(tmp_path):
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1, 2, 3), arguments=FOLD)
    run.record(rows(2), 2, arguments=FOLD)
    (found,) = in_force(run.run_id)
    assert history(found.info.run_id) == prefixed(run.rows)


def test_a_resume_and_an_export_without_the_prefix_keep_it(tmp_path):
    train(tmp_path / "a", "mlflow", range(3), writer_args=FOLD)
    train(tmp_path / "a", "mlflow", range(2, 4))
    assert [outcome.error for outcome in export(tmp_path / "a", "mlflow")] == [None]
    (found,) = MlflowClient().search_runs(["0"])
    assert history(found.info.run_id) == prefixed(journal_rows(tmp_path / "a"))


@pytest.mark.parametrize("users", [False, True])
@pytest.mark.parametrize("before", ["fold1/", ""])
def test_another_prefix_than_before_is_an_error(tmp_path, users, before):
    run = Recording(tmp_path / "a")
    if users:
        mlflow.start_run()
    run.record(rows(0, 1), arguments={"prefix": before})
    with pytest.raises(WriterConfigurationError, match=r"'fold0/'.* give the prefix of before"):
        run.record(rows(2), 2, arguments=FOLD)


def test_another_run_may_have_another_prefix(tmp_path):
    run = Recording(tmp_path / "a")
    with mlflow.start_run():
        run.record(rows(0, 1))
    with mlflow.start_run() as second:
        run.record(rows(2), 2, arguments=FOLD)
    assert history(second.info.run_id) == prefixed(run.rows)


@pytest.mark.parametrize("prefix", [3, "a//", "/a", "../", "fold:0/", "(", "x" * 101, "./", "\n"])
def test_a_prefix_that_no_key_can_begin_with_is_refused_at_once(tmp_path, prefix):
    with pytest.raises(ArgumentError, match="prefix must be"):
        Recording(tmp_path / "a").record(rows(0), arguments={"prefix": prefix})


# --- a kill and a resume in a run of the user's --------------------------------------------------


@pytest.mark.parametrize("which", ["store", "file_store"])
def test_after_a_kill_each_epoch_stands_in_the_users_run_once(tmp_path, which, request):
    request.getfixturevalue(which)
    run = Recording(tmp_path / "a")
    with mlflow.start_run() as own:
        run.record(rows(0, 1, 2), close=False)
        for step in range(3):
            mlflow.log_metric("mine", 1.0, step=step)
            mlflow.log_metric("accuracy", 0.5, step=step)
    with mlflow.start_run(run_id=own.info.run_id):
        run.record(rows(3, 4), 3)
    run.record(rows(5), 5)
    assert points(own.info.run_id, LAYER) == [0, 1, 2, 3, 4, 5]
    assert points(own.info.run_id, "mine") == [0, 1, 2]
    assert points(own.info.run_id, "accuracy") == [0, 0, 1, 1, 2, 2, 3, 4, 5]
    assert "mine" not in run.rows[0]
    assert set(MlflowClient().get_run(own.info.run_id).data.metrics) == {LAYER, "accuracy", "mine"}


def test_a_resume_further_back_in_the_users_run_says_what_stays(tmp_path, caplog):
    run = Recording(tmp_path / "a")
    with mlflow.start_run() as own:
        run.record(rows(0, 1, 2, 3))
        run.record(rows(2), 2)
    assert caplog.text.count("MLflow cannot drop points") == 1
    assert points(own.info.run_id, LAYER) == [0, 1, 2, 3]  # the same points, at the same times


# --- a logged model ------------------------------------------------------------------------------


def logged_model_metrics(model_id):
    return {
        (metric.key, metric.step): metric.value
        for metric in MlflowClient().get_logged_model(model_id).metrics or []
    }


@pytest.mark.parametrize("users", [False, True])
def test_a_resume_leaves_no_void_epochs_on_a_logged_model(tmp_path, users):
    """In a process of its own, as the active model is that of the process."""
    code = (
        "import mlflow, sys\n"
        "from pathlib import Path\n"
        "from mlflow_runs import Recording, rows\n"
        "if sys.argv[1] == 'True': mlflow.start_run()\n"
        "model = mlflow.set_active_model(name='net')\n"
        "run = Recording(Path('a'))\n"
        "run.record(rows(0, 1, 2, 3, nan=float('nan')))\n"
        "run.record(rows(2, many=1.0, **{f'm{n}': 1.0 for n in range(1100)}), 2)\n"
        "if mlflow.active_run(): mlflow.log_metric('mine', 1.0)\n"
        "print(model.model_id, run.state['run_id'])\n"
    )
    output, errors = in_a_process(code, str(users)).communicate()
    assert output, errors[-3000:]
    model_id, run_id = output.split()[-2:]
    assert set(logged_model_metrics(model_id)) == ({("mine", 0)} if users else set())
    if not users:
        assert set(history(run_id)) == {0, 1, 2}
        assert len(history(run_id)[2]) == 1103
