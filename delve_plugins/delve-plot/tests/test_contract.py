import csv

import numpy as np
import pytest
from delve_plot import CSVandPlottingWriter, PlotWriter

from delve.testing.closing import ClosingContract
from delve.testing.construction import ConstructionContract
from delve.testing.resuming import ResumingContract
from delve.testing.storing import StoringContract

pytestmark = pytest.mark.usefixtures("bare_figures")


class TestPlotWriter(ConstructionContract, ClosingContract):
    """Figures hold no numbers to read back, so the rest of the contract would be skipped.

    The writer goes through it below, beside a table; tests/test_writer.py looks at the figures.
    """

    entry_point = "plot"

    def make_writer(self, folder):
        return PlotWriter(folder, dpi=40)


class TestCSVandPlottingWriter(StoringContract, ResumingContract):
    def make_writer(self, folder):
        return CSVandPlottingWriter(folder, dpi=40)

    def read_scalars(self, folder):
        if not (folder / "metrics.csv").exists():
            return
        with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        for epoch, *cells in rows:
            for name, cell in zip(header[1:], cells, strict=True):
                if cell:
                    yield int(epoch), name, np.float64(cell).item()
