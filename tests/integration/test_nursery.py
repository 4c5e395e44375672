"""The parent of the trainings: what it tells of its children, and of its own end."""

import os
import signal

import pytest
from support.nursery import Nursery


@pytest.fixture
def nursery():
    with Nursery(["json"], os.environ) as nursery:
        yield nursery


def test_a_childs_status_is_told_as_often_as_it_is_asked_for(nursery, tmp_path):
    ended = nursery.fork("os:_exit", tmp_path / "log", status=3)
    killed = nursery.fork("signal:pause", tmp_path / "log")
    assert nursery.wait(killed, 0.01) is None
    nursery.kill(killed, with_descendants=False)
    for _ in range(2):
        assert nursery.wait(ended, 30) == 3
        assert nursery.wait(killed, 30) == -signal.SIGKILL


FORK_WITH_ONE_NUMBER = """
import os

fork, numbers = os.fork, []

def fork_as_the_first():
    if pid := fork():
        numbers.append(pid)
        return numbers[0]
    return 0

os.fork = fork_as_the_first
"""


def test_a_child_with_the_number_of_an_earlier_one_has_not_ended(tmp_path, monkeypatch):
    (tmp_path / "one_number.py").write_text(FORK_WITH_ONE_NUMBER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Nursery(["one_number"], os.environ) as nursery:
        first = nursery.fork("os:_exit", tmp_path / "log", status=3)
        assert nursery.wait(first, 30) == 3
        second = nursery.fork("signal:pause", tmp_path / "log")
        assert second == first
        assert nursery.wait(second, 0.01) is None


def test_its_death_is_named_each_time(nursery, tmp_path):
    os.kill(nursery._process.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the nursery has died, status -9"):
            nursery.fork("signal:pause", tmp_path / "log")
