"""Every link of the built site leads somewhere, and nothing of the machine that built it is told.

A link leads to a file, and to the place in it that is named. What a page could tell of the machine
are its variables, some of them secret: the value of a default such as ``os.environ``.
"""

from __future__ import annotations

import os
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
_BESIDE = ("genindex", "py-modindex", "search")  # what no source stands behind


def setup(app: Sphinx) -> dict[str, Any]:
    """Have Sphinx call this when the site is there."""
    app.connect("build-finished", _look, priority=900)
    return {"parallel_read_safe": True}


def _look(app: Sphinx, error: Exception | None) -> None:
    """Warn of each fault; the build takes a warning for an error."""
    if error is not None or app.builder.format != "html":
        return
    root = Path(app.outdir)
    for name in sorted({*app.env.all_docs, *_BESIDE}):
        page = root / f"{name}.html"
        if page.exists():
            for link in broken(page):
                logger.warning("%s: nothing is at %r", page.relative_to(root), link)
            if os.environ["PATH"] in page.read_text(encoding="utf-8"):
                logger.warning("%s: variables of this machine are told", page.relative_to(root))
    _read.cache_clear()


def broken(page: Path) -> list[str]:
    """The links and images of a page that lead to no file, or to no place in it."""
    return [link for link in _read(page).links if not _leads_somewhere(page, link)]


def _leads_somewhere(page: Path, link: str) -> bool:
    url = urlsplit(link)
    if url.scheme or url.netloc:  # of others
        return True
    target = (page.parent / unquote(url.path)).resolve() if url.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.exists():
        return False
    if not url.fragment or target.suffix != ".html":
        return True
    return unquote(url.fragment) in _read(target).places


class _Page(HTMLParser):
    """What a page points to, and the places in it that can be pointed to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places = {"top"}  # of every page, says HTML

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says of links and places."""
        for key, value in attrs:
            if not value:
                continue
            if key in ("href", "src"):
                self.links.append(value)
            elif key == "id" or (key == "name" and tag == "a"):
                self.places.add(value)


@cache
def _read(page: Path) -> _Page:
    parser = _Page()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser
