"""Which writers are installed, and whether they can work."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

from delve.base import entry_points as plugins
from delve.base.our_plugins import OUR_PLUGINS
from delve.base.printable import one_line
from delve.cli.runs import read_recorded
from delve.cli.terminal import listing, say, say_parts
from delve.delivery.discovery import GROUP, load_writer_class, make_writers
from delve.errors import DelveError
from delve.journal.pages import run_pages


@dataclass(frozen=True)
class WriterHealth:
    """What can be told of a writer without using its backend.

    Attributes:
        name: Its name in ``save_to``.
        distribution: What it was installed with.
        version: That distribution's version.
        problem: Why it cannot work, None where nothing speaks against it.
        needs: The arguments without which it cannot be made.
    """

    name: str
    distribution: str
    version: str
    problem: str | None = None
    needs: tuple[str, ...] = ()


def tell() -> bool:
    """List all writers; whether all can work."""
    found = installed()
    rows = []
    for writer in found:
        state = f"needs writer_args: {', '.join(writer.needs)}" if writer.needs else "healthy"
        state = one_line(writer.problem) if writer.problem else state
        rows.append((writer.name, writer.distribution, writer.version, state))
    say_parts(listing(("NAME", "DISTRIBUTION", "VERSION", "STATE"), rows))
    for name, plugin in not_installed().items():
        say(f"{name}: not installed; pip install ./delve_plugins/{plugin} in a checkout")
    return not any(writer.problem for writer in found)


def tell_pages(run: Path) -> None:
    """Say where a run is shown, by the writers that remembered it.

    Raises:
        DelveError: It is no run.
    """
    pages = run_pages(read_recorded(run).folder)
    for writer, page in pages.items():
        say(f"{writer}: {page}")
    if not pages:
        say(f"no writer has told where {run} is shown; delve show {run} shows it here")


def installed() -> list[WriterHealth]:
    """All installed writers by name. Their modules are imported."""
    return [_examine(name, found) for name, found in sorted(plugins.offers(GROUP).items())]


def not_installed() -> dict[str, str]:
    """The names of our writers that are not installed, with their plugins."""
    there = plugins.offers(GROUP)
    return {name: plugin for name, plugin in OUR_PLUGINS.items() if name not in there}


def _examine(name: str, found: list[EntryPoint]) -> WriterHealth:
    owners = {plugins.distribution(entry_point): entry_point for entry_point in found}
    versions = [e.dist.version if e.dist else "unknown" for e in owners.values()]
    problem: str | None = None
    needs: tuple[str, ...] = ()
    try:
        needs = _needed_arguments(load_writer_class(name))
        if not needs:
            make_writers(name, Path())
    except DelveError as error:
        problem = str(error)
    except Exception as error:  # of the writer's own constructor
        problem = f"it cannot be made ({type(error).__name__}: {error})"
    return WriterHealth(name, ", ".join(owners), ", ".join(versions), problem, needs)


def _needed_arguments(writer_class: type) -> tuple[str, ...]:
    parameters = inspect.signature(writer_class).parameters.values()
    return tuple(
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        and p.name != "savepath"
    )
