"""Names that MLflow accepts: one bad key would make it refuse the whole batch."""

from __future__ import annotations

import posixpath
import re

from delve.files import ends_in_digest, with_digest

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
