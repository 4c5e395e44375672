"""Every code block of README.md runs, and its commands exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.markdown import code_blocks
from torch import nn

ROOT = Path(__file__).parents[1]
BLOCKS = code_blocks(ROOT / "README.md")


def test_the_python_blocks_run_in_their_order(tmp_path, monkeypatch, capsys):
    pytest.importorskip("delve_csv")
    pytest.importorskip("delve_mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    names = {
        "model": model,
        "epochs": 12,
        "train": lambda model: model.train()(torch.randn(30, 4)),
        "evaluate": lambda model: float(model.eval()(torch.randn(30, 4)).mean() > 0),
    }
    for block in BLOCKS:
        if block.language == "python":
            exec(compile(block.code, block.heading, "exec"), names)
    names["train"](model)
    names["tracker"].add_saturations()
    names["tracker"].close()
    assert "has the highest saturation" in capsys.readouterr().out
    assert len((tmp_path / "runs/a/metrics.csv").read_text().splitlines()) == 13


def test_ci_calls_the_test_command_word_for_word():
    commands = [block.code.strip() for block in BLOCKS if block.heading == "Try it"]
    assert commands[0].endswith("tox run -e quickstart")
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def commands(first):
    text = "\n".join(block.code for block in BLOCKS if block.language == "sh")
    return [line for line in text.splitlines() if line.startswith(first)]


@pytest.mark.parametrize("command", commands("delve "))
def test_the_commands_have_the_options_that_are_shown(command):
    words = shlex.split(command, comments=True)
    call = [sys.executable, "-m", *words[:2], "--help"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for option in (word for word in words if word.startswith("--")):
        assert option in done.stdout


def test_what_is_installed_is_there_and_nothing_comes_from_the_index_by_name():
    for command in commands("pip "):
        for word in shlex.split(command)[2:]:
            if word.startswith("."):
                assert (ROOT / word / "pyproject.toml").exists(), word
            else:
                assert "git+URL" in word
                folder = re.search(r"#subdirectory=(.+)", word)
                assert folder is None or (ROOT / folder[1] / "pyproject.toml").exists()


def test_every_link_leads_somewhere():
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", text):
        assert (ROOT / target).exists(), target
