"""What ARCHITECTURE.md promises of the tree: short modules, imports one way, public names."""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "delve"
PAGE = ROOT / "ARCHITECTURE.md"
MODULES = sorted(path for path in CORE.rglob("*.py") if "__pycache__" not in path.parts)

# From the ground up: what stands on a floor imports from its own and from those below.
FLOORS = (
    {"base", "errors", "records", "hookspecs"},
    {"files"},
    {"numerics"},
    {"stats"},
    {"capture"},
    {"journal"},
    {"delivery"},
    {"tracker", "pca_layers", "writers", "tools"},
    {"old_paths", "testing"},
    {"__init__"},
    {"cli"},
    {"__main__"},
)
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Each module or package that a file imports, and the name that it takes from there."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def modules_of(path: Path) -> set[str]:
    """The core's own modules that a file imports."""
    found = set()
    for module, name in imports_of(path):
        full = f"{module}.{name}"
        found.add(full if full in NAMES else module)
    return {name for name in found if name == "delve" or name.startswith("delve.")} - {
        name_of(path)
    }


def part_of(name: str) -> str:
    """What of the top of the tree a module belongs to."""
    return name.split(".")[1] if "." in name else "__init__"


def test_the_top_of_the_tree_can_be_taken_in_at_a_glance():
    entries = [path.name for path in CORE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 20, sorted(entries)
    named = {Path(entry).stem for entry in entries} - {"py"}
    assert named == set(FLOOR_OF)


def test_modules_are_short():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 300} == {}
    assert statistics.median(lengths.values()) <= 130


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path):
    here = FLOOR_OF[part_of(name_of(path))]
    above = {name for name in modules_of(path) if FLOOR_OF[part_of(name)] > here}
    assert not above


def test_imports_make_no_circle():
    graph = {name_of(path): modules_of(path) & NAMES for path in MODULES}
    for name in graph:  # a package's __init__ names what is public, and is imported before it
        graph[name] -= {parent for parent in graph[name] if name.startswith(f"{parent}.")}
    graphlib.TopologicalSorter(graph).prepare()


def test_imports_for_types_alone_hide_no_circle():
    hiding = [
        f"{name_of(path)}: {module}"
        for path in MODULES
        if "TYPE_CHECKING" in path.read_text()
        for module in modules_of(path)
        if module in _imported_for_types(path)
        and FLOOR_OF[part_of(module)] > FLOOR_OF[part_of(name_of(path))]
    ]
    assert hiding == []


def _imported_for_types(path: Path) -> set[str]:
    return {
        inner.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom) and inner.module
    }


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_page_names_each_module(path):
    if path.stem != "__init__" and path.parent.name != "old_paths":
        assert re.search(rf"\b{path.stem}\b", PAGE.read_text()), f"{path} is not in {PAGE.name}"


def test_what_the_page_names_is_there():
    tree = PAGE.read_text().partition("```\n")[2].partition("```")[0]
    core = tree.partition("delve_plugins/")[0]
    known = {path.name for path in MODULES}
    assert set(re.findall(r"\w+\.py\b", core)) <= known


PLUGIN_FILES = sorted(
    path
    for folder in ("delve_plugins", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if "tests" not in path.parts and "build" not in path.parts
)


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_and_examples_take_what_is_public(path):
    for module, name in imports_of(path):
        if module == "delve" or module.startswith("delve."):
            assert name in public_names(module), f"{path.name}: from {module} import {name}"


def public_names(module: str) -> set[str]:
    """What others may take from a module: a package says so, other modules by their names."""
    package = importlib.import_module(module)
    inside = module.count(".") > 1  # delve.journal.lines
    if inside:
        return set()
    named = getattr(package, "__all__", None)
    names = set(named if named is not None else (n for n in dir(package) if n[0] != "_"))
    return names | ({""} if module == "delve" else set())
