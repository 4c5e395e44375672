"""Examples say what they do, and do nothing, when they are asked for help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if "__main__" in path.read_text())

# All in one process: each would import PyTorch anew.
ASK = """
import contextlib, io, json, runpy, sys

answers = {}
for path in sys.argv[1:]:
    sys.argv, said, status = [path, "--help"], io.StringIO(), None
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    except ModuleNotFoundError as error:
        status = str(error)
    answers[path] = status, said.getvalue()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty")
    paths = os.pathsep.join([str(EXAMPLES), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", ASK, *map(str, PROGRAMS)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_an_example_takes_help(path, answers):
    status, said = answers[str(path)]
    if isinstance(status, str):
        pytest.skip(status)
    assert status == 0
    assert said.startswith(f"usage: {path.name}")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_also_one_whose_packages_are_not_here_looks_at_its_arguments(path):
    assert ".parse_args()" in path.read_text(encoding="utf-8")
