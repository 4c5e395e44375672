"""Processes that hold other weights under one name are told apart by numbers of these."""

import pytest
import torch
from torch import nn

from delve.numerics.weight_marks import marks_of, unlike

NORMS = {
    "plain": lambda layer: layer,
    "weight_norm": nn.utils.parametrizations.weight_norm,
    "spectral_norm": nn.utils.parametrizations.spectral_norm,
}


@pytest.mark.parametrize("kind", NORMS)
def test_weights_that_were_drawn_apart_are_unlike(kind):
    def marks(seed):
        torch.manual_seed(seed)
        return marks_of({"stage": NORMS[kind](nn.Linear(6, 6))})

    assert unlike([marks(0), marks(0)]) == {}
    assert unlike([marks(0), marks(1)]) == {"stage": [0, 1]}
