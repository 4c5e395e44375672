"""
A transformer with padding
==========================

Sentences of one batch are padded to one length. A padded position is no sample: Delve takes the
mask that the model is called with, or one that you give.
"""

# %%
# A small encoder on random "sentences" of 3 to 16 tokens, right-padded with zeros.

import logging
import tempfile
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from delve import SaturationTracker

logging.getLogger("delve").setLevel(logging.ERROR)
RUNS = Path(tempfile.mkdtemp())
torch.manual_seed(0)
lengths = torch.randint(3, 17, (256,))
real = torch.arange(16) < lengths[:, None]  # (batch x time), True where a token is
tokens = torch.randint(1, 100, (256, 16)) * real


class Encoder(nn.Module):
    """Embeddings and two layers of a transformer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 32, padding_idx=0)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, tokens, padding):
        return self.encoder(self.embed(tokens), src_key_padding_mask=padding)


model = Encoder()


def record(name, **arguments):
    """One pass over all sentences; returns the row that it gives."""
    with SaturationTracker(
        RUNS / name, "csv", model, stats=["lsat", "n"], timeseries_method="timestepwise",
        **arguments
    ) as tracker:  # fmt: skip
        for batch in torch.arange(256).split(64):
            model(tokens[batch], ~real[batch])
        tracker.add_saturations()
    return pd.read_csv(RUNS / name / "metrics.csv").iloc[0]


rows = {"mask": record("mask"), "no mask": record("no-mask", mask=None)}
layer = "encoder.layers.0.linear1"
for name, row in rows.items():
    print(
        f"{name:8}: {row[f'train-samples/{layer}']:5.0f} samples, "
        f"saturation of {layer} {row[f'train-saturation/{layer}']:.1%}"
    )
print(f"real tokens: {int(real.sum())} of {real.numel()}")

# %%
# ``src_key_padding_mask``, or the ``attention_mask`` of a model of Transformers, is found in the
# call of the tracked model. Where no call tells, say it::
#
#     with tracker.mask(real):  # (batch x time)
#         model(tokens)
