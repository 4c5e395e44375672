"""What is registered, as it is: `{statistics}` and `{parameters}` come from the code."""

from __future__ import annotations

import inspect
import math
import re
import sys
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import delve
from delve.stats import built_in
from delve.stats.registry import SETS
from delve.stats.stat import Stat

_WHOLE = [[nodes.table], [nodes.definition_list]]


def setup(app: Sphinx) -> dict[str, Any]:
    """Have Sphinx know the directives."""
    app.add_directive("statistics", Statistics)
    app.add_directive("parameters", Parameters)
    return {"parallel_read_safe": True}


class _Registered(SphinxDirective):
    has_content = False

    def lines(self) -> list[str]:
        """What stands in its place, in reStructuredText."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """These lines as a page in Markdown takes them, which is read again where they change."""
        for part in (sys.modules[__name__], delve.SaturationTracker, Stat, built_in):
            self.env.note_dependency(inspect.getfile(part))
        node = nodes.section()
        node.document = self.state.document
        lines = ["````{eval-rst}", *self.lines(), "````"]
        self.state.nested_parse(StringList(lines, source="registered"), 0, node)
        if [type(child) for child in node.children] not in _WHOLE:
            raise self.error(f"{self.name} is read as something else")
        return node.children


class Statistics(_Registered):
    """Each statistic of Delve's own: a table."""

    def lines(self) -> list[str]:
        """A row for each long name."""
        found = [["key", "long name", "range", "what it is", "source", "in"]]
        for stat in built_in.BUILT_IN:
            sets = ", ".join(name for name, keys in SETS.items() if stat.key in keys)
            found.append(
                [f"``{stat.key}``", stat.name, _range(stat), stat.summary, stat.source, sets]
            )
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in found:
            for number, cell in enumerate(row):
                lines.append(f"   {'  ' if number else '* '}- {cell}")
        return lines


class Parameters(_Registered):
    """The parameters of the tracker, with what each is by default: a list, for narrow screens."""

    def lines(self) -> list[str]:
        """A term for each parameter, from the signature and the docstring."""
        told = _described(inspect.getdoc(delve.SaturationTracker) or "")
        lines = []
        for name, parameter in inspect.signature(delve.SaturationTracker).parameters.items():
            default = parameter.default
            shown = "" if default is inspect.Parameter.empty else f" = {default!r}"
            lines += [f"``{name}{shown}``", f"   {told[name]}", ""]
        return lines


def _described(text: str) -> dict[str, str]:
    """The parameters in the "Args" of a docstring."""
    part = text.partition("Args:\n")[2].partition("\n\nRaises:")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", part, re.M)
    # There a method is called by its name alone, which the page has to find.
    return {
        name: re.sub(
            r":meth:`(\w+)`", r":meth:`~delve.SaturationTracker.\1`", " ".join(words.split())
        )
        for name, words in found
    }


def _range(stat: Stat) -> str:
    low, high = stat.limits
    if stat.is_array:
        return "array"
    if stat.is_bounded_by_features and math.isinf(high):
        return f"{low:g} to features"
    if math.isinf(low):
        return "any"
    return f"{low:g} to {high:g}" if math.isfinite(high) else f"from {low:g}"
