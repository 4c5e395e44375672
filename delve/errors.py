"""Every exception that Delve raises. A message says what happened, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable

from delve.base.printable import printable


class DelveError(Exception):
    """The base of all exceptions of Delve. Whatever a message names, no terminal obeys it."""

    def __str__(self) -> str:
        return printable(super().__str__(), keep="\n")


class ArgumentError(DelveError, ValueError):
    """An argument of a public call cannot be used. Raised before any file is touched."""


class JournalError(DelveError):
    """The run's journal cannot be read or started."""


class NoHeaderError(JournalError):
    """The run's journal has lost the line that says which run it is of."""


class RunFolderInUseError(DelveError):
    """Another tracker, here or in another process, records into the same folder."""


class WriterNotFoundError(DelveError, ValueError):
    """No installed distribution offers a writer of that name."""


class WriterConflictError(DelveError):
    """Two distributions offer a writer of the same name."""


class WriterLoadError(DelveError):
    """A distribution offers the writer, but its code cannot be imported; the cause is chained."""


class WriterContractError(DelveError):
    """A writer's class does not fit :class:`delve.hookspecs.WriterSpec`."""


class WriterConfigurationError(DelveError):
    """A writer cannot work as it is set up.

    A writer raises it from ``start`` or ``resume_from_saved_state`` where only the user can mend
    the fault. It ends the construction of the tracker; any other exception there is taken for a
    passing fault of the backend, and the writer is tried again later.
    """


class BackendLostError(DelveError):
    """What a writer writes through is gone for good, such as a helper process that has died.

    A writer raises it from ``add_scalar`` to ``save`` to be resumed, by
    ``resume_from_saved_state``, before it is fed again; after any other exception it is fed again
    as it stands.

    Args:
        message: What is gone.
        first: The first epoch that is not in the backend, where that is one which was given before
            the last: a writer may put epochs together that come again all at once.
    """

    def __init__(self, message: str, first: int | None = None) -> None:
        self.first = first
        super().__init__(message)


class UndeliveredError(DelveError):
    """Epochs before the last one are not in the backend either, and have to be given again.

    A writer raises it that puts epochs together which come again all at once, as
    :meth:`~delve.records.RunInfo.comes_again` tells.

    Args:
        message: Why.
        first: The first such epoch.
    """

    def __init__(self, message: str, first: int) -> None:
        self.first = first
        super().__init__(message)


class RejectedError(DelveError):
    """A backend refuses items for good, whatever is done later, while it takes the others.

    A writer raises it from ``add_scalar`` to ``save``: for a name that its backend does not take, a
    value out of its range, an answer that says so. The items are named once and left out from then
    on. Unless ``rest_arrived`` says otherwise, the epoch is fed again without them, at once.

    Args:
        items: The names of what is refused, as the writer was given them; one may stand alone.
        reason: Why, in the backend's words.
        rest_arrived: Whether the epoch is complete but for these items.
    """

    def __init__(self, items: str | Iterable[str], reason: str, rest_arrived: bool = False) -> None:
        self.items = (items,) if isinstance(items, str) else tuple(items)
        self.reason = reason
        self.rest_arrived = rest_arrived
        super().__init__(f"{', '.join(self.items)}: {reason}")


class WriterFailedError(DelveError):
    """A writer failed while ``on_writer_error="raise"``; the cause is chained."""
