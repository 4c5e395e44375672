"""Writers that failed are tried again at once: tests of outages do not wait."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from delve.delivery import attempts


@contextlib.contextmanager
def fast_retries() -> Iterator[None]:
    """Inside, a writer that failed or was slow is fed again at the very next epoch.

    Else that takes a second at first, then two, four, ..., and a writer that takes long is fed as
    rarely as leaves 95 % of the time to the training. As a decorator of a test it works too::

        @fast_retries()
        def test_an_outage_loses_nothing(tmp_path):
            ...
    """
    before = attempts.FIRST_WAIT, attempts.WAIT_RATIO
    attempts.FIRST_WAIT = attempts.WAIT_RATIO = 0.0
    try:
        yield
    finally:
        attempts.FIRST_WAIT, attempts.WAIT_RATIO = before
