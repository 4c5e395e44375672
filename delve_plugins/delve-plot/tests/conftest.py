from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """For a few numbers, torch's other threads only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def bare_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's figures without what takes most of the time and test_figures.py looks at."""
    from delve_plot import figures

    write = figures.write_png

    def write_bare(figure: Any, *arguments: Any) -> None:
        figure.set_layout_engine("none")
        for axes in figure.axes:
            axes.set_axis_off()
        write(figure, *arguments)

    monkeypatch.setattr(figures, "write_png", write_bare)
