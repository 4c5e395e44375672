"""Every link of every page leads somewhere, to the heading that it names."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = {"node_modules", "build", "runs", "findings"}


def pages(root):
    for path in sorted(root.rglob("*.md")):
        parts = path.relative_to(root).parts
        if not any(part.startswith(".") or part in LEFT_OUT for part in parts):
            yield path


PAGES = list(pages(ROOT))


def prose(page):
    """A page without its code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def links(page):
    """The targets of links and images, by whichever syntax."""
    text = prose(page)
    yield from re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text)
    yield from re.findall(r"^\[[^\]]+\]: +(\S+)", text, re.M)
    yield from re.findall(r"(?:src|href)=\"([^\"]+)\"", text)


def anchors(page):
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = set(re.findall(r"<a (?:name|id)=\"([^\"]+)\"", text))
    for heading in re.findall(r"^#+ +(.+?) *#*$", text, re.M):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = next(n for n in range(99) if (f"{slug}-{n}" if n else slug) not in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def broken(page):
    """The links of a page that lead nowhere, with the reason."""
    for link in links(page):
        url = urlsplit(link)
        if url.scheme:
            if url.scheme not in ("http", "https") or "." not in url.netloc:
                yield link, "no address"
            continue
        target = (page.parent / unquote(url.path)).resolve() if url.path else page
        if not target.exists():
            yield link, "no such file"
        elif url.fragment and (target.suffix != ".md" or url.fragment not in anchors(target)):
            yield link, "no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_its_heading(page):
    assert list(broken(page)) == []


def test_all_pages_are_there():
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    plugins = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("delve_plugins/*/src")}
    assert names >= {"README.md", "CHANGELOG.md", "delve_plugins/README.md"}
    assert names >= {f"{plugin}/README.md" for plugin in plugins}
    assert sum(bool(list(links(page))) for page in PAGES) > 5


def test_a_broken_link_is_seen(tmp_path):
    (tmp_path / "other.md").write_text("# One `two`: three!\n## Twice\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](#here) [b](other.md#one-two-three) [c](other.md#twice-1) [d](other.md)\n"
        "[e](#there) [f](gone.md) [g](other.md#twice-2) [h](https://) ![i](no.png)\n[j]: lost.md\n"
        '<img src="none.png"> `[k](code.md)`\n```\n[l](code.md)\n```\n[m](https://pytorch.org/docs)\n'
    )
    assert [link for link, _ in broken(page)] == [
        "#there", "gone.md", "other.md#twice-2", "https://", "no.png", "lost.md", "none.png",
    ]  # fmt: skip
