"""What takes long to start is started once: MLflow's server, and the parent of all trainings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.crashed_runs import Bench, opened


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with opened(tmp_path_factory.mktemp("crashes"), print) as bench:
        yield bench
