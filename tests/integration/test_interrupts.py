"""A signal at any bytecode of an epoch's end costs no epoch and doubles none.

A sample of the points is tried; ``DELVE_SWEEP=all`` tries each of them.
"""

import os
import random
import signal

import pytest
from support.bytecodes import Bytecodes
from support.interrupts import CALLS, EPOCHS, Training, faults, points

from delve.journal.stored_run import read_run

pytest.importorskip("delve_csv")
pytest.importorskip("delve_npy")

SAMPLE = None if os.environ.get("DELVE_SWEEP") == "all" else 60


@pytest.mark.parametrize("how", CALLS)
def test_a_ctrl_c_at_any_bytecode_costs_no_epoch(how, tmp_path):
    wrong = {}
    for at in points(how, tmp_path / "count", SAMPLE, random.Random(how)):
        training = Training(tmp_path / str(at), how)
        training.run(Bytecodes(at=at))
        if problems := faults(training):
            wrong[at] = problems
    assert not wrong


@pytest.mark.parametrize("how", CALLS)
def test_a_handler_that_closes_and_exits_ends_the_run_whole(how, tmp_path):
    """As on SLURM and spot machines."""
    wrong = {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        for at in points(how, tmp_path / "count", SAMPLE, random.Random(how)):
            training = Training(tmp_path / str(at), how)

            def end(*_, training=training):
                training.tracker.close()
                raise SystemExit(143)

            signal.signal(signal.SIGTERM, end)
            bytecodes = Bytecodes(signal.SIGTERM, at)
            try:
                training.run(bytecodes, ())
            except SystemExit:
                pass
            else:  # what waits for the disk takes more bytecodes at one time than at another
                assert bytecodes.count <= at
                continue
            assert signal.getsignal(signal.SIGTERM) is end
            # In the midst of the second epoch, which counts as one where anything of it is known.
            epochs = EPOCHS if how == "close" else len(read_run(training.folder).epochs)
            assert epochs >= 1
            problems = [name for name in faults(training, epochs) if name != "saturation"]
            if problems and not (epochs == 2 and set(problems) <= {"journal", "metrics"}):
                wrong[at] = problems
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not wrong
