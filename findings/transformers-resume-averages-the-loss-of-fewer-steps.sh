#!/usr/bin/env bash
# transformers 5.24.0, accelerate 1.15.0, torch 2.13.0
#
# A Trainer logs its loss every 3 steps, the mean of the steps since the last log, and saves every 4.
# It is killed, and resumed from the checkpoint of step 8 with the same seed and the data skipped as it
# does by itself: the weights go on to the same bits. The loss that it logs at step 9 is not the one of
# the run that was not interrupted: it is the mean of step 9 alone, as the steps 7 and 8, whose sum was
# not kept, count no more. So a resumed curve differs at one point, with the same weights on both sides.
# The log of step 12 is the same again.
#
# Seen:
#   step 9 is the same: False
#   step 12 is the same: True
#   weights are the same: True
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1 transformers==5.24.0 accelerate==1.15.0
cat > "$folder/look.py" <<'PYTHON'
import sys

import torch
from transformers import Trainer, TrainingArguments, set_seed


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x, labels):
        return {"loss": (self.layer(x) - labels).square().mean()}


def fit(folder, checkpoint=None):
    set_seed(0)
    data = [{"x": torch.randn(4), "labels": torch.randn(1)} for _ in range(24)]
    arguments = TrainingArguments(
        folder, max_steps=12, per_device_train_batch_size=2, logging_steps=3, save_steps=4,
        report_to=[], use_cpu=True, disable_tqdm=True, remove_unused_columns=False,
    )
    trainer = Trainer(Model(), arguments, train_dataset=data)
    trainer.train(resume_from_checkpoint=checkpoint)
    losses = {row["step"]: row["loss"] for row in trainer.state.log_history if "loss" in row}
    return losses, trainer.model.layer.weight.detach()


whole, weights = fit(f"{sys.argv[1]}/whole")
resumed, later = fit(f"{sys.argv[1]}/resumed", f"{sys.argv[1]}/whole/checkpoint-8")
for step in (9, 12):
    print(f"step {step} is the same:", whole[step] == resumed[step])
print("weights are the same:", torch.equal(weights, later))
PYTHON
seen=$(HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore "$folder/look.py" "$folder" 2>/dev/null | grep same)
echo "$seen"
test "$seen" = "step 9 is the same: False
step 12 is the same: True
weights are the same: True"
