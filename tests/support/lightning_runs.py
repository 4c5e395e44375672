"""Trainings with Lightning's Trainer in a process of their own, which may be killed.

``python lightning_runs.py SCENARIO...`` with each scenario a JSON object; see :func:`train`.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, TensorDataset

SAMPLES = 48
TRAINER = {
    "max_epochs": 3,
    "accelerator": "cpu",
    "devices": 1,
    "log_every_n_steps": 2,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
PACKAGE = "lightning.pytorch"


def data(count: int, seed: int) -> TensorDataset:
    """Random samples of two classes."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 6, generator=generator)
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


class Resumable(DataLoader):
    """A loader that goes on in the middle of an epoch, as some do and torch's own does not."""

    taken = 0
    begun = 0

    def __iter__(self) -> Iterator[Any]:
        self.taken, self.begun = self.begun, 0
        for batch in itertools.islice(super().__iter__(), self.taken, None):
            self.taken += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"taken": self.taken % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.begun = state["taken"]


def network(package: Any, witness: str | None = None, **hparams: Any) -> Any:
    """A module of two layers that logs a loss at steps, at epochs, and of the validation.

    Args:
        package: ``lightning.pytorch`` or ``pytorch_lightning``.
        witness: A file for what the last layer returned in each pass, with what it belongs to.
        hparams: Hyperparameters.
    """

    class Network(package.LightningModule):
        def __init__(self, lr: float = 0.1, **more: Any) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
            self.seen: list[Any] = []
            self.net[2].register_forward_hook(self.keep)

        def keep(self, module: Any, inputs: Any, output: torch.Tensor) -> None:
            step = self.trainer.fit_loop.epoch_loop._batches_that_stepped
            if not self.trainer.sanity_checking:
                self.seen.append((step, self.training, output.detach().double()))

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), self.hparams.lr)

        def on_fit_end(self) -> None:
            if witness:
                torch.save(self.seen, f"{witness}.{self.global_rank}")

        def configure_model(self) -> None:
            if isinstance(self.trainer.strategy, package.strategies.ModelParallelStrategy):
                fully_shard(self.net, mesh=self.device_mesh["data_parallel"])

    torch.manual_seed(0)
    return Network(**hparams)


def loggers(package: Any, names: dict[str, dict[str, Any]]) -> list[Any]:
    """Lightning's loggers by their classes' names, with arguments."""
    return [getattr(package.loggers, name)(**arguments) for name, arguments in names.items()]


def killer(package: Any, batch: int) -> Any:
    """Ends the process in the middle of the batch of this number, counted from 0 over epochs."""

    class Killer(package.Callback):
        count = -1

        def on_train_batch_start(self, *_: Any) -> None:
            Killer.count += 1

        def on_after_backward(self, *_: Any) -> None:
            if Killer.count == batch:
                time.sleep(0.5)  # W&B writes a run of the user's when it likes to
                os.kill(os.getpid(), signal.SIGKILL)

    return Killer()


def train(scenario: dict[str, Any]) -> None:
    """Train once.

    Args:
        scenario: ``package``; ``out``, the folder; ``delve``, the arguments of the callback, None
            for none; ``trainer``, further arguments of the Trainer; ``sharded``, whether by FSDP2
            over two processes; ``loggers``, by their class;
            ``kill_at``, a batch; ``resume``, a checkpoint's name; ``checkpoints``, arguments of
            ModelCheckpoint; ``witness``, a file; ``hparams``; ``prune_at``, an epoch.
    """
    package = import_module(scenario.get("package", PACKAGE))
    out = Path(scenario["out"])
    callbacks: list[Any] = []
    if (options := scenario.get("delve")) is not None:
        from delve_lightning import DelveCallback

        callbacks.append(DelveCallback(**options))
    if "prune_at" in scenario:
        callbacks.append(pruner(package, scenario["prune_at"]))
    if "kill_at" in scenario:
        callbacks.append(killer(package, scenario["kill_at"]))
    if (kept := scenario.get("checkpoints")) is not None:
        kept = {"dirpath": out / "checkpoints", "save_top_k": -1, **kept}
        callbacks.append(package.callbacks.ModelCheckpoint(**kept))
    arguments = TRAINER | scenario.get("trainer", {})
    if scenario.get("sharded"):
        arguments["strategy"] = package.strategies.ModelParallelStrategy(
            data_parallel_size=2, tensor_parallel_size=1, process_group_backend="gloo"
        )
    trainer = package.Trainer(
        default_root_dir=out,
        callbacks=callbacks,
        logger=loggers(package, scenario.get("loggers", {})) or False,
        enable_checkpointing=kept is not None,
        **arguments,
    )
    resume = scenario.get("resume")
    trainer.fit(
        network(package, scenario.get("witness"), **scenario.get("hparams", {})),
        Resumable(data(SAMPLES, 1), batch_size=4),
        DataLoader(data(16, 2), batch_size=8) if scenario.get("validates", True) else None,
        ckpt_path=out / "checkpoints" / resume if resume else None,
    )


def pruner(package: Any, epoch: int) -> Any:
    """Prunes a trial as Optuna's own callback does."""
    import optuna

    class Pruner(package.Callback):
        def on_validation_end(self, trainer: Any, module: Any) -> None:
            if trainer.current_epoch == epoch and not trainer.sanity_checking:
                raise optuna.TrialPruned

    return Pruner()


def main() -> None:
    """Train each scenario."""
    warnings.filterwarnings("ignore")
    for text in sys.argv[1:]:
        scenario = json.loads(text)
        try:
            train(scenario)
        except Exception as error:
            if type(error).__name__ != "TrialPruned":
                raise
        if "wandb" in sys.modules:
            sys.modules["wandb"].finish()


if __name__ == "__main__":
    main()
