"""Handwritten digits with Keras 3 on PyTorch.

    python examples/keras_digits.py

takes less than a minute on two cores, and downloads nothing. Kill it and start it again: Keras goes
on at the epoch under way, and `delve show runs/keras/delve` shows each row once.
"""

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from delve_keras import DelveCallback
from sklearn.datasets import load_digits


def main() -> None:
    """Fit, from the last backup if there is one."""
    keras.utils.set_random_seed(0)
    digits = load_digits()
    images = (digits.images / 16)[..., None].astype("float32")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu", name="conv1"),
            keras.layers.Conv2D(32, 3, activation="relu", name="conv2"),
            keras.layers.Flatten(),
            keras.layers.Dense(48, activation="relu", name="hidden"),
            keras.layers.Dense(10, name="logits"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    model.fit(
        images[360:],
        digits.target[360:],
        validation_data=(images[:360], digits.target[:360]),
        epochs=5,
        verbose=2,
        callbacks=[
            keras.callbacks.BackupAndRestore("runs/keras/backup"),
            DelveCallback(savefile="runs/keras/delve", carry_scalars=True),
        ],
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # for --help
    main()
