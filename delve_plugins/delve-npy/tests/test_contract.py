import numpy as np
from delve_npy import NPYWriter, has_value

from delve.testing import WriterContract


class TestNPYWriter(WriterContract):
    entry_point = "npy"

    def make_writer(self, folder):
        return NPYWriter(folder)

    def read_scalars(self, folder):
        if not (folder / "npy/scalars.npz").exists():
            return
        with np.load(folder / "npy/scalars.npz") as scalars:
            arrays = dict(scalars)
        epochs = arrays.pop("epoch")
        for name, values in arrays.items():
            held = has_value(values)
            yield from zip(
                epochs[held].tolist(), [name] * len(epochs), values[held].tolist(), strict=False
            )

    def read_arrays(self, folder):
        for path in (folder / "npy").glob("*/*/epoch*.npy"):
            name = f"{path.parent.parent.name}/{path.parent.name}"
            yield int(path.stem.removeprefix("epoch")), name, np.load(path)
