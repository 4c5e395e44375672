"""The reference of the site has every public name, and every parameter a word."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import delve

DOCS = Path(__file__).parents[2] / "docs"
MODULES = [
    "delve",
    *(
        f"delve.{path.stem}"
        for path in sorted(Path(delve.__file__).parent.glob("[a-z]*.py"))
        if not path.stem.startswith("_")
    ),
    *(
        f"delve.{path.parent.name}"
        for path in sorted(Path(delve.__file__).parent.glob("*/__init__.py"))
        if "__all__" in path.read_text(encoding="utf-8")
    ),
]
INTERNAL = {"delve.cli", "delve.delivery", "delve.base", "delve.numerics", "delve.old_paths"}


def directives():
    """The modules that pages of the reference document, with what they leave out."""
    for page in (DOCS / "reference").glob("*.rst"):
        text = page.read_text(encoding="utf-8")
        (module,) = re.findall(r"automodule:: (\S+)", text)
        left_out = re.findall(r":exclude-members: (.+)", text)
        yield module, page, set(left_out[0].split(", ")) if left_out else set()


@pytest.mark.parametrize("module", sorted(set(MODULES) - INTERNAL))
def test_every_public_name_stands_in_the_reference(module):
    pages = {name: (page, left_out) for name, page, left_out in directives()}
    assert module in pages, f"docs/reference lacks a page of {module}"
    _, left_out = pages[module]
    names = set(getattr(importlib.import_module(module), "__all__", ()))
    for name in left_out & names:  # documented on another page, to which this one points
        homes = [m for m in pages if m != module and hasattr(importlib.import_module(m), name)]
        assert homes, name


def test_each_page_of_the_reference_is_in_its_contents():
    listed = (DOCS / "reference/index.md").read_text(encoding="utf-8").split()
    assert {page.stem for page in (DOCS / "reference").glob("*.rst")} <= set(listed)


def test_every_parameter_of_the_tracker_is_described():
    text = inspect.getdoc(delve.SaturationTracker)
    part = text.partition("Args:\n")[2].partition("\n\nRaises:")[0]
    described = re.findall(r"^    (\w+): \S", part, re.M)
    assert set(described) == set(inspect.signature(delve.SaturationTracker).parameters)
