#!/usr/bin/env bash
# peft 0.21.2, on torch 2.13.0
#
# With use_dora=True each pass, in training and in evaluation, calls lora_A and lora_B twice: first with
# the identity matrix of the layer's inputs, from which the norm of the adapted weight is taken, then
# with the data. Whatever hooks these modules (activation statistics, calibration, counts of operations)
# gets as many rows of the identity as the layer has inputs, in each pass: at a width of 4096 more than
# most batches hold. Without DoRA the same modules see the data alone.
#
# Seen, for a batch of 3 rows of 6:
#   LoRA train: A 3x6 data, B 3x2
#   LoRA eval: A 3x6 data, B 3x2
#   DoRA train: A 6x6 identity, B 6x2, A 3x6 data, B 3x2
#   DoRA eval: A 6x6 identity, B 6x2, A 3x6 data, B 3x2
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0 accelerate==1.15.0 peft==0.21.2
cat > "$folder/look.py" <<'PYTHON'
import torch
from peft import LoraConfig, get_peft_model
from torch import nn


def told(part, rows):
    text = f"{part} {rows.shape[0]}x{rows.shape[1]}"
    if part == "A":
        is_identity = rows.shape[0] == rows.shape[1] and torch.equal(rows, torch.eye(len(rows)))
        text += " identity" if is_identity else " data"
    return text


for kind in ("LoRA", "DoRA"):
    config = LoraConfig(r=2, target_modules=["0"], use_dora=kind == "DoRA")
    model = get_peft_model(nn.Sequential(nn.Linear(6, 5)), config)
    seen = []
    for name, module in model.named_modules():
        if name.endswith((".lora_A.default", ".lora_B.default")):
            module.register_forward_pre_hook(
                lambda _, inputs, part=name[-9]: seen.append(told(part, inputs[0]))
            )
    for mode in ("train", "eval"):
        model.train(mode == "train")
        seen.clear()
        model(torch.ones(3, 6))
        print(f"{kind} {mode}: {', '.join(seen)}")
PYTHON
seen=$(HF_HUB_OFFLINE=1 HF_HOME="$folder" "$folder/venv/bin/python" "$folder/look.py" 2>/dev/null)
echo "$seen"
test "$seen" = "LoRA train: A 3x6 data, B 3x2
LoRA eval: A 3x6 data, B 3x2
DoRA train: A 6x6 identity, B 6x2, A 3x6 data, B 3x2
DoRA eval: A 6x6 identity, B 6x2, A 3x6 data, B 3x2"
