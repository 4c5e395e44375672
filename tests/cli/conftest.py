"""What tests of several commands share."""

import pytest
from click.testing import CliRunner

from delve.cli import main


@pytest.fixture
def delve(monkeypatch):
    """Call the command in this process."""

    def call(*arguments, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return call
