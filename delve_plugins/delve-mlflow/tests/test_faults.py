"""One fault at each request: a run begins, is replaced and ends as if there had been none.

By default a sample is tried; DELVE_FAULTS=all tries each fault at each request.
"""

import os

import mlflow
import pytest
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from mlflow_runs import in_force
from mlflow_server import history

from delve.testing import fast_retries, journal_rows, run_id, train

FAULTS = ("error", "lost", "answer lost")
EVERY = 1 if os.environ.get("DELVE_FAULTS") == "all" else 24


@pytest.fixture
def proxy(server, no_settings, monkeypatch):
    # Tries come with each epoch, as in a run whose epochs take long.
    with FaultyProxy(server.url) as proxy, fast_retries():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        mlflow.set_experiment("faults")
        yield proxy


def new(folder):
    train(folder, "mlflow", range(4), config={"lr": 0.1})


def roll_over(folder):
    train(folder, "mlflow", range(2, 5), config={"lr": 0.1})


def prepare(folder, scenario):
    if scenario is roll_over:
        train(folder, "mlflow", range(5), config={"lr": 0.1})


def assert_right(folder, where, status="FINISHED"):
    found = in_force(run_id(folder))
    assert len(found) == 1, (where, found)
    (run,) = found
    assert history(run.info.run_id) == journal_rows(folder), where
    assert run.data.params == {"lr": "0.1"}, where
    assert run.info.status == status, where


@pytest.mark.parametrize("scenario", [new, roll_over])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_at_a_request_is_not_seen_in_the_end(tmp_path, proxy, scenario, fault):
    prepare(tmp_path / "whole", scenario)
    proxy.pass_all()
    scenario(tmp_path / "whole")
    requests = list(proxy.requests)
    assert_right(tmp_path / "whole", "no fault")
    last = len(requests) - 1  # that of close
    for number in {*range(FAULTS.index(fault) * EVERY // 3, last, EVERY), last}:
        folder = tmp_path / str(number)
        prepare(folder, scenario)
        proxy.pass_all()
        proxy.fault, proxy.fail_at = fault, number
        scenario(folder)
        proxy.pass_all()
        assert_right(folder, f"{fault} at {number}: {requests[number]}")


@pytest.mark.parametrize(
    ("fault", "back_to", "share"),
    [("lost", 1, 0), ("lost", 3, 1), ("answer lost", 1, 2), ("answer lost", 3, 3)],
)
def test_a_death_at_each_request_of_a_roll_over_leaves_one_run(
    tmp_path, proxy, fault, back_to, share
):
    """From there on nothing arrives; then a resume, further back or further on."""
    prepare(tmp_path / "whole", roll_over)
    proxy.pass_all()
    roll_over(tmp_path / "whole")
    requests = list(proxy.requests)
    for number in range(share * EVERY // 4, len(requests), EVERY):
        folder = tmp_path / str(number)
        prepare(folder, roll_over)
        proxy.pass_all()
        proxy.fault, proxy.fail_at, proxy.fail_on = fault, number, True
        roll_over(folder)
        proxy.pass_all()
        train(folder, "mlflow", range(back_to, 6), config={"lr": 0.1})
        assert_right(folder, f"{fault} from {number}: {requests[number]}")


@pytest.mark.parametrize(("first_fault", "second_fault"), [("lost", "answer lost")])
def test_two_deaths_in_a_row_leave_one_run(tmp_path, proxy, first_fault, second_fault):
    """In a roll-over, and in the resume after it, which goes further back."""
    prepare(tmp_path / "whole", roll_over)
    proxy.pass_all()
    roll_over(tmp_path / "whole")
    last = len(proxy.requests)
    every = 5 if EVERY == 1 else 17
    for first in range(every // 2, last, every):
        seconds = range((first * 7) % every, last, every)
        for second in seconds if EVERY == 1 else seconds[first // every :][:1]:
            folder = tmp_path / f"{first}-{second}"
            prepare(folder, roll_over)
            for number, fault, back_to in ((first, first_fault, 2), (second, second_fault, 1)):
                proxy.pass_all()
                proxy.fault, proxy.fail_at, proxy.fail_on = fault, number, True
                train(folder, "mlflow", range(back_to, 5), config={"lr": 0.1})
            proxy.pass_all()
            train(folder, "mlflow", range(3, 6), config={"lr": 0.1})
            assert_right(folder, f"{first_fault} from {first}, {second_fault} from {second}")


def test_a_copy_in_force_whose_origin_is_not_retired_is_the_run(tmp_path, proxy):
    """The moment between the two, and then a resume further back than the first."""
    train(tmp_path / "a", "mlflow", range(6), config={"lr": 0.1})
    client = MlflowClient()
    (origin,) = in_force(run_id(tmp_path / "a"))
    train(tmp_path / "a", "mlflow", range(4, 6), config={"lr": 0.1})
    client.restore_run(origin.info.run_id)
    client.delete_tag(origin.info.run_id, "delve.superseded_by")
    train(tmp_path / "a", "mlflow", range(2, 4), config={"lr": 0.1})
    assert_right(tmp_path / "a", "in between")
