"""What commands print of their tables and texts, where nobody looks."""

from __future__ import annotations

from collections.abc import Sequence

from click.testing import CliRunner
from rich.console import RenderableType

from delve.cli.terminal import say_parts


def plain_lines(parts: Sequence[RenderableType], width: int) -> list[str]:
    """The lines of these parts at a width in characters."""
    with CliRunner().isolation(env={"COLUMNS": str(width)}) as (out, *_):
        say_parts(*parts)
    return out.getvalue().decode().splitlines()
