"""Several writers given as one, as delve 0.1 has it: each is fed by itself all the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from delve.errors import WriterContractError
from delve.hookspecs import HOOKS


class CompositWriter:
    """Several writers as one: ``save_to`` takes it for a list of them.

    So each gets what it missed, whatever becomes of the others. The class has no hook of its own.

    Args:
        writers: The writers.
    """

    def __init__(self, writers: Sequence[object]) -> None:
        self.writers = list(writers)


def unpacked(items: Iterable[object]) -> Iterator[object]:
    """The items, with the writers of each composite in its place.

    Raises:
        WriterContractError: A composite has a hook, which nothing would call.
    """
    for item in items:
        if isinstance(item, CompositWriter):
            _check_composite(item)
            yield from unpacked(item.writers)
        else:
            yield item


def _check_composite(composite: CompositWriter) -> None:
    hooks = [hook for hook in HOOKS if hasattr(type(composite), hook)]
    if hooks:
        raise WriterContractError(
            f"writer {type(composite).__name__!r}: it is a CompositWriter with methods of its own "
            f"({', '.join(hooks)}), but each of its writers is fed by itself, and nothing calls "
            "them; put what they do into a further writer of the composite"
        )
