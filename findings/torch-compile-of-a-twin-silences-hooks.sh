#!/usr/bin/env bash
# torch 2.13.0
#
# Two models of one class are compiled, as a student and its teacher or the folds of a
# cross-validation are. The student's layer has a forward hook, set before anything was compiled or
# called. If the teacher, which has none, is called first, the student runs the code that was
# compiled for the teacher: the hook does not fire in any of its calls, and nothing is said. Called
# first, the student is compiled with its hook, and the hook fires each time. The documentation warns
# of hooks that are set after compiling; here none is. `torch._dynamo.config`'s
# skip_nnmodule_hook_guards=False has hooks looked at.
#
# Seen (how often the hook fired in four calls):
#   teacher first: 0
#   student first: 4
#   teacher first, with guards on hooks: 4
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/look.py" <<'PYTHON'
import torch
import torch._dynamo
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x).relu()


def fired(first):
    torch.compiler.reset()
    models = {"teacher": Model(), "student": Model()}
    calls = []
    models["student"].layer.register_forward_hook(lambda *_: calls.append(1))
    compiled = {name: torch.compile(model, backend="eager") for name, model in models.items()}
    x = torch.ones(8, 4)
    if first == "teacher":
        compiled["teacher"](x)
    for _ in range(4):
        compiled["student"](x)
    compiled["teacher"](x)
    return len(calls)


print("teacher first:", fired("teacher"))
print("student first:", fired("student"))
torch._dynamo.config.skip_nnmodule_hook_guards = False
print("teacher first, with guards on hooks:", fired("teacher"))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/look.py" 2>/dev/null)
echo "$seen"
test "$seen" = "teacher first: 0
student first: 4
teacher first, with guards on hooks: 4"
