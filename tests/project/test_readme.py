"""Every code block of README.md runs, and its commands do what is shown."""

import re
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from packaging.requirements import Requirement
from support.journals import write_run
from support.markdown import code_blocks
from torch import nn

import delve
from delve.cli import main
from delve.cli.tail import SOURCE

ROOT = Path(__file__).parents[2]
BLOCKS = code_blocks(ROOT / "README.md")
PAGES = [page for page in ROOT.rglob("*.md") if "/." not in f"/{page.relative_to(ROOT)}"]
SOURCES = [*ROOT.glob("delve/**/*.py"), *ROOT.glob("delve_plugins/*/src/**/*.py")]


def blocks(language):
    return [block for block in BLOCKS if block.language == language]


def run_python_blocks():
    """Run them in their order, in this folder; the tracker is the last one, and the model its own.

    A reader's process ends behind each block, which closes the tracker.
    """
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    names: dict[str, Any] = {
        "model": model,
        "epochs": 12,
        "train": lambda model: model.train()(torch.randn(30, 4)),
        "evaluate": lambda model: float(model.eval()(torch.randn(30, 4)).mean() > 0),
    }
    with ExitStack() as trackers:
        for block in blocks("python"):
            exec(compile(block.code, block.heading, "exec"), names)
            trackers.callback(names["tracker"].close)
        names["train"](model)
        names["tracker"].add_saturations()


def test_all_kinds_of_blocks_are_tested():
    assert {block.language for block in BLOCKS} == {"python", "sh", "text", "bibtex"}


