#!/usr/bin/env bash
# mlflow 3.17.2
#
# Of runs, a search sorts NaN to the end and takes it for below nothing. Of logged models in a database it
# does neither, since NaN is stored as 0.0 there: search_logged_models ascending by the loss begins with
# the model whose training diverged, "metrics.loss < 1" finds it, and its value reads 0.0. In a store of
# files NaN is kept and passes no filter, but the models are sorted as if it were a number: the others
# come out of order too (seen: 2.0, NaN, 0.25), as the folders happen to be listed.
#
# Seen, of losses NaN, 0.25 and 2.0, in sqlite:
#   runs ascending: good bad diverged; below 1: good; diverged has nan
#   models ascending: diverged good bad; below 1: diverged good; diverged has 0.0
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mlflow==3.17.2
cat > "$folder/look.py" <<'PYTHON'
import sys

import mlflow

mlflow.set_tracking_uri(sys.argv[1])
experiment = mlflow.set_experiment("losses").experiment_id
for name, loss in (("diverged", float("nan")), ("good", 0.25), ("bad", 2.0)):
    with mlflow.start_run(run_name=name):
        model = mlflow.initialize_logged_model(name=name)
        mlflow.log_metric("loss", loss, model_id=model.model_id)
        mlflow.finalize_logged_model(model.model_id, "READY")


def show(kind, ascending, below, value):
    print(f"{kind} ascending: {' '.join(ascending)}; below 1: {' '.join(sorted(below))};", end=" ")
    print("diverged has", value)


client = mlflow.MlflowClient()
low = "metrics.loss < 1"
runs = client.search_runs([experiment], order_by=["metrics.loss ASC"])
show(
    "runs",
    [run.info.run_name for run in runs],
    [run.info.run_name for run in client.search_runs([experiment], low)],
    next(run.data.metrics["loss"] for run in runs if run.info.run_name == "diverged"),
)
order = [{"field_name": "metrics.loss", "ascending": True}]
models = client.search_logged_models([experiment], order_by=order)
show(
    "models",
    [model.name for model in models],
    [model.name for model in client.search_logged_models([experiment], filter_string=low)],
    next(model.metrics[0].value for model in models if model.name == "diverged"),
)
PYTHON
seen=$(MLFLOW_DISABLE_TELEMETRY=true "$folder/venv/bin/python" "$folder/look.py" "sqlite:///$folder/runs.db" 2>/dev/null)
echo "$seen"
test "$seen" = "runs ascending: good bad diverged; below 1: good; diverged has nan
models ascending: diverged good bad; below 1: diverged good; diverged has 0.0"
