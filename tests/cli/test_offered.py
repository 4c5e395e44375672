"""Commands that other distributions add to ``delve``."""

import sys

import pytest
from click.testing import CliRunner
from support.journals import write_run

from delve.cli import main

COMMAND = '''
import click
from delve.cli import read_recorded, run_argument, say

@click.command()
@run_argument
def layers(run):
    """Count the layers.

    Example:
      delve layers runs/a
    """
    say(f"{len(read_recorded(run).layers)} layers")

not_a_command = 3
'''


@pytest.fixture
def delve():
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Install a distribution that offers commands, by name."""

    def offer(distribution="delve-layers", **commands):
        site = tmp_path / distribution
        metadata = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.0\n")
        lines = ["[delve.commands]", *(f"{name} = {value}" for name, value in commands.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        (site / "delve_layers.py").write_text(COMMAND)
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, "delve_layers", raising=False)

    return offer


def test_anyone_can_add_a_command(delve, offer, tmp_path):
    offer(layers="delve_layers:layers")
    run = write_run(tmp_path / "run", [], layers=["a", "b"])
    assert delve("layers", run).stdout == "2 layers\n"
    assert "layers     Count the layers." in delve("--help").stdout
    assert "\n    delve layers runs/a\n" in delve("layers", "--help").stdout
    gone = delve("layers", tmp_path / "nowhere")  # its faults are told as those of all commands
    assert (gone.exit_code, gone.stderr.count("\n")) == (1, 1)


def test_no_plugin_replaces_a_command_of_delves(delve, offer, tmp_path):
    offer(show="delve_layers:layers")
    run = write_run(tmp_path / "run", [], layers=["a", "b"])
    assert delve("show", run).stdout.split()[0] == "run"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("delve_layers:nothing", "cannot be imported (AttributeError"),
        ("delve_nowhere:layers", "cannot be imported (ModuleNotFoundError"),
        ("delve_layers:not_a_command", "is no click command"),
    ],
)
def test_one_that_cannot_be_loaded_says_so_and_leaves_the_others(delve, offer, value, told):
    offer(layers=value)
    result = delve("layers", "run", "--option")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("Error: command 'layers': ")
    assert told in result.stderr
    assert "delve-layers" in result.stderr
    helped = delve("--help")
    assert helped.exit_code == 0
    assert "layers     Not available." in helped.stdout
    assert "Show runs at a glance." in helped.stdout
    assert told in " ".join(delve("layers", "--help").stdout.split())


def test_a_name_that_two_offer_is_refused(delve, offer):
    offer(layers="delve_layers:layers")
    offer("other-layers", layers="delve_layers:not_a_command")
    result = delve("layers", "run")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "delve-layers" in result.stderr
    assert "other-layers" in result.stderr


def test_plot_says_how_to_install_its_plugin_if_it_cannot_be_imported(delve, tmp_path, monkeypatch):
    for name in ("delve_plot", "delve_plot.command"):
        monkeypatch.setitem(sys.modules, name, None)
    run = write_run(tmp_path / "run", [{"loss": 1.0}])
    result = delve("plot", run, "--out", tmp_path, "--stat", "lsat")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "pip install ./delve_plugins/delve-plot" in result.stderr


def test_plot_says_how_to_install_its_plugin_if_it_is_not_there(delve, monkeypatch):
    monkeypatch.setattr("delve.base.entry_points.entry_points", lambda **_: [])
    result = delve("plot", "run")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Error: delve plot comes with the plot plugin, which is not installed. Install the plugin"
    )
    assert "pip install ./delve_plugins/delve-plot" in result.stderr
    assert "plot       Not available." in delve("--help").stdout
