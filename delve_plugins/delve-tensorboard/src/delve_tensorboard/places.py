"""Where the event files lie, and where a person looks at them."""

from __future__ import annotations

from pathlib import Path

from delve.errors import WriterConfigurationError
from delve.records import RunInfo

_PAGE = "http://localhost:6006"  # where TensorBoard listens by default


def remember_page(run: RunInfo) -> None:
    """Note what has to be started to look at the run, and what to open then."""
    command = ["tensorboard", "--logdir", str(run.savefile.resolve())]
    page = {"command": command, "url": _PAGE}
    if run.state.get("page") != page:
        run.remember(page=page)


def check_folder(path: Path) -> None:
    """See that a path is a folder, or can become one.

    Raises:
        WriterConfigurationError: It is something else.
    """
    if path.is_symlink():
        raise WriterConfigurationError(
            f"writer 'tensorboard': {path} is a link, and Delve changes no files behind links; "
            "replace it by a folder, or name another savefile"
        )
    if path.exists() and not path.is_dir():
        raise WriterConfigurationError(
            f"writer 'tensorboard': {path} is no folder, and Delve's event files go into one of "
            "that name; move it away, or name another savefile"
        )


def size_of(path: Path) -> int:
    """In bytes; 0 where there is nothing."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
