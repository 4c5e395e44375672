"""What installed distributions offer by entry points: found by name, never two of one name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from types import ModuleType
from typing import Any

from delve.errors import WriterConflictError, WriterLoadError


def offers(group: str) -> dict[str, list[EntryPoint]]:
    """All entry points of a group by name; nothing is imported."""
    found: dict[str, list[EntryPoint]] = {}
    for entry_point in entry_points(group=group):
        found.setdefault(entry_point.name, []).append(entry_point)
    return found


def find(group: str, name: str) -> EntryPoint | None:
    """The entry point of this name, or None.

    Raises:
        WriterConflictError: More than one distribution offers the name.
    """
    # A distribution can be found twice, on two entries of sys.path: that is no conflict.
    distinct = {(distribution(offer), offer.value): offer for offer in offers(group).get(name, [])}
    if len(distinct) > 1:
        claims = " and ".join(f"{owner} ({value})" for owner, value in sorted(distinct))
        raise WriterConflictError(
            f"more than one distribution offers {name!r} in {group}: {claims}; uninstall one of "
            "them"
        )
    return next(iter(distinct.values()), None)


def load(entry_point: EntryPoint, kind: str) -> Any:
    """Import what an entry point names.

    Args:
        entry_point: The entry point.
        kind: What it is, for the message: a writer, a statistic.

    Raises:
        WriterLoadError: It cannot be imported; the cause is chained.
    """
    try:
        return entry_point.load()
    except Exception as error:
        raise WriterLoadError(
            f"{kind} {entry_point.name!r}: {entry_point.value} of the distribution "
            f"{distribution(entry_point)} cannot be imported ({type(error).__name__}: {error}); "
            "reinstall or remove that distribution"
        ) from error


TRAINERS = "delve.trainers"
OUR_TRAINERS = frozenset({"accelerate", "keras", "lightning", "transformers"})


def part(package: str, name: str) -> ModuleType:
    """The module that a distribution adds to Delve for a trainer, imported when it is asked for.

    Args:
        package: Where it was looked for, for the message.
        name: Its name: ``accelerate``.

    Raises:
        AttributeError: There is none of this name.
        WriterLoadError: It cannot be imported; the cause is chained.
    """
    entry_point = None if name.startswith("_") else find(TRAINERS, name)
    if entry_point is not None:
        module: ModuleType = load(entry_point, "trainer")
        return module
    how = f"; install it: pip install ./delve_plugins/delve-{name}" if name in OUR_TRAINERS else ""
    raise AttributeError(f"module {package!r} has no attribute {name!r}{how}")


def distribution(entry_point: EntryPoint) -> str:
    """The name of the distribution that an entry point belongs to."""
    return entry_point.dist.name if entry_point.dist else "unknown"


def unmet_requirements(entry_point: EntryPoint) -> list[str]:
    """What the entry point's distribution requires and this environment does not have.

    Each in words: ``wandb>=0.28, but 0.20.1 is installed``. Requirements of extras do not count.
    """
    from packaging.requirements import Requirement  # only where a plugin is used

    unmet = []
    for line in (entry_point.dist.requires if entry_point.dist else None) or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = f"{requirement.name}{requirement.specifier}"
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            unmet.append(f"{wanted}, which is not installed")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            unmet.append(f"{wanted}, but {found} is installed")
    return unmet
