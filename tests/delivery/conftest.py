"""What the tests of the delivery share."""

from types import SimpleNamespace

import pytest
from support.deliveries import Run

from delve.delivery import attempts, feed


@pytest.fixture
def clock(monkeypatch):
    """The delivery's clock, moved by hand."""
    clock = SimpleNamespace(now=1000.0)
    for module in (attempts, feed):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def recorded(tmp_path):
    """A folder whose journal holds epochs 0 to 3."""
    Run(tmp_path).open().save(*range(4)).close()
    return tmp_path
