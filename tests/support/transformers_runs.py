"""Trainings with Transformers' Trainer in a process of their own, which may be killed.

``python transformers_runs.py SCENARIO...`` with each scenario a JSON object; see :func:`train`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.state import AcceleratorState
from torch import distributed
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

SAMPLES = 48
LENGTH = 10
ARGUMENTS = {
    "num_train_epochs": 2,
    "per_device_train_batch_size": 4,
    "eval_strategy": "steps",
    "eval_steps": 5,
    "logging_steps": 3,
    "save_steps": 4,
    "disable_tqdm": True,
    "use_cpu": True,
    "seed": 3,
}


class Killer(TrainerCallback):
    """Ends the process in the middle of a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step + 1 == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


class Witness(TrainerCallback):
    """Keeps what the pooler returned, by the step and the mode, and the number of real tokens."""

    def __init__(self, model: torch.nn.Module, path: Path) -> None:
        self._path = path
        self._step = 1
        self._seen: list[tuple[int, bool, torch.Tensor]] = []
        self._model = model
        model.bert.pooler.dense.register_forward_hook(self._keep)

    def _keep(self, module, inputs, output):
        self._seen.append((self._step, self._model.training, output.detach().double()))

    def on_step_begin(self, args, state, control, **kwargs):
        self._step = state.global_step + 1

    def on_step_end(self, args, state, control, **kwargs):
        self._step = state.global_step

    def on_train_end(self, args, state, control, **kwargs):
        torch.save(self._seen, self._path)


def item(number: int) -> dict[str, Any]:
    """A sentence of random words, padded on the right."""
    generator = torch.Generator().manual_seed(number)
    real = (torch.arange(LENGTH) < 4 + number % 5).long()
    words = torch.randint(1, 40, (LENGTH,), generator=generator)
    return {"input_ids": words * real, "attention_mask": real, "labels": number % 2}


def bert() -> BertForSequenceClassification:
    """A tiny BERT."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
    )
    return BertForSequenceClassification(config)


def train(scenario: dict[str, Any]) -> None:
    """Train once.

    Args:
        scenario: ``out``, the folder; ``delve``, the arguments of the callback, None for none;
            ``arguments``, further TrainingArguments; ``kill_at``, a step; ``resume``, whether to
            go on from the last checkpoint; ``witness``, a file.
    """
    out = Path(scenario["out"])
    model = bert()
    callbacks: list[TrainerCallback] = []
    if (options := scenario.get("delve")) is not None:
        from delve_transformers import DelveCallback

        callbacks.append(DelveCallback(**options))
    if scenario.get("kill_at"):
        callbacks.append(Killer(scenario["kill_at"]))
    if scenario.get("witness"):
        callbacks.append(Witness(model, Path(scenario["witness"])))
    data = [item(number) for number in range(SAMPLES)]
    trainer = Trainer(
        model,
        TrainingArguments(str(out), **(ARGUMENTS | scenario.get("arguments", {}))),
        train_dataset=data,
        eval_dataset={"a": data[:8], "b": data[8:12]} if scenario.get("two") else data[:8],
        callbacks=callbacks,
    )
    trainer.train(resume_from_checkpoint=bool(scenario.get("resume")) or None)


def main() -> None:
    """Train each scenario, with runs of its own in MLflow and W&B."""
    transformers.logging.set_verbosity_error()
    for text in sys.argv[1:]:
        scenario = json.loads(text)
        if not distributed.is_initialized():  # else the processes would meet again
            AcceleratorState._reset_state()  # bf16 of the training before, in Transformers 4
            os.environ.pop("ACCELERATE_MIXED_PRECISION", None)  # the same
        for name, value in scenario.get("environment", {}).items():
            os.environ[name] = value
        train(scenario)
        if "wandb" in sys.modules:
            sys.modules["wandb"].finish()


if __name__ == "__main__":
    main()
