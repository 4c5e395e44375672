"""The conformance kit for anyone's writer; needs pytest (``delve[testing]``).

Subclass :class:`WriterContract` in a test module of the plugin::

    from delve.testing import WriterContract
    from delve_csv import CSVWriter


    class TestCSVWriter(WriterContract):
        entry_point = "csv"

        def make_writer(self, folder):
            return CSVWriter(folder)

        def read_scalars(self, folder):
            with (folder / "metrics.csv").open(newline="") as file:
                for row in csv.DictReader(file):
                    epoch = int(row.pop("epoch"))
                    yield from ((epoch, name, float(cell)) for name, cell in row.items() if cell)

For tests of a plugin's own, :class:`Recording` drives a writer as the tracker does, with faults on
demand; :func:`train` and :func:`train_and_die` record with a real tracker, and ``HISTORIES``
are what can befall a run of theirs. :func:`journal_rows` is what the backend should hold then, and
:func:`fast_retries` spares a test of an outage the wait.
"""

from delve.testing.closing import ClosingContract
from delve.testing.construction import ConstructionContract
from delve.testing.histories import HISTORIES
from delve.testing.journals import journal_entries, journal_lines, journal_rows
from delve.testing.reading import ReadingContract
from delve.testing.recording import Fault, Recording, run_id
from delve.testing.resuming import ResumingContract
from delve.testing.retries import fast_retries
from delve.testing.rows import Row, differences, sample_rows
from delve.testing.stepping import SteppingContract
from delve.testing.storing import StoringContract
from delve.testing.training import Killer, train, train_and_die

__all__ = [
    "HISTORIES",
    "Fault",
    "Killer",
    "Recording",
    "Row",
    "WriterContract",
    "differences",
    "fast_retries",
    "journal_entries",
    "journal_lines",
    "journal_rows",
    "run_id",
    "sample_rows",
    "train",
    "train_and_die",
]


class WriterContract(
    ConstructionContract,
    StoringContract,
    ResumingContract,
    SteppingContract,
    ReadingContract,
    ClosingContract,
):
    """What every writer promises, as tests.

    A subclass, named ``Test...``, overrides

    * ``make_writer(folder)``: the writer that records a run in this folder;
    * ``read_scalars(folder)``: every value that the backend holds of the folder's run, as
      ``(epoch, name, value)``, with the backend's own reader; a value that is held twice comes
      twice. Names come as they were given, where the backend had to change them as it holds them;
    * ``read_arrays(folder)``: the same for arrays, if the writer stores any.

    and, where it applies, ``entry_point``, ``stored(value)`` and ``abandon(writer)``. What a
    writer does not implement is skipped, and so is what cannot be read back.
    """
