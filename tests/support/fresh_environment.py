"""A virtual environment of a few distributions, and of everything else what they declare."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, distribution, distributions
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

_BUILD_BACKENDS = ("hatchling", "setuptools")


class FreshEnvironment:
    """Wheels are built of some source folders and installed into a new virtual environment.

    Large libraries are not installed again: those that the wheels require are borrowed from the
    running environment, one link each. A requirement that is not declared is not there; nor is
    any distribution of the running environment that is not required.

    Args:
        folder: Where to make it.
        sources: The source folders. A build may leave files in them; hatchling's leaves none.
        extras: The extras to install of each, where it has them.
    """

    def __init__(self, folder: Path, sources: Sequence[Path], extras: Iterable[str] = ()) -> None:
        self._folder = folder / "environment"
        _run(sys.executable, "-m", "venv", "--without-pip", self._folder)
        self.python = self._folder / "bin" / "python"
        (self.site,) = self._folder.glob("lib/python*/site-packages")
        self._pip("install", "--no-deps", "--no-index", *_wheels(folder, sources))
        self._borrow(folder / "borrowed", frozenset(extras))
        self._pip("check")

    def run(self, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python, apart from the user's settings and from ``cwd``."""
        return subprocess.run(
            [self.python, "-I", *arguments],
            cwd=cwd,
            env={name: value for name, value in os.environ.items() if name[:6] != "PYTHON"},
            capture_output=True,
            text=True,
            check=False,
        )

    def _pip(self, *arguments: str | Path) -> None:
        _run(sys.executable, "-m", "pip", "--python", self.python, *arguments)

    def _borrow(self, folder: Path, extras: frozenset[str]) -> None:
        installed = {held.name: held for held in distributions(path=[str(self.site)])}
        needed: dict[str, Distribution] = {}
        for held in installed.values():
            _add_requirements(held, extras, {*installed}, needed)
        folder.mkdir()
        for lent in needed.values():
            for name in {file.parts[0] for file in lent.files or ()} - {"..", "__pycache__"}:
                if not (folder / name).exists():
                    (folder / name).symlink_to(str(lent.locate_file(name)))
        (self.site / "borrowed.pth").write_text(f"{folder}\n")


def _wheels(folder: Path, sources: Iterable[Path]) -> list[Path]:
    isolation = ["--no-build-isolation"] if all(map(find_spec, _BUILD_BACKENDS)) else []
    wheels = folder / "wheels"
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", *isolation, "-w", wheels, *sources)
    return list(wheels.iterdir())


def _add_requirements(
    one: Distribution,
    extras: frozenset[str],
    there: set[str],
    needed: dict[str, Distribution],
) -> None:
    for requirement in map(Requirement, one.requires or ()):
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            continue
        if requirement.name not in there and requirement.name not in needed:
            needed[requirement.name] = distribution(requirement.name)
            wanted = frozenset(requirement.extras)
            _add_requirements(needed[requirement.name], wanted, there, needed)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
