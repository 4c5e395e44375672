"""What a user may ask of the writer, beside where it records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from delve.errors import ArgumentError
from delve_mlflow.identity import is_prefix, readable
from delve_mlflow.keys import KeyStyle


@dataclass(frozen=True)
class Options:
    """How runs and keys are called, and what there is beside numbers.

    Attributes:
        run_name: What a run is called that Delve creates.
        tags: The user's tags for it.
        prefix: What each key begins with.
        key_style: How keys are made; None for as the run has them.
        figures: Whether there are figures.
    """

    run_name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    key_style: KeyStyle | None = None
    figures: bool = False


def checked_prefix(prefix: object) -> str:
    """The begin of keys.

    Raises:
        ArgumentError: MLflow does not take it as it is.
    """
    if not isinstance(prefix, str) or (prefix and not is_prefix(prefix)):
        raise ArgumentError(
            f"prefix must be the begin of a key for MLflow, such as 'fold0/', not {prefix!r}: "
            "letters, digits, _ - . / and spaces, 100 at most"
        )
    return prefix


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The user's tags, as they can be sent.

    Raises:
        ArgumentError: They are none, or MLflow or Delve has other uses for their names.
    """
    if not isinstance(tags, Mapping):
        raise ArgumentError(f"tags must be a dictionary of texts for MLflow, not {tags!r}")
    for key in tags:
        if not isinstance(key, str) or not 0 < len(key) <= 250:
            raise ArgumentError(
                f"tags: MLflow takes texts of 1 to 250 characters as keys, not {key!r}"
            )
        if key.startswith("delve."):
            raise ArgumentError(f"tags: {key!r} is one of Delve's own; give it another name")
    return {readable(key): readable(str(value)) for key, value in tags.items()}
