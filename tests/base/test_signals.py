"""Handlers of signals wait for a state to be whole, and for somebody else's call a while."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from delve.base import signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def ctrl_c():
    """What Ctrl-C does in a terminal, whatever a shell in the background has set."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def calls():
    """What the handler of SIGUSR1 is called with."""
    calls, before = [], signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, lambda number, frame: calls.append((number, frame)))
    yield calls
    signal.signal(signal.SIGUSR1, before)


def come(number=signal.SIGUSR1):
    signal.raise_signal(number)


def test_a_handler_waits_for_the_end_of_the_outermost_block(calls):
    own = signal.getsignal(signal.SIGUSR1)
    with signals.held():
        with signals.held():
            come()
        assert not calls
    assert [number for number, _ in calls] == [signal.SIGUSR1]
    assert calls[0][1] is not None
    assert signal.getsignal(signal.SIGUSR1) is own


def test_a_handler_that_raises_does_so_after_the_block():
    done = []

    def work():
        with signals.held():
            come(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_all_handlers_run_though_one_raises(calls):
    def work():
        with signals.held():
            come(signal.SIGINT)
            come()

    with pytest.raises(KeyboardInterrupt):
        work()
    assert len(calls) == 1


def test_an_error_of_the_block_is_not_lost(calls):
    def work():
        with signals.held():
            come()
            raise ValueError("own")

    with pytest.raises(ValueError, match="own"):
        work()
    assert len(calls) == 1


def test_a_second_signal_comes_in_at_once_where_somebody_else_is_waited_for(calls):
    with signals.held(), signals.interruptible():
        come()
        assert not calls
        come()
        assert len(calls) == 1
    assert len(calls) == 1


def test_a_first_one_comes_in_after_a_while(calls, monkeypatch):
    monkeypatch.setattr(signals, "GRACE", 0.2)
    with signals.held(), signals.interruptible():
        begun = time.monotonic()
        come()
        while not calls and time.monotonic() < begun + 20:
            time.sleep(0.01)
        assert calls
        assert time.monotonic() - begun >= 0.2
    assert len(calls) == 1


def test_it_comes_in_while_the_process_sleeps(monkeypatch):
    monkeypatch.setattr(signals, "GRACE", 0.2)
    begun = time.monotonic()

    def work():
        with signals.held(), signals.interruptible():
            come(signal.SIGINT)
            time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert time.monotonic() - begun < 30


def test_it_does_not_come_in_while_state_changes(calls, monkeypatch):
    monkeypatch.setattr(signals, "GRACE", 0.0)
    with signals.held():
        come()
        come()
        assert not calls
    assert len(calls) == 1


def test_one_that_came_before_the_wait_comes_in_during_it(monkeypatch):
    monkeypatch.setattr(signals, "GRACE", 0.1)

    def work():
        with signals.held():
            come(signal.SIGINT)
            with signals.interruptible():
                time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        work()


def test_only_a_handler_that_came_in_is_told_from_other_callers(monkeypatch):
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(signals.is_handling()))
    try:
        with signals.held(), signals.interruptible():
            come()
            come()
            assert not signals.is_handling()
        with signals.held():
            come()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [True, False]


def test_a_handler_that_somebody_sets_in_the_block_stays(calls):
    own = signal.getsignal(signal.SIGUSR1)
    with signals.held():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    signal.signal(signal.SIGUSR1, own)


def test_another_thread_is_left_alone(calls):
    own = signal.getsignal(signal.SIGUSR1)
    found = []

    def look():
        with signals.held(), signals.interruptible():
            found.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [own]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_its_handlers(calls):
    own = signal.getsignal(signal.SIGUSR1)
    with signals.held():
        pid = os.fork()
        if not pid:
            os._exit(signal.getsignal(signal.SIGUSR1) is not own)
    assert os.waitpid(pid, 0)[1] == 0


def test_it_costs_a_few_microseconds():
    begun = time.process_time()
    for _ in range(1000):
        with signals.held(), signals.interruptible():
            pass
    assert time.process_time() - begun < 0.5


SLOW = """
    import signal, sys, time
    from torch import nn
    from delve import SaturationTracker

    class Slow:
        def __init__(self, hook):
            self.hook, self.waited = hook, False
        def wait(self, hook):
            if hook == self.hook and not self.waited:
                self.waited = True
                print("waiting", flush=True)
                time.sleep(60)
        def start(self):
            self.wait("start")
        def add_scalar(self, name, value, epoch):
            self.wait("add_scalar")
            print(f"{name} {epoch}", flush=True)
        def save(self, epoch):
            self.wait("save")
            print(f"saved {epoch}", flush=True)
        def close(self, error):
            print(f"closed {type(error).__name__}", flush=True)

    tracker = None
    def end(*_):
        {handler}
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tracker = SaturationTracker(sys.argv[1], Slow(sys.argv[2]), nn.Linear(2, 2))
    tracker.add_scalar("loss", 1.0)
    tracker.save()
    time.sleep(60)
"""


