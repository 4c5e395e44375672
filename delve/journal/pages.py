"""Where a person looks at a run in a backend, as its writer remembered it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delve.errors import JournalError
from delve.journal.contents import read_contents
from delve.journal.reading import JOURNAL_NAME, open_journal

# A folder may come from somebody else, whose words people would take for Delve's: nothing is called
# a page that is not on the web, and no command is told but those that open a viewer.
_LONGEST = 4000  # characters
_VIEWERS = (("mlflow", "ui"), ("tensorboard", "--logdir"), ("tensorboard", "--logdir_spec"))


@dataclass(frozen=True)
class Page:
    """Where a person looks at a run.

    Attributes:
        url: The address of the run's own page; empty where a backend has none.
        command: What has to be started before, word by word: MLflow's or TensorBoard's viewer;
            empty where nothing has.
    """

    url: str = ""
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        started = f"`{shlex.join(self.command)}`" if self.command else ""
        return ", then open ".join(filter(None, (started, self.url)))


def page_of(state: Mapping[str, Any]) -> Page | None:
    """What a writer remembered as ``page``; None where it did not, or in no form that is known."""
    page = state.get("page")
    if not isinstance(page, Mapping):
        return None
    url, command = page.get("url") or "", page.get("command") or []
    if not isinstance(command, list) or not all(isinstance(text, str) for text in (url, *command)):
        return None
    if not (url or command) or len(url) + sum(map(len, command)) > _LONGEST:
        return None
    if url and not url.startswith(("http://", "https://")):
        return None
    if command and tuple(command[:2]) not in _VIEWERS:
        return None
    return Page(url, tuple(command))


def run_pages(folder: Path) -> dict[str, Page]:
    """Where to look at the run in this folder, by the writers' names.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    try:
        with open_journal(folder / JOURNAL_NAME) as file:
            states = read_contents(file).states
    except OSError as error:
        raise JournalError(
            f"{folder} holds no journal that can be read, so it is no run of Delve; name a run's "
            "folder"
        ) from error
    pages = {writer: page_of(state) for writer, state in states.items()}
    return {writer: page for writer, page in pages.items() if page}
