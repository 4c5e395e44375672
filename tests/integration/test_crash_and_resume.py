"""The main job as a user runs it: the examples, in processes of their own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from mlflow_server import MLflowServer

from delve import load

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name, folder, **environment):
    return subprocess.run(
        [sys.executable, EXAMPLES / name],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def check_resume_example(folder, **environment):
    done = run_example("resume.py", folder, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed in epoch 5 batch 10" in done.stdout
    assert "metrics.csv: each epoch once, resumed values in place" in done.stdout
    assert "MLflow: each epoch once, resumed values in place" in done.stdout
    assert "Both tables hold the same numbers: yes" in done.stdout
    lines = [
        json.loads(line)
        for line in (folder / "runs" / "resume" / "journal.jsonl").read_text().splitlines()
    ]
    epochs = [line.get("epoch") for line in lines if line["type"] in ("epoch", "resume")]
    assert epochs == [0, 1, 2, 3, 4, 4, 4, 5, 6, 7]  # killed in 5, resumed at 4


def test_the_crash_is_resumed_against_sqlite(tmp_path):
    check_resume_example(tmp_path)
    check_resume_example(tmp_path)  # a new run over the old one


def test_the_crash_is_resumed_against_a_server(tmp_path):
    with MLflowServer(tmp_path) as server:
        check_resume_example(tmp_path, MLFLOW_TRACKING_URI=server.url)


def test_the_quickstart_trains_above_95_percent_and_says_where_things_are(tmp_path):
    done = run_example("quickstart.py", tmp_path)
    assert done.returncode == 0, done.stderr
    accuracy = float(done.stdout.split("Test accuracy: ")[1].split("%")[0])
    assert accuracy > 95
    assert "linear2" in done.stdout
    assert "mlflow ui \\\n        --backend-store-uri sqlite:///mlflow.db" in done.stdout
    *_, page = done.stdout.splitlines()
    run = load(tmp_path / "runs" / "quickstart")
    assert page.strip() == run.pages["mlflow"].url
    assert re.fullmatch("    http://127.0.0.1:5000/#/experiments/0/runs/[0-9a-f]{32}", page)
    # How long the path of the environment is, is not the example's doing.
    lines = done.stdout.replace(str(Path(sys.executable).parent), ".venv/bin").splitlines()
    assert max(map(len, lines)) <= 80
    assert (tmp_path / "runs" / "quickstart" / "metrics.csv").exists()
