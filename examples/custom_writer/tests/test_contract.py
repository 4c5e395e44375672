"""The writer keeps the promises that every writer of Delve makes."""

import io
import sqlite3
from contextlib import closing

import numpy as np
from sqlite_writer import SQLiteWriter

from delve.testing import WriterContract


def rows(folder, columns, table):
    with closing(sqlite3.connect(folder / "metrics.sqlite")) as database:
        return database.execute(f"SELECT epoch, name, {columns} FROM {table}").fetchall()


class TestSQLiteWriter(WriterContract):
    entry_point = "sqlite"

    def make_writer(self, folder):
        return SQLiteWriter(folder)

    def read_scalars(self, folder):
        for epoch, name, value in rows(folder, "value", "metrics"):
            yield epoch, name, float("nan") if value is None else value

    def read_arrays(self, folder):
        for epoch, name, npy in rows(folder, "npy", "arrays"):
            yield epoch, name, np.load(io.BytesIO(npy))
