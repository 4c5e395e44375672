"""Names that MLflow accepts: one bad key would make it refuse the whole batch."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from delve.files import ends_in_digest, with_digest
from delve.records import Metric

MAX_LENGTH = 250

# Windows takes no colon; leaving it out everywhere gives a metric one key on every system.
_REFUSED = re.compile(r"[^/\w.\- ]")


def clean_key(name: str) -> str:
    """A metric's or param's name as MLflow takes it.

    A name that has to be changed ends in a digest of the original, and one that ends like that has
    to be changed too, so that two names never meet in one key and a resumed run finds the same keys
    again.
    """
    # MLflow takes a key for a path, and refuses one that is not its shortest form.
    cleaned = posixpath.normpath(_REFUSED.sub("_", name).replace("..", "__").strip("./") or "_")
    if cleaned == name and len(name) <= MAX_LENGTH and not ends_in_digest(name):
        return name
    return with_digest(cleaned, name, MAX_LENGTH)


@dataclass(frozen=True)
class RunsKeys:
    """The keys of a run's metrics.

    Attributes:
        prefix: What each begins with.
        names: The names of the metrics that the journal holds.
    """

    prefix: str
    names: tuple[str, ...]

    @property
    def all(self) -> set[str]:
        """Those of all metrics."""
        return {clean_key(self.prefix + name) for name in self.names}

    @property
    def layers(self) -> set[str]:
        """Those of layers alone: in a run of the user's, scalars may be theirs."""
        return {clean_key(self.prefix + name) for name in self.names if Metric.parse(name)}

    def in_own(self, held: Iterable[str]) -> set[str]:
        """Those that a run of Delve's own holds, also where the journal holds them no more."""
        ours = (key for key in held if key.startswith(self.prefix))
        return {key for key in ours if Metric.parse(key.removeprefix(self.prefix))} | self.all
