import numpy as np
from delve_tensorboard import TensorBoardWriter
from tensorboard_runs import read_points

from delve.testing import WriterContract


class TestTensorBoardWriter(WriterContract):
    entry_point = "tensorboard"

    def make_writer(self, folder):
        return TensorBoardWriter(folder)

    def read_scalars(self, folder):
        return read_points(folder)

    def stored(self, value):
        return float(np.float32(value))
