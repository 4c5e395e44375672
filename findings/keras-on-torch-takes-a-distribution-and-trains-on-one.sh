#!/usr/bin/env bash
# keras 3.15.1, on torch 2.13.0
#
# The backend for torch has no distribution: list_devices() fails there, with an AttributeError of a
# module that is None. set_distribution(DataParallel(...)) does not fail: the distribution is set,
# fit() trains, and not a word is said; every batch goes whole through the one process and device, as
# without it. Who scales a learning rate to "two devices" trains with the wrong one.
#
# Seen (a first call looks at the shapes):
#   list_devices: AttributeError
#   distribution: DataParallel over 2
#   rows of each call, with it: 8 8 8
#   rows of each call, without: 8 8 8
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 keras==3.15.1
cat > "$folder/look.py" <<'PYTHON'
import keras
import numpy as np

seen = []


class Layer(keras.layers.Layer):
    def call(self, inputs):
        seen.append(len(inputs))
        return inputs


def fit():
    seen.clear()
    model = keras.Sequential([Layer(), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.build((None, 3))
    seen.clear()
    model.fit(np.ones((16, 3)), np.ones((16, 2)), batch_size=8, verbose=0)
    return " ".join(str(rows) for rows in seen)


plain = fit()
try:
    print("list_devices:", keras.distribution.list_devices())
except Exception as error:
    print("list_devices:", type(error).__name__)
devices = ["cpu:0", "cpu:1"]
keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
there = keras.distribution.distribution()
print("distribution:", type(there).__name__, "over", int(np.prod(there.device_mesh.shape)))
print("rows of each call, with it:", fit())
print("rows of each call, without:", plain)
PYTHON
seen=$(KERAS_BACKEND=torch KERAS_HOME="$folder" "$folder/venv/bin/python" "$folder/look.py" 2>/dev/null)
echo "$seen"
test "$seen" = "list_devices: AttributeError
distribution: DataParallel over 2
rows of each call, with it: 8 8 8
rows of each call, without: 8 8 8"
