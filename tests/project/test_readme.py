"""Every code block of README.md runs, and its commands do what is shown."""

import functools
import inspect
import re
import shlex
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
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
README = ROOT / "README.md"
BLOCKS = code_blocks(README)
PAGES = [page for page in ROOT.rglob("*.md") if "/." not in f"/{page.relative_to(ROOT)}"]
SOURCES = [*ROOT.glob("delve/**/*.py"), *ROOT.glob("delve_plugins/*/src/**/*.py")]


def blocks(language):
    return [block for block in BLOCKS if block.language == language]


def run_python_blocks():
    """Run them in their order, then those of the page on resumes, in this folder.

    A reader's process ends behind each block, which closes the tracker.
    """
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    names: dict[str, Any] = {
        "model": model,
        "epochs": 12,
        "train": lambda model: model.train()(torch.randn(30, 4)),
        "evaluate": lambda model: float(model.eval()(torch.randn(30, 4)).mean() > 0),
    }
    first = blocks("python")
    for page in (first, code_blocks(ROOT / "docs/use/resume.md")):
        with ExitStack() as trackers:
            for block in page:
                exec(compile(block.code, block.heading, "exec"), names)
                trackers.callback(names["tracker"].close)
            if page is first:  # the last one is recorded by a writer of one's own
                names["train"](model)
                names["tracker"].add_saturations()


def test_all_kinds_of_blocks_are_tested():
    assert {block.language for block in BLOCKS} == {"python", "sh", "text"}


def table_below(heading):
    """The cells of the first table of a section, without its head."""
    text = README.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip(" |") for cell in row] for row in rows[2:]]


def test_each_parameter_of_the_tracker_has_a_row_with_its_default():
    rows = table_below("The tracker's parameters")
    told = [(row[0].strip("`"), row[1].strip("`")) for row in rows]
    parameters = inspect.signature(delve.SaturationTracker).parameters.values()
    assert told == [
        (one.name, "" if one.default is inspect.Parameter.empty else repr(one.default))
        for one in parameters
    ]
    assert all(0 < len(words) < 65 for _, _, words in rows)


def snippets():
    """What stands for each place to train in, by its name."""
    for place, code in table_below("In a notebook, a trainer, a compiled model"):
        lines = [line.strip("`") for line in code.split("<br>")]
        yield re.sub(r"[\[`\]]|\(.*", "", place), lines


def test_each_place_to_train_in_takes_three_lines():
    found = dict(snippets())
    assert list(found) == ["notebook", "Lightning", "Transformers", "torch.compile"]
    for lines in found.values():
        assert len(lines) == 3
        compile("\n".join(lines), "README.md", "exec")


@pytest.mark.parametrize("place", ["notebook", "torch.compile"])
def test_what_is_shown_of_a_notebook_and_a_compiled_model_runs(place, tmp_path, monkeypatch):
    pytest.importorskip("delve_csv")
    pytest.importorskip("IPython")
    monkeypatch.chdir(tmp_path)
    model = nn.Linear(4, 3)
    names: dict[str, Any] = {
        "SaturationTracker": delve.SaturationTracker,
        "model": model,
        "torch": SimpleNamespace(compile=functools.partial(torch.compile, backend="eager")),
        "train": lambda compiled: compiled(torch.randn(30, 4)),
    }
    exec("\n".join(dict(snippets())[place]), names)
    if place == "notebook":
        names["train"](model)
    tracker = names["tracker"]
    tracker.add_saturations()
    tracker.close()
    assert (tmp_path / "runs/n/metrics.csv").read_text().startswith("epoch,train-saturation/")
    assert len(delve.load("runs/n").epochs) == 1


@pytest.mark.parametrize("place", ["Lightning", "Transformers"])
def test_what_is_shown_of_a_trainer_is_what_its_page_shows(place):
    """Which trains with it in tests of its own."""
    first, second, third = dict(snippets())[place]
    page = ROOT / f"delve_plugins/delve-{place.lower()}/README.md"
    (shown, *_) = (block.code for block in code_blocks(page) if block.language == "python")
    assert {first, re.sub(r"max_epochs=10, ", "", second)} <= set(
        re.sub(r"max_epochs=\d+, ", "", shown).splitlines()
    )
    assert third.partition("(")[0] in shown


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
    features = {"conv1": 32, "conv2": 64, "linear1": 64, "linear2": 10}
    run = write_run(
        tmp_path / "quickstart", list(quickstart_rows()), config=config, features=features
    )
    monkeypatch.setenv("COLUMNS", "78")
    shown = CliRunner().invoke(main, ["show", str(run)]).stdout
    (sample,) = blocks("text")
    times = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")
    assert times.sub("", sample.code) == times.sub("", shown)
    assert len(times.findall(shown)) == 2


def test_the_papers_are_those_that_the_hint_names():
    (block,) = code_blocks(ROOT / "docs/project/about.md")
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
        if wanted not in (["tox"], ["scikit-learn"]):
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
