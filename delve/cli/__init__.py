"""The ``delve`` command, and what it shows of recorded runs."""

from delve.cli.commands import main

__all__ = ["main"]
