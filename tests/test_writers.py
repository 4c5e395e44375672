import re

import pytest
from torch import nn

import delve.writers
from delve import SaturationTracker
from delve.testing import WriterContract
from delve.writers import PrintWriter

LINE = re.compile(r"epoch +(\d+)  (.*?) = (\S+)\n(?=epoch|\Z)", re.DOTALL)


class TestPrintWriter(WriterContract):
    entry_point = "print"

    @pytest.fixture(autouse=True)
    def console(self, capsys):
        self.capsys = capsys

    def make_writer(self, folder):
        return PrintWriter()

    def read_scalars(self, folder):
        """A later line replaces an earlier one of the same epoch and name, to the reader's eye."""
        lines = {
            (int(epoch), name): float(value)
            for epoch, name, value in LINE.findall(self.capsys.readouterr().out)
        }
        return [(epoch, name, value) for (epoch, name), value in lines.items()]

    def stored(self, value):
        """Six digits are printed."""
        return float(f"{value:.6g}")


def test_a_subclass_may_call_each_method_that_delve_0_1_documents(tmp_path):
    class Mine(PrintWriter):
        calls: list[str]

        def __init__(self):
            self.calls = []

        def resume_from_saved_state(self, initial_epoch):
            super().resume_from_saved_state(initial_epoch)
            self.calls.append("resume")

        def save(self):
            super().save()
            self.calls.append("save")

        def close(self):
            super().close()
            self.calls.append("close")

    writer = Mine()
    for first in (0, 1):
        with SaturationTracker(tmp_path, writer, nn.Linear(2, 2), initial_epoch=first) as tracker:
            tracker.add_scalar("loss", 1.0)
            tracker.save()
    assert writer.calls == ["save", "close", "resume", "save", "close"]


@pytest.mark.parametrize("name", ["CSVWriter", "NPYWriter", "PlotWriter", "TensorBoardWriter"])
def test_the_writers_have_all_methods_that_delve_0_1_documents(name):
    for plugin in ("csv", "npy", "plot", "tensorboard"):
        pytest.importorskip(f"delve_{plugin}")
    methods = ["resume_from_saved_state", "add_scalar", "add_scalars", "save", "close"]
    assert [m for m in methods if not hasattr(getattr(delve.writers, name), m)] == []
    assert [m for m in methods if not hasattr(PrintWriter, m)] == []
