"""Settings that hold for every test of the core."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Times vary too much on a shared machine to be a property of the code.
settings.register_profile("delve", deadline=None, max_examples=60)
settings.load_profile("delve")


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What Delve logs, and no more: a backend's thread may log long after its test has ended."""
    caplog.handler.addFilter(_is_of_delve)
    yield caplog
    caplog.handler.removeFilter(_is_of_delve)


def _is_of_delve(record: logging.LogRecord) -> bool:
    return record.name.startswith("delve")
