#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0
#
# A Trainer validates twice an epoch (val_check_interval=0.5 of 12 batches) and keeps a checkpoint
# every 6 steps. The checkpoint of step 12, the last one of an epoch, is written before the validation
# that is due at that step. A run that is resumed from it, as after a kill, does not make up for that
# validation: training goes on with the first batch of the next epoch, and the metrics of step 12 are
# in no log. One that was not interrupted validates there.
#
# Seen (the training steps after which a validation ran):
#   whole: 6 12 18 24
#   resumed at 12: 18 24
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1 lightning==2.6.6
cat > "$folder/look.py" <<'PYTHON'
import sys

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.seen = []

    def training_step(self, batch, _):
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, _):
        pass

    def on_validation_epoch_start(self):
        if not self.trainer.sanity_checking:
            self.seen.append(self.trainer.global_step)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(folder, checkpoint=None):
    torch.manual_seed(0)
    model = Model()
    loader = DataLoader(TensorDataset(torch.randn(24, 3)), batch_size=2)
    keep = ModelCheckpoint(dirpath=folder, filename="{step}", every_n_train_steps=6, save_top_k=-1)
    trainer = Trainer(
        max_epochs=2, val_check_interval=0.5, callbacks=[keep], logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )
    trainer.fit(model, loader, loader, ckpt_path=checkpoint)
    return " ".join(map(str, model.seen))


print("whole:", fit(f"{sys.argv[1]}/whole"))
print("resumed at 12:", fit(f"{sys.argv[1]}/resumed", f"{sys.argv[1]}/whole/step=12.ckpt"))
PYTHON
seen=$("$folder/venv/bin/python" -W ignore "$folder/look.py" "$folder" 2>/dev/null)
echo "$seen"
test "$seen" = "whole: 6 12 18 24
resumed at 12: 18 24"
