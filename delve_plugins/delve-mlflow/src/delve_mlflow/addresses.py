"""The tracking URI may hold a user and a password, which belong in no journal and no log."""

from __future__ import annotations

import re
from typing import Any

from delve.errors import WriterConfigurationError

# Where no port follows a colon, it stands between user and password.
_WEB = re.compile(r"https?://(?P<login>[^/]+@|[^/:\[]*:(?!\d*(?:/|$)).*@)")
# Here a password may hold all but an @; one that does hold it is hidden, not believed.
_DATABASE = re.compile(r"[^:/]+://(?P<login>[^/@][^@]*@(?:[^?]*@)?)?[^?]*(?P<query>\?.+)?")


def check(uri: str) -> None:
    """Refuse a web address whose password would be taken for a part of the host, and so be shown.

    Raises:
        WriterConfigurationError: The password holds what ends it in an address.
    """
    web = _WEB.match(uri)
    if web and re.search(r"[/?#]", web["login"]):
        raise WriterConfigurationError(
            "writer 'mlflow': user or password in the tracking URI for "
            f"{without_credentials(uri, uri)} hold a character that ends them there; write / as "
            "%2F, ? as %3F and # as %23"
        )


def without_credentials(text: str, uri: str) -> str:
    """A text, such as the URI itself, without the user and the password that the URI holds."""
    for part in _credentials(uri):
        text = text.replace(part, "")
    return text


def hide_credentials(error: BaseException, uri: str) -> None:
    """Take the URI's user and password out of an exception and those that it came from.

    They are changed, not replaced: type, error code and traceback stay.
    """
    each: BaseException | None = error
    while each is not None:
        each.args = tuple(_hidden(argument, uri) for argument in each.args)
        vars(each).update({name: _hidden(value, uri) for name, value in vars(each).items()})
        each = each.__cause__ or each.__context__


def _hidden(value: Any, uri: str) -> Any:
    return without_credentials(value, uri) if isinstance(value, str) else value


def _credentials(uri: str) -> list[str]:
    """The parts of the URI that hold them; a part of a password may come up alone."""
    if uri.startswith("http"):
        web = _WEB.match(uri)
        return [web["login"]] if web else []
    database = _DATABASE.match(uri)
    if database is None:
        return []
    login, query = database["login"] or "", database["query"] or ""
    return [part for part in (login, *re.findall("[^@]+@", login), query) if part]
