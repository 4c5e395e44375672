#!/usr/bin/env bash
# wandb 0.31.0
#
# wandb.init() takes the run's id from WANDB_RUN_ID as it was when the process first called
# wandb.setup() or wandb.init(): one that a callback sets later, to go on in an earlier run, is not
# looked at, and nothing is said. Before the first of these calls it counts, and as an argument of
# init() it does at any time.
#
# Seen:
#   set before: given
#   set after setup: another
#   in a second run: another
#   as an argument: given
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet wandb==0.31.0
cat > "$folder/look.py" <<'PYTHON'
import os
import sys

import wandb


def told(run):
    run.finish()
    return "given" if run.id == "given" else "another"


if sys.argv[1] == "before":
    os.environ["WANDB_RUN_ID"] = "given"
    print("set before:", told(wandb.init()))
elif sys.argv[1] == "setup":
    wandb.setup()
    os.environ["WANDB_RUN_ID"] = "given"
    print("set after setup:", told(wandb.init()))
elif sys.argv[1] == "second":
    wandb.init().finish()
    os.environ["WANDB_RUN_ID"] = "given"
    print("in a second run:", told(wandb.init()))
else:
    wandb.setup()
    print("as an argument:", told(wandb.init(id="given")))
PYTHON
cd "$folder"
seen=$(for how in before setup second argument; do
    WANDB_MODE=offline WANDB_SILENT=true WANDB_ERROR_REPORTING=false \
        "$folder/venv/bin/python" "$folder/look.py" "$how" 2>/dev/null
done)
echo "$seen"
test "$seen" = "set before: given
set after setup: another
in a second run: another
as an argument: given"
