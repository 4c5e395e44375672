"""The command answers in a blink: what help and completion import, and what they cost."""

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys

import pytest
from click.testing import CliRunner
from support.journals import saturations, write_run

from delve.cli import main

HEAVY = ("torch", "numpy", "pandas", "rich", "tqdm", "asyncio", "matplotlib", "mlflow", "wandb")
PROGRAM = """
import json, sys
from delve.cli import main
try:
    main({arguments!r}, prog_name="delve")
finally:
    print(json.dumps([name for name in {heavy!r} if name in sys.modules]), file=sys.stderr)
"""


def imported(*arguments, **variables):
    """What of the heavy libraries a call of the command imports."""
    program = PROGRAM.format(arguments=list(map(str, arguments)), heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
    )
    assert done.stdout, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


def completed(line):
    words = len(line.split()) - (not line.endswith(" "))
    return {"_DELVE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(words)}


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["export", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    assert imported(*arguments) == []


@pytest.mark.parametrize("line", ["delve ", "delve sh", "delve show ru", "delve export a --to pr"])
def test_completion_imports_nothing_heavy(line):
    assert imported(**completed(line)) == []


@pytest.mark.parametrize("command", ["show", "export"])
def test_looking_at_a_run_imports_no_pytorch(tmp_path, command):
    run = write_run(tmp_path / "run", [{"loss": 0.25, **saturations({"fc": 0.5})}])
    options = {"show": ["--stat", "lsat"], "export": ["--to", "print"]}
    assert "torch" not in imported(command, run, *options[command])


def test_completing_the_statistics_of_a_run_imports_no_pytorch(tmp_path):
    run = write_run(tmp_path / "run", [saturations({"fc": 0.5})])
    assert "torch" not in imported(**completed(f"delve show {run} --stat "))


def test_help_costs_no_more_than_its_libraries(monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)

    def cost(program):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    helped = "from delve.cli import main; main(['--help'])"
    cost(helped)  # fills the caches of bytecode and files
    ratios = [cost(helped) / cost("import click, numpy") for _ in range(5)]
    assert statistics.median(ratios) < 1.3, ratios


def test_what_is_listed_of_a_plugin_without_importing_it_is_what_it_says_of_itself():
    if importlib.util.find_spec("delve_plot") is None:
        pytest.skip("delve-plot is not installed")
    from delve_plot.command import plot

    said = plot.get_short_help_str(60)
    listed = CliRunner().invoke(main, ["--help"]).output.split("\n  plot ")[1].splitlines()[0]
    assert listed.strip() == said
