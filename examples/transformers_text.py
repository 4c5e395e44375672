"""A small language model of Python's own documentation, with Transformers' Trainer.

    python examples/transformers_text.py

takes less than a minute on two cores, and downloads nothing. Kill it and start it again: it goes on
from its last checkpoint, and `delve show runs/text/delve` shows each row once.
"""

import argparse
from pydoc_data.topics import topics

import torch
from delve_transformers import DelveCallback
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

LENGTH = 48
OUTPUT = "runs/text"


def passages(text: str) -> list[dict[str, torch.Tensor]]:
    """The text in pieces of one length, character by character."""
    characters = torch.tensor([min(ord(character), 127) for character in text])
    return [
        {"input_ids": piece, "labels": piece}
        for piece in characters.split(LENGTH)
        if len(piece) == LENGTH
    ]


def main() -> None:
    """Train from the last checkpoint, if there is one."""
    torch.manual_seed(0)
    found = passages("".join(topics[name] for name in sorted(topics))[:60_000])
    config = GPT2Config(
        vocab_size=128, n_positions=LENGTH, n_embd=64, n_layer=2, n_head=4, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    trainer = Trainer(
        GPT2LMHeadModel(config),
        TrainingArguments(
            OUTPUT,
            num_train_epochs=1,
            per_device_train_batch_size=16,
            eval_strategy="steps",
            eval_steps=20,
            save_steps=20,
            logging_steps=20,
            learning_rate=3e-3,
            report_to="none",
            use_cpu=True,
        ),
        train_dataset=found[50:],
        eval_dataset=found[:50],
        callbacks=[DelveCallback(timeseries_method="timestepwise", carry_scalars=True)],
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(OUTPUT))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # for --help
    main()
