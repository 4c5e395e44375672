import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from delve.errors import ArgumentError
from delve.tracker.arguments import (
    check_config,
    check_savefile,
    check_scalar,
    check_scalar_name,
    check_stats,
)


@pytest.mark.parametrize("savefile", ["", b"run", 3, None])
def test_what_names_no_folder_is_refused(savefile):
    with pytest.raises(ArgumentError, match="savefile must be the path of a folder"):
        check_savefile(savefile)


@pytest.mark.parametrize("savefile", [".", "runs/new", Path("runs/new")])
def test_a_folder_may_be_new_or_the_working_directory(savefile):
    assert check_savefile(savefile) == Path.cwd() / savefile


def test_a_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_savefile("~/runs/a") == tmp_path / "runs" / "a"


@pytest.mark.parametrize(
    ("savefile", "message"),
    [
        ("s3://bucket/run", "address of a store"),
        (Path("gs://bucket/run"), "address of a store"),
        ("C:\\runs", "path of Windows"),
        ("a\0b", "NUL"),
        ("a" * 5000, "cannot be used"),
    ],
)
def test_what_is_no_path_of_this_machine_is_refused(savefile, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=f"savefile: .*{message}"):
        check_savefile(savefile)
    assert not list(tmp_path.iterdir())


def test_no_config_is_an_empty_one_and_any_is_plain():
    assert check_config(None) == {}
    assert check_config({"grid": {(1, 2): {3}}}) == {"grid": {"(1, 2)": [3]}}
    with pytest.raises(ArgumentError, match="config must be a dictionary"):
        check_config([1])


@pytest.mark.parametrize(
    "value",
    [2, 2.0, Fraction(2), np.float16(2), np.full((1, 1), 2), torch.full((1, 1, 1), 2.0)],
    ids=repr,
)
def test_a_single_number_of_any_shape_is_a_scalar(value):
    number = check_scalar("loss", value)
    assert (type(number), number) == (float, 2.0)


@pytest.mark.parametrize(
    "value", [np.zeros((1, 2)), np.zeros((1, 0)), torch.zeros(2, 1), torch.zeros(0)], ids=repr
)
def test_more_or_less_than_one_number_is_no_scalar(value):
    with pytest.raises(ArgumentError, match="the scalar 'loss' must be a number, or a tensor"):
        check_scalar("loss", value)


@pytest.mark.parametrize("value", [10**400, -(10**5000), Fraction(10**400)], ids=lambda _: "")
def test_a_number_that_no_float_holds_is_refused(value):
    with pytest.raises(ArgumentError, match="the scalar 'loss' must be a number that a float can"):
        check_scalar("loss", value)


def test_infinity_is_a_scalar():
    assert check_scalar("loss", math.inf) == math.inf


def test_reserved_names_are_refused_where_they_are_reserved():
    check_scalar_name("average-train-sat")
    with pytest.raises(ArgumentError, match="'average-train-sat' is taken by Delve"):
        check_scalar_name("average-train-sat", ["average-train-sat"])


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (["cov", "cov_eval"], {"cov": ("train", "eval")}),
        (["cov_eval", "cov"], {"cov": ("train", "eval")}),
        (["lsat_eval", "idim", "lsat_train"], {"lsat": ("train", "eval"), "idim": None}),
        (["lsat_eval", "lsat_eval"], {"lsat": ("eval",)}),
    ],
)
def test_a_statistic_selected_twice_is_selected_once(stats, expected):
    selected = check_stats(stats)
    assert [item.stat.key for item in selected] == list(expected)
    for item in selected:
        assert item.modes == (expected[item.stat.key] or ("train", "eval"))
