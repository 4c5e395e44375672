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


@pytest.fixture(autouse=True)
def _with_the_plugin_of_the_command(request: pytest.FixtureRequest) -> None:
    """`delve plot` is delve-plot's: where the core is tested alone, there is none."""
    told = getattr(request.node, "callspec", None)
    given = [value for value in told.params.values() if value] if told else []
    if "plot" in given or ["plot"] in [value[:1] for value in given if isinstance(value, list)]:
        pytest.importorskip("delve_plot")
