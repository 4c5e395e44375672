import csv

from delve_csv import CSVWriter

from delve.testing import WriterContract


class TestCSVWriter(WriterContract):
    entry_point = "csv"

    def make_writer(self, folder):
        return CSVWriter(folder)

    def read_scalars(self, folder):
        with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        for epoch, *cells in rows:
            for name, cell in zip(header[1:], cells, strict=True):
                if cell:
                    yield int(epoch), name, float(cell)
