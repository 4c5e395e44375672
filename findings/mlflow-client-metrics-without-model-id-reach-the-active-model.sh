#!/usr/bin/env bash
# mlflow 3.17.2
#
# While a logged model is active in the thread, MlflowClient.log_batch links each metric to it, also
# one that was made with model_id=None and is logged to another run than the model's. There is no
# public way to log without: a library that logs to a run of its own leaves its metrics on the user's
# model. From then on a second value of the same key, step and time raises BAD_REQUEST, and NaN
# stands there as 0.0, while the run holds NaN.
#
# Seen:
#   on the run: loss nan, accuracy 0.5
#   on the model: accuracy 0.5, loss 0.0
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mlflow==3.17.2
cat > "$folder/look.py" <<'PYTHON'
import math
import sys

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric

mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/mlflow.db")
model = mlflow.create_external_model(name="model")
mlflow.set_active_model(model_id=model.model_id)
client = MlflowClient()
run = client.create_run("0")
metrics = [
    Metric("loss", math.nan, 1_700_000_000_000, 0, model_id=None),
    Metric("accuracy", 0.5, 1_700_000_000_000, 0, model_id=None),
]
client.log_batch(run.info.run_id, metrics=metrics, synchronous=True)
held = client.get_run(run.info.run_id).data.metrics
print(f"on the run: loss {held['loss']}, accuracy {held['accuracy']}")
linked = sorted(
    (metric.key, metric.value) for metric in client.get_logged_model(model.model_id).metrics
)
print("on the model:", ", ".join(f"{key} {value}" for key, value in linked))
PYTHON
seen=$(cd "$folder" && MLFLOW_DISABLE_TELEMETRY=true "$folder/venv/bin/python" -W ignore "$folder/look.py" "$folder" 2> "$folder/log")
echo "$seen"
test "$seen" = "on the run: loss nan, accuracy 0.5
on the model: accuracy 0.5, loss 0.0"
