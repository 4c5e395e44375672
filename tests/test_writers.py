import re

import pytest

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
