#!/usr/bin/env bash
# mlflow 3.17.2, with MLFLOW_ALLOW_FILE_STORE=true
#
# On the file store a metric is a file, and a metric `loss` excludes one called `loss/val`. log_batch
# raises for the batch that holds both, with INTERNAL_ERROR, as if the store were broken for a while,
# but has written what stood before the bad one by then. Whoever takes that for an outage and sends
# the batch again has each of these points one more time: the file store knows no identical points,
# which the SQL stores pass over.
#
# Seen:
#   first try: INTERNAL_ERROR, points of accuracy: 1
#   second try: INTERNAL_ERROR, points of accuracy: 2
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mlflow==3.17.2
cat > "$folder/look.py" <<'PYTHON'
import sys

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

client = MlflowClient(f"file://{sys.argv[1]}/store")
run_id = client.create_run("0").info.run_id
time = 1_700_000_000_000
client.log_batch(run_id, metrics=[Metric("loss", 1.0, time, 0)])
batch = [Metric(key, 0.5, time, 0) for key in ("accuracy", "loss/val")]
for name in ("first", "second"):
    try:
        client.log_batch(run_id, metrics=batch, synchronous=True)
        code = "taken"
    except MlflowException as error:
        code = error.error_code
    points = len(client.get_metric_history(run_id, "accuracy"))
    print(f"{name} try: {code}, points of accuracy: {points}")
PYTHON
seen=$(cd "$folder" && MLFLOW_ALLOW_FILE_STORE=true MLFLOW_DISABLE_TELEMETRY=true "$folder/venv/bin/python" -W ignore "$folder/look.py" "$folder" 2> "$folder/log")
echo "$seen"
test "$seen" = "first try: INTERNAL_ERROR, points of accuracy: 1
second try: INTERNAL_ERROR, points of accuracy: 2"
