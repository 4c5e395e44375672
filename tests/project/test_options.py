"""Every option has words: of writers and trainers on their pages, of commands in their help."""

import ast
import inspect
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from delve.cli import main

PLUGINS = Path(__file__).parents[2] / "delve_plugins"
WORDS = 4  # of a sentence that says something


def offers(group):
    """The plugins of the checkout that offer something in an entry point group, with its name."""
    for project in sorted(PLUGINS.glob("*/pyproject.toml")):
        found = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["entry-points"]
        for name in found.get(group, ()):
            yield project.parent, name


WRITERS = list(offers("delve.writers"))
TRAINERS = [folder for folder, _ in offers("delve.trainers")]


def without_words(page, names):
    """Those of the names that no paragraph, item or row of a page describes.

    It has to hold the name in backticks, and some words beside its code.
    """
    text = re.sub(r"^```.*?^```", "", page, flags=re.M | re.S)
    told = set()
    for part in re.split(r"\n\n|\n(?=[|*-])", text):
        if len(re.findall(r"[^\W\d_]{2,}", re.sub(r"`[^`]*`", "", part))) >= WORDS:
            told |= {name for code in re.findall(r"`([^`]+)`", part) for name in _names(code)}
    return [name for name in names if name not in told]


def _names(code):
    """The options that a piece of code may stand for: `a`, `a=1`, `f(a)`, `{"a": 1}`."""
    return re.findall(r"(?<![\w.])\w+(?![\w.])", code)


def arguments(function):
    """The names of a function's arguments, from its source."""
    given = function.args
    return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def callables(folder):
    """What a trainer's user calls, as read from the checkout: its package may not be installed."""
    package = folder / "src" / folder.name.replace("-", "_")
    (public,) = re.findall(r"__all__ = (\[.*?\])", (package / "__init__.py").read_text(), re.S)
    for source in package.glob("*.py"):
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if getattr(node, "name", "") not in ast.literal_eval(public):
                continue
            if isinstance(node, ast.FunctionDef):
                yield node.name, arguments(node)
            elif isinstance(node, ast.ClassDef) and "Callback" in node.name:
                (init,) = (one for one in node.body if getattr(one, "name", "") == "__init__")
                yield node.name, arguments(init)[1:]


@pytest.mark.parametrize(("folder", "name"), WRITERS, ids=lambda one: getattr(one, "name", one))
def test_every_option_of_a_writer_is_on_its_page(folder, name):
    found = [point for point in entry_points(group="delve.writers") if point.name == name]
    if not found:
        pytest.skip(f"{folder.name} is not installed")
    options = list(inspect.signature(found[0].load()).parameters)
    assert options[0] == "savepath"
    assert without_words((folder / "README.md").read_text(encoding="utf-8"), options) == []


@pytest.mark.parametrize("folder", TRAINERS, ids=lambda folder: folder.name)
def test_every_argument_for_a_trainer_is_on_its_page(folder):
    found = list(callables(folder))
    assert any("save_to" in options for _, options in found)
    page = (folder / "README.md").read_text(encoding="utf-8")
    for name, options in found:
        assert without_words(page, options) == [], name


def test_an_option_without_words_is_seen():
    page = "`a` is told in words here.\n\n`b`\n\n| `c` |\n| `d=1` | what this one is for |\n"
    page += '- `{"e": 1}`, of which more is said\n\n```\nf = 1  # which is in code alone\n```\n'
    assert without_words(page, list("abcdef")) == ["b", "c", "f"]


def commands(command=main, words=("delve",)):
    """Each command, with the words that call it."""
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


def test_every_command_and_each_of_its_options_has_help():
    context = click.Context(main)
    for name in main.list_commands(context):  # those of plugins too
        command = main.get_command(context, name)
        assert command is not None
        for words, one in commands(command, ("delve", name)):
            assert (one.help or "").strip(), words
            for option in one.params:
                if isinstance(option, click.Option):
                    record = option.get_help_record(click.Context(one))
                    assert record is not None, (words, option.name)
                    told = re.sub(r"\[[^\]]*\]", "", record[1])  # [required], [default: 1]
                    assert len(told.split()) > 1, (words, option.name)
