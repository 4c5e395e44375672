#!/usr/bin/env bash
# torch 2.13.0
#
# Selective activation checkpointing keeps what its operations give by their order, among them those of
# forward hooks. A hook that multiplies in the forward pass alone (statistics of activations, which leave
# out the recomputation lest they count twice) shifts that order: in the backward pass a layer gets the
# hook's product for its own. Where the shapes differ a CheckpointError says so; where they are the same
# nothing does, and the gradients are wrong. Under torch.no_grad() or on a detached output it is the
# same; without a policy (whole checkpointing) the hook has no effect.
#
# Seen, of a batch as large as the layers are wide:
#   selective, no hook: gradients as without checkpointing
#   selective, hook: gradients differ
#   selective, hook that multiplies in the recomputation too: gradients as without checkpointing
#   whole, hook: gradients as without checkpointing
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy
cat > "$folder/look.py" <<'PYTHON'
import functools

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

WIDTH = 16
policy = functools.partial(create_selective_checkpoint_contexts, [torch.ops.aten.mm.default])


def gradients(kind, hooked=(), **arguments):
    torch.manual_seed(0)
    layers = [nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3)]
    model = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
    is_forward = True

    def product(_module, _inputs, output):
        if is_forward or "recomputation" in hooked:
            with torch.no_grad():
                torch.mm(output.detach().T, output.detach())

    if hooked:
        model[0].register_forward_hook(product)
    x = torch.randn(WIDTH, WIDTH)
    if kind == "plain":
        outputs = model(x)
    else:
        outputs = checkpoint(model, x, use_reentrant=False, **arguments)
    is_forward = False
    outputs.sin().sum().backward()
    return [layer.weight.grad for layer in layers]


right = gradients("plain")
for words, found in (
    ("selective, no hook", gradients("selective", context_fn=policy)),
    ("selective, hook", gradients("selective", ["forward"], context_fn=policy)),
    (
        "selective, hook that multiplies in the recomputation too",
        gradients("selective", ["forward", "recomputation"], context_fn=policy),
    ),
    ("whole, hook", gradients("whole", ["forward"])),
):
    same = all(map(torch.allclose, right, found))
    print(f"{words}: gradients {'as without checkpointing' if same else 'differ'}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/look.py" 2>/dev/null)
echo "$seen"
test "$seen" = "selective, no hook: gradients as without checkpointing
selective, hook: gradients differ
selective, hook that multiplies in the recomputation too: gradients as without checkpointing
whole, hook: gradients as without checkpointing"
