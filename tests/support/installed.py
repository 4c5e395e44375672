"""Distributions of somebody else's that offer statistics, as far as Python can tell installed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

SHARE = """
from delve.stats import Stat

def largest(spectrum, threshold):
    return spectrum.shares[0]
"""


def install(
    folder: Path,
    entry_points: Mapping[str, str],
    modules: Mapping[str, str],
    distribution: str = "their-stats",
) -> Path:
    """Lay a distribution down in a folder, which has to come onto ``sys.path``.

    Args:
        folder: Where to.
        entry_points: What each key of a statistic stands for, ``module:attribute``.
        modules: The source of each module.
        distribution: Its name.
    """
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"{key} = {value}" for key, value in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[delve.stats]", *lines]))
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    return folder


def largest_share(
    folder: Path, monkeypatch: pytest.MonkeyPatch, key: str, name: str, options: str = ""
) -> Path:
    """Install the share of the largest eigenvalue as a statistic of this key and long name."""
    module = f"stats_of_{name.replace('-', '_')}"
    source = f"{SHARE}\nstat = Stat({key!r}, {name!r}, largest, {options})\n"
    install(folder, {key: f"{module}:stat"}, {module: source}, distribution=f"their-{key}")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, module, raising=False)
    return folder
