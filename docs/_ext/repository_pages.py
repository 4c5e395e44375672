"""Pages of the repository on the site: each has one home, and its links work in both places.

A fence ``{page}`` with the path of a Markdown file takes that file in. Links in it, and in any page
of the site, that lead to a file of the repository lead to the page that shows it; where none does,
as for source code, its path stands there as text.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
_FENCE = re.compile(r"^```\{page\} (\S+)\n```$", re.M)
# A link or an image, whose text may hold code; or code, whose text may look like a link.
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\]\([^)]*\))*)\]\(([^)\s]+)\)|`[^`\n]*`")
_BLOCK = re.compile(r"(^```.*?^```)", re.M | re.S)
# Where sections of README.md are told in full.
_SECTIONS = {
    "install": "learn/install.md",
    "the-trackers-parameters": "use/tracker.md",
    "resume": "use/resume.md",
    "what-happens-when": "use/resume.md",
    "the-command": "use/command-line.md",
    "several-processes": "use/processes.md",
    "what-counts": "use/what-counts.md",
    "what-it-costs": "use/costs.md",
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Have Sphinx call this when it reads a page."""
    app.connect("source-read", _read)
    app.connect("build-finished", _list_pages)
    return {"parallel_read_safe": True}


def _read(_app: Sphinx, docname: str, source: list[str]) -> None:
    page = DOCS / f"{docname}.md"
    if not page.exists():
        return
    text = _with_links(source[0], page, docname)
    source[0] = _FENCE.sub(lambda found: _taken_in(ROOT / found[1], docname), text)


def _list_pages(app: Sphinx, error: Exception | None) -> None:
    """Write `llms.txt`: each page with its title, and where it lies as plain text."""
    if error is not None or app.builder.format != "html":
        return
    titles = {name: node.astext() for name, node in app.env.titles.items()}
    lines = [
        f"- [{titles[name]}](_sources/{app.env.doc2path(name, base=False)}.txt)"
        for name in sorted(titles)
    ]
    text = "\n".join(["# Delve", "", "Each page of this site as text.", "", *lines, ""])
    (Path(app.outdir) / "llms.txt").write_text(text, encoding="utf-8")


def _taken_in(file: Path, docname: str) -> str:
    return _with_links(file.read_text(encoding="utf-8"), file, docname)


def _with_links(text: str, file: Path, docname: str) -> str:
    """The text of a file, with the links that it needs on a page of the site."""
    parts = _BLOCK.split(text)  # code in between
    for number in range(0, len(parts), 2):
        parts[number] = _LINK.sub(lambda found: _link(found, file, docname), parts[number])
    return "".join(parts)


def _link(found: re.Match[str], file: Path, docname: str) -> str:
    mark, words, target = found.groups()
    if target is None:  # code
        return found[0]
    path, _, anchor = target.partition("#")
    if not path or "://" in target or target.startswith("mailto:"):
        return found[0]
    where = (file.parent / path).resolve()
    here = (DOCS / docname).parent
    if mark:
        return f"![{words}]({os.path.relpath(where, here)})"
    shown = _pages().get(where)
    if where == ROOT / "README.md":
        shown, anchor = DOCS / _SECTIONS.get(anchor, "index.md"), ""
    if shown is None:
        inside = words.strip("`")
        name = os.path.relpath(where, ROOT)
        return f"`{inside}`" if inside == name else f"{words} (`{name}`)"
    relative = os.path.relpath(shown, here)
    return f"[{words}]({relative}{'#' + anchor if anchor else ''})"


@cache
def _pages() -> dict[Path, Path]:
    """The page of the site that shows each file."""
    shown = {ROOT / "README.md": DOCS / "index.md"}
    gallery = ROOT / "examples/gallery"
    shown[gallery] = DOCS / "gallery/index.rst"
    for example in gallery.glob("plot_*.py"):
        shown[example] = DOCS / f"gallery/{example.stem}.rst"
    for page in DOCS.rglob("*.md"):
        if "build" in page.relative_to(DOCS).parts:
            continue
        shown[page.resolve()] = page
        for path in _FENCE.findall(page.read_text(encoding="utf-8")):
            shown[(ROOT / path).resolve()] = page
            if path.endswith("/README.md"):
                shown[(ROOT / path).parent.resolve()] = page
    return shown
