"""Every exception that Delve raises. A message says what happened, where, and what to do."""

from __future__ import annotations


class DelveError(Exception):
    """The base of all exceptions of Delve."""


class ArgumentError(DelveError, ValueError):
    """An argument of a public call cannot be used. Raised before any file is touched."""


class JournalError(DelveError):
    """The run's journal cannot be read or started."""


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
    """


class WriterFailedError(DelveError):
    """A writer failed while ``on_writer_error="raise"``; the cause is chained."""