@pytest.fixture
def there(tmp_path, monkeypatch):
    """The folder that a reader is in."""
    for plugin in ("csv", "mlflow", "npy"):
        pytest.importorskip(f"delve_{plugin}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def test_the_python_blocks_run_in_their_order_and_then_the_commands(there, capsys):
    pytest.importorskip("delve_plot")
    pytest.importorskip("delve_tensorboard")
    run_python_blocks()
    assert "has the highest saturation" in capsys.readouterr().out
    assert len((there / "runs/a/metrics.csv").read_text().splitlines()) == 13
    for command in commands("delve "):
        result = CliRunner().invoke(main, shlex.split(command, comments=True)[1:])
        assert (result.exit_code, result.stderr) == (0, ""), command
        assert result.stdout
    assert list((there / "plots").glob("*.png"))
    assert list((there / "runs/a/tensorboard").rglob("*.delve"))


def test_ci_calls_the_test_command_word_for_word():
    commands = [block.code.strip() for block in BLOCKS if block.heading == "Try it"]
    assert commands[0].endswith("tox run -e quickstart")
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def commands(first):
    text = "\n".join(block.code for block in blocks("sh"))
    return [line for line in text.splitlines() if line.startswith(first)]


def quickstart_rows():
    """What the quickstart recorded when its sample was taken, where it shows."""
    first = {"conv1": (9 / 32, 8 / 32), "conv2": (19 / 64, 13 / 64)}
    first |= {"linear1": (9 / 64, 9 / 64), "linear2": (0.9, 0.8)}
    last = {"conv1": (8 / 32, 8 / 32), "conv2": (16 / 64, 15 / 64)}
    last |= {"linear1": (10 / 64, 10 / 64), "linear2": (0.8, 0.8)}
    accuracies = [0.9139, 0.9444, 0.9639, 0.9583, 0.9528, 0.9861, 0.9778, 0.9778]
    for epoch, accuracy in enumerate(accuracies):
        row = {"loss": 0.01737 * (8 - epoch), "accuracy": accuracy}
        for layer, values in (last if epoch == 7 else first).items():
            for mode, value in zip(("train", "eval"), values, strict=True):
                row[f"{mode}-saturation/{layer}"] = value
        yield row


def test_the_sample_is_what_the_command_prints(tmp_path, monkeypatch):
    config = {"optimizer": "Adam", "lr": 0.002, "batch_size": 32}
    run = write_run(tmp_path / "quickstart", list(quickstart_rows()), config=config)
    monkeypatch.setenv("COLUMNS", "78")
    shown = CliRunner().invoke(main, ["show", str(run)]).stdout
    (sample,) = blocks("text")
    begun = re.compile(r"begun .*")
    assert begun.sub("", sample.code) == begun.sub("", shown)


def test_the_papers_are_those_that_the_hint_names():
    (block,) = blocks("bibtex")
    assert re.findall(r"arXiv (\d{4}\.\d{5})", block.code) == re.findall(r"\d{4}\.\d{5}", SOURCE)
    for entry in block.code.strip().split("\n\n"):
        fields = re.findall(r"^  (\w+) +=", entry, re.MULTILINE)
        assert fields == ["title", "author", "booktitle", "year", "note"]
        assert entry.count("{") == entry.count("}")


# What is installed


def installed_by(command):
    """What a command of pip's is told to install."""
    words = iter(shlex.split(command.partition("pip install ")[2], comments=True))
    wanted = []
    for word in words:
        if word in ("-c", "--extra-index-url"):
            next(words)
        elif not word.startswith("-"):
            wanted.append(word)
    return wanted


def shown_commands(page):
    return re.findall(r"pip install [^`\n]+?(?= && |[`\n])", page.read_text(encoding="utf-8"))


def is_ours(word):
    """Whether it is Delve itself, and not a plugin."""
    return word in (".", "../delve") or bool(re.fullmatch(r"git\+(DELVE_)?URL", word))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_delve_and_its_plugins_are_installed_together_and_never_from_the_index(page):
    for command in shown_commands(page):
        wanted = installed_by(command)
        if wanted != ["tox"]:
            assert is_ours(wanted[0]), command
            assert all(word.startswith((".", "git+")) for word in wanted), command


def test_there_are_commands_on_all_pages_of_plugins():
    for page in ROOT.glob("delve_plugins/*/README.md"):
        name = page.parent.name
        is_writer = "delve.writers" in page.with_name("pyproject.toml").read_text()
        wanted = [name] if is_writer else ["delve-csv", name]  # where a trainer has no loggers
        checkout, repository, *_ = map(installed_by, shown_commands(page))
        assert checkout == [".", *(f"./delve_plugins/{one}" for one in wanted)]
        assert repository == [
            "git+URL",
            *(f"git+URL#subdirectory=delve_plugins/{one}" for one in wanted),
        ]


def test_what_is_installed_is_there():
    found = [word for page in PAGES for one in shown_commands(page) for word in installed_by(one)]
    folders = [re.sub(r"^git\+URL#subdirectory=|\[.*", "", word) for word in found]
    ours = {folder for folder in folders if "delve_plugins" in folder}
    plugins = {
        str(path.parent.relative_to(ROOT)) for path in ROOT.glob("delve_plugins/*/README.md")
    }
    assert {folder.removeprefix("./") for folder in ours} == plugins - {"delve_plugins"}
    for folder in {".", *ours}:
        assert (ROOT / folder / "pyproject.toml").exists(), folder


def messages():
    """The commands in the messages of the code, with the file."""
    for source in SOURCES:
        text = re.sub(r'"\s*\n\s*f?"', "", source.read_text(encoding="utf-8"))
        for command in re.findall(r"pip install (\S+)", text):
            yield source.name, command.strip("\"'")


def test_messages_install_a_plugin_from_the_checkout_or_the_repository():
    """The plugin alone: whoever reads the message has a Delve that the plugin is content with."""
    found = list(messages())
    assert {name for name, _ in found} >= {"our_plugins.py", "health.py"}
    theirs = ("lightning",)  # what a trainer's users have from the index
    ours = [one for one in found if one[1] not in theirs]
    assert [one for one in ours if not one[1].startswith(("./", "git+URL#subdirectory="))] == []
    for project in ROOT.glob("delve_plugins/*/pyproject.toml"):
        (needed,) = re.findall(r'"(delve[^"-]*)"', project.read_text(encoding="utf-8"))[:1]
        assert Requirement(needed).specifier.contains(delve.__version__)
