"""The page of a run, which is what opens."""

import pytest
from delve_mlflow.page import page
from mlflow_runs import Recording, rows

RUN = "0123456789abcdef"
WHERE = f"/#/experiments/7/runs/{RUN}"
UI = ["mlflow", "ui", "--backend-store-uri"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://there:5000", {"url": f"http://there:5000{WHERE}"}),
        ("https://there/mlflow/", {"url": f"https://there/mlflow{WHERE}"}),
        ("databricks", {}),
        ("sqlite:////data/m.db", {"command": [*UI, "sqlite:////data/m.db"]}),
        ("sqlite:///m.db", {"command": [*UI, "sqlite:///HERE/m.db"]}),
        ("./mlruns", {"command": [*UI, "HERE/mlruns"]}),
        ("file:///data/my%20runs", {"command": [*UI, "/data/my runs"]}),
        ("postgresql://there/db", {"command": [*UI, "postgresql://there/db"]}),
    ],
)
def test_the_page_of_each_kind_of_store(tmp_path, monkeypatch, address, expected):
    monkeypatch.chdir(tmp_path)
    found = page(address, "7", RUN)
    if "command" in expected:
        command = [word.replace("HERE", str(tmp_path)) for word in expected["command"]]
        expected = {"command": command, "url": f"http://127.0.0.1:5000{WHERE}"}
    assert found == expected


def test_a_password_stands_in_no_page(tmp_path, store, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url.replace("//", "//me:secret@"))
    run = Recording(tmp_path / "a")
    run.record(rows(0))
    where = f"/#/experiments/0/runs/{run.state['run_id']}"
    assert run.state["page"] == {"url": server.url + where}
