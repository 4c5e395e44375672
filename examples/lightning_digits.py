"""Handwritten digits with Lightning.

    python examples/lightning_digits.py

takes less than a minute on two cores, and downloads nothing. Kill it and start it again: Lightning
goes on from its last checkpoint, and `delve show runs/lightning/delve` shows each row once.
"""

import argparse
from pathlib import Path

import digits
import lightning.pytorch as lightning
import torch
from delve_lightning import DelveCallback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset


class Digits(lightning.LightningModule):
    """The network of the examples."""

    def __init__(self, lr: float = 1e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.network = digits.network()

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        hits = self.network(batch[0]).argmax(dim=1) == batch[1]
        self.log("accuracy", hits.float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.lr)


def main() -> None:
    """Fit, from the last checkpoint if there is one."""
    lightning.seed_everything(0)
    images, labels, test_images, test_labels = digits.load()
    last = Path("runs/lightning/last.ckpt")
    trainer = lightning.Trainer(
        max_epochs=5,
        accelerator="cpu",
        logger=False,
        default_root_dir="runs/lightning",
        callbacks=[
            ModelCheckpoint("runs/lightning", save_last=True),
            DelveCallback(savefile="runs/lightning/delve", carry_scalars=True),
        ],
    )
    trainer.fit(
        Digits(),
        DataLoader(TensorDataset(images, labels), digits.BATCH_SIZE, shuffle=True),
        DataLoader(TensorDataset(test_images, test_labels), 360),
        ckpt_path=last if last.exists() else None,
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # for --help
    main()
