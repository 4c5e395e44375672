"""The code blocks of a page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HEADING = re.compile(r"#+ (?P<text>.+)")
_FENCE = re.compile(r"```(?P<language>\w+)( file=(?P<file>\S+))?")


@dataclass(frozen=True)
class CodeBlock:
    """One fenced block.

    Attributes:
        heading: The last heading before it.
        language: ``python``, ``sh``, ...
        file: The file that it is the content of, if the fence says so (``file=name``).
        code: Its lines.
    """

    heading: str
    language: str
    file: str | None
    code: str


def code_blocks(page: Path) -> list[CodeBlock]:
    """All fenced blocks, in their order."""
    blocks: list[CodeBlock] = []
    heading = ""
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if match := _HEADING.fullmatch(line):
            heading = match["text"]
        elif match := _FENCE.fullmatch(line):
            code = "".join(f"{inner}\n" for inner in iter(lambda: next(lines), "```"))
            blocks.append(CodeBlock(heading, match["language"], match["file"], code))
    return blocks


def write_files(page: Path, folder: Path) -> None:
    """Write the page's files, as a reader would who follows it."""
    for block in code_blocks(page):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
