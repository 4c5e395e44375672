import traceback

import pytest
from delve_mlflow.addresses import check, hide_credentials, without_credentials

from delve.errors import WriterConfigurationError

# A tracking URI, and what may be kept of it.
ADDRESSES = {
    "http://ann:secret@host:5000": "http://host:5000",
    "https://ann:se@cret@host/mlflow": "https://host/mlflow",
    "http://ann:sec ret@host": "http://host",
    "http://ann@host": "http://host",
    "http://ann:secret@[::1]:5000": "http://[::1]:5000",
    "http://ann:se/cret@host:5000/a": "http://host:5000/a",
    "http://ann:se?cret#@host": "http://host",
    "postgresql://ann:secret@host/db": "postgresql://host/db",
    "postgresql://ann:se/cret@host/db": "postgresql://host/db",
    "postgresql://ann:se@cret@host/db": "postgresql://host/db",
    "postgresql://ann:se?cret@host/db": "postgresql://host/db",
    "mysql+pymysql://ann:secret@host:3306/db?user=b@c": "mysql+pymysql://host:3306/db",
    "postgresql://host/db?user=ann&password=secret": "postgresql://host/db",
}
WITHOUT_CREDENTIALS = (
    "http://host:5000",
    "http://host/a@b",
    "http://host:5000/a@b",
    "http://[::1]:5000/a@b",
    "sqlite:///mlflow.db",
    "sqlite:////home/ann@work/mlflow.db",
    "sqlite:///ann@work.db",
    "file:///home/ann@work",
    "./mlruns@home",
    "databricks",
    "databricks://profile",
)


@pytest.mark.parametrize("uri", [*ADDRESSES, *WITHOUT_CREDENTIALS])
def test_an_address_is_kept_without_user_and_password(uri):
    assert without_credentials(uri, uri) == ADDRESSES.get(uri, uri)


@pytest.mark.parametrize("uri", ["http://ann:se/cret@host", "http://ann:12#cret@host:5000"])
def test_a_password_that_would_be_read_as_a_part_of_the_host_is_refused(uri):
    with pytest.raises(WriterConfigurationError, match=r"%2F.* %23") as raised:
        check(uri)
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize("uri", ["http://ann:se%2Fcret@host", *WITHOUT_CREDENTIALS])
def test_what_can_be_told_apart_is_taken(uri):
    check(uri)


class RefusedError(Exception):
    """As MLflow's exceptions do, it keeps its message twice."""

    def __init__(self, message, code):
        super().__init__(message)
        self.message = message
        self.code = code


@pytest.mark.parametrize("uri", ADDRESSES)
def test_an_exception_and_what_it_came_from_tell_no_password(uri):
    def connect():
        try:
            raise ValueError(f"not readable: {uri}/api")
        except ValueError as cause:
            try:
                raise RefusedError(f"no connection to {uri}", 7) from cause
            except RefusedError:
                raise RuntimeError(f"giving up on {uri}", 3)  # noqa: B904

    with pytest.raises(RuntimeError) as raised:
        connect()
    error = raised.value
    hide_credentials(error, uri)
    told = "".join(traceback.format_exception(error))
    assert "ann" not in told
    assert "cret" not in told.replace(__file__, "")
    assert error.args == (f"giving up on {ADDRESSES[uri]}", 3)
    assert vars(error.__context__) == {"message": f"no connection to {ADDRESSES[uri]}", "code": 7}
    assert "connect" in told  # it still says where


def test_a_part_of_a_password_that_was_taken_for_the_host_is_hidden_too():
    error = ConnectionError('could not translate host name "cret@host"')
    hide_credentials(error, "postgresql://ann:se@cret@host/db")
    assert str(error) == 'could not translate host name "host"'
