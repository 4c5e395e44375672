"""Paths as people write them; addresses of stores are none."""

import os
import pwd
from pathlib import Path

import pytest

from delve.base.local_path import local_path
from delve.errors import ArgumentError

ADDRESSES = [
    "s3://bucket/run",
    "gs://bucket/run",
    "hdfs://host:9000/run",
    "abfss://container@account.dfs.core.windows.net/run",
    "dbfs:/runs/a",
    "S3A://bucket",
    "memory://run",
    "https://host/run",
    "runs:/0123/artifacts",
    Path("s3://bucket/run"),  # which has lost a slash
]


@pytest.mark.parametrize("path", ADDRESSES, ids=str)
def test_the_address_of_a_store_is_refused_with_what_to_do(path):
    with pytest.raises(ArgumentError, match=r"address of a store.*delve export RUN --to"):
        local_path("savefile", path)


@pytest.mark.parametrize("path", ["file:///runs/a", "file:/runs/a"])
def test_the_address_of_a_file_is_refused_with_its_path(path):
    with pytest.raises(ArgumentError, match=r"give the path alone: /runs/a$"):
        local_path("savefile", path)


@pytest.mark.skipif(os.name == "nt", reason="they are paths there")
@pytest.mark.parametrize("path", [r"C:\runs\a", "C:/runs/a", r"\\server\runs", r"..\runs", r"~\a"])
def test_a_path_of_windows_is_refused_elsewhere(path):
    with pytest.raises(ArgumentError, match="is a path of Windows"):
        local_path("savefile", path)


@pytest.mark.parametrize(
    "path", ["a:b", "runs/12:30:00", "s3", "a/s3:/b", "x:", "runs/~", "./s3:/a"]
)
def test_what_only_looks_a_little_like_one_is_a_path(path):
    assert local_path("savefile", path) == Path(path)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_tilde_is_a_home(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("savefile", kind("~/runs/a")) == tmp_path / "runs" / "a"
    assert local_path("savefile", kind("~")) == tmp_path
    me = pwd.getpwuid(os.getuid())
    assert local_path("savefile", kind(f"~{me.pw_name}/a")) == Path(me.pw_dir) / "a"
    assert local_path("savefile", "./~/a") == Path("~/a")


def test_the_home_of_nobody_is_an_error():
    with pytest.raises(ArgumentError, match="home of a user that this machine does not know"):
        local_path("savefile", "~nobody-of-this-name/a")


def test_what_no_path_can_hold_is_an_error():
    with pytest.raises(ArgumentError, match="NUL"):
        local_path("savefile", "a\0b")
    with pytest.raises(ArgumentError, match="encoding of this system's file names"):
        local_path("savefile", "a\ud900b")


def test_a_path_object_of_a_store_is_not_asked_for_a_local_copy():
    class CloudPath:
        def __str__(self):
            return "gs://bucket/run"

        def __fspath__(self):
            raise AssertionError("it would download here")

    with pytest.raises(ArgumentError, match="gs://bucket/run"):
        local_path("savefile", CloudPath())
