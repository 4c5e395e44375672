"""Plugins' tests stand on what a writer's author elsewhere has too: ``delve.testing``."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("delve_plugins/*/pyproject.toml"))
WRITERS = [path for path in PLUGINS if "delve.writers" in (path / "pyproject.toml").read_text()]
TRAINERS = [path for path in PLUGINS if path not in WRITERS]


def imported_modules(source, code):
    """The modules that a program imports, those of the programs in its strings among them."""
    for node in ast.walk(ast.parse(code, source)):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module):
                yield module
            case ast.Constant(value=str(text)) if "import " in text:
                words = text.replace(";", "\n").split("\n")
                lines = [line.split() for line in words if line.strip()]
                yield from (line[1] for line in lines if line[0] in ("import", "from") and line[1:])


def test_imports_are_found_in_programs_too():
    code = (
        "from support.models import a\nimport support\nx = 'import os; from support.b import c'\n"
        "def f():\n    from support import late\n"
    )
    found = list(imported_modules("a.py", code))
    assert sorted(found) == ["os", "support", "support", "support.b", "support.models"]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_plugins_tests_need_nothing_of_the_cores(plugin):
    sources = list(plugin.glob("tests/**/*.py"))
    assert sources
    assert plugin in TRAINERS or any(source.name == "test_contract.py" for source in sources)
    for source in sources:
        found = set(imported_modules(source, source.read_text(encoding="utf-8")))
        assert {module for module in found if module.partition(".")[0] == "support"} == set()
        assert "parents[3]" not in source.read_text(encoding="utf-8"), source


def environments():
    """The sections of tox.ini by their names."""
    text = (ROOT / "tox.ini").read_text(encoding="utf-8")
    return dict(re.findall(r"^\[(testenv.*?)\]\n(.*?)(?=^\[|\Z)", text, re.M | re.S))


@pytest.mark.parametrize("plugin", TRAINERS, ids=lambda plugin: plugin.name)
def test_what_is_for_a_trainer_is_installed_and_tested_beside_it(plugin):
    folder = f"delve_plugins/{plugin.name}"
    beside = environments()["testenv:frameworks"]
    assert f"./{folder}" in beside
    assert f" {folder}/tests" in beside
    assert f"mypy --config-file tests/mypy.ini {folder}/tests" in environments()["testenv:types"]


@pytest.mark.parametrize("plugin", WRITERS, ids=lambda plugin: plugin.name)
def test_a_writer_is_in_every_environment(plugin):
    """Installed for the tests, type-checked, and tried at the lowest versions that it allows."""
    folder = f"delve_plugins/{plugin.name}"
    known = environments()
    assert f"./{folder}" in known["testenv"]
    assert f"mypy --config-file tests/mypy.ini {folder}/tests" in known["testenv:types"]
    assert f"./{folder}" in known["testenv:lowest"]
    assert f"{folder}/tests/test_contract.py" in known["testenv:lowest"]
