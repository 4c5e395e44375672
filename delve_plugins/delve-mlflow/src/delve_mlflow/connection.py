"""A way to MLflow: nothing waits for long on it, and what it raises shows no password."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from delve_mlflow import addresses
from delve_mlflow.patience import Patience

if TYPE_CHECKING:
    from delve_mlflow.client import Client

T = TypeVar("T")


class Connection:
    """Asks one server or store.

    Args:
        uri: The tracking URI.
        lane: Calls that are left behind bar the way for others of the same lane.

    Attributes:
        uri: The tracking URI.
        patience: How long may be waited.
        has_failed: Whether the last attempt did.
    """

    def __init__(self, uri: str, lane: str = "") -> None:
        self.uri = uri
        self.patience = Patience(uri, lane)
        self.has_failed = False

    @cached_property
    def client(self) -> Client:
        """MLflow's client.

        Raises:
            WriterConfigurationError: The address holds a password that would be shown.
        """
        from delve_mlflow.client import Client

        addresses.check(self.uri)
        return Client(self.uri, self.patience)

    @property
    def address(self) -> str:
        """The tracking URI, as it may be shown."""
        return addresses.without_credentials(self.uri, self.uri)

    def ask(self, call: Callable[[], T], seconds: float) -> T:
        """Call MLflow, so that it neither waits for long nor shows a password in what it raises."""
        try:
            with self.patience.attempt(seconds):
                answer = call()
        except Exception as error:
            self.has_failed = True
            addresses.hide_credentials(error, self.uri)
            raise
        self.has_failed = False
        return answer