def signalled(folder, hook, number, handler="tracker.close(); sys.exit(7)"):
    """What a training prints that gets a signal in a writer's call, its log, status and time."""
    script = textwrap.dedent(SLOW.replace("{handler}", handler))
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), hook],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    while "waiting" not in lines[-1:]:
        lines.append(process.stdout.readline().rstrip())
    begun = time.monotonic()
    process.send_signal(number)
    rest, error = process.communicate()
    seconds = time.monotonic() - begun
    return lines + rest.splitlines(), error, process.returncode, seconds


@pytest.mark.parametrize("hook", ["add_scalar", "save"])
def test_a_handler_closes_the_tracker_while_a_writer_is_fed_and_exits(hook, tmp_path):
    lines, error, status, seconds = signalled(tmp_path / "run", hook, signal.SIGTERM)
    assert status == 7, error
    assert lines[-2:] == ["saved 0", "closed NoneType"]
    assert lines.count("saved 0") == 1
    assert "close() was called by the handler of a signal" in error
    assert "must not call" not in error
    assert seconds < 30


def test_what_a_handler_logs_while_a_writer_is_fed_counts(tmp_path):
    handler = 'tracker.add_scalar("last", 2.0); tracker.save(); tracker.close(); sys.exit(7)'
    lines, error, status, _ = signalled(tmp_path / "run", "save", signal.SIGTERM, handler)
    assert status == 7, error
    assert lines[lines.index("waiting") + 1 :] == [
        "loss 0",
        "saved 0",
        "last 1",
        "saved 1",
        "closed NoneType",
    ]


def test_ctrl_c_while_the_constructor_waits_ends_it_soon(tmp_path):
    _, error, status, seconds = signalled(tmp_path / "run", "start", signal.SIGINT)
    assert status in (130, -signal.SIGINT), error
    assert error.rstrip().endswith("KeyboardInterrupt")
    assert seconds < 30


def test_a_writer_that_calls_the_tracker_is_still_told(tmp_path, caplog):
    from torch import nn

    from delve import SaturationTracker

    class Calling:
        def save(self):
            tracker.add_scalar("a", 1.0)

    tracker = SaturationTracker(tmp_path / "run", Calling(), nn.Linear(2, 2))
    tracker.save()
    with caplog.at_level(logging.WARNING):
        tracker.close()
    assert "a writer must not call the tracker" in caplog.text


CLOSING = """
    import os, signal, sys, threading, time
    from torch import nn
    from delve import SaturationTracker

    class Away:
        up = False
        def save(self, epoch):
            if not self.up:
                raise OSError("away")
            time.sleep(0.3)
            print(f"saved {epoch}", flush=True)
        def close(self):
            print("closed", flush=True)

    def end(*_):
        tracker.close()
        sys.exit(7)
    signal.signal(signal.SIGTERM, end)
    away = Away()
    tracker = SaturationTracker(sys.argv[1], away, nn.Linear(2, 2))
    for epoch in range(8):
        tracker.add_scalar("loss", 1.0)
        tracker.save()
    away.up = True
    threading.Thread(
        target=lambda: (time.sleep(0.5), os.kill(os.getpid(), signal.SIGTERM)), daemon=True
    ).start()
    tracker.close()
    print("not reached", flush=True)
"""


def test_a_handler_that_exits_while_the_tracker_is_being_closed_cuts_nothing_off(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CLOSING), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines() == [*(f"saved {epoch}" for epoch in range(8)), "closed"]


def test_an_array_that_could_not_be_written_once_costs_its_epoch_alone(tmp_path):
    import torch
    from torch import nn

    from delve import SaturationTracker

    class Disk:
        def __init__(self):
            self.arrays = []

        def add_array(self, name, epoch):
            if epoch == 1 and not self.arrays.count(1):
                self.arrays.append(epoch)
                raise OSError("full for a moment")
            self.arrays.append(epoch)

        def save(self, epoch):
            pass

    disk, layer = Disk(), nn.Linear(2, 2)
    tracker = SaturationTracker(tmp_path / "run", disk, layer, stats=["cov"])
    for _ in range(6):
        layer(torch.randn(8, 2))
        tracker.add_saturations()
    tracker.close()
    assert disk.arrays == [0, 1, 2, 3, 4, 5]
