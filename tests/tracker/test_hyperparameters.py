"""Configurations of all kinds become the same plain values."""

import argparse
import datetime
import decimal
import enum
import functools
import json
import math
import re
import subprocess
import sys
import types
from collections import ChainMap, OrderedDict, UserDict, deque, namedtuple
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from delve.errors import ArgumentError
from delve.tracker.hyperparameters import MAX_DEPTH, resolve


class Colour(enum.Enum):
    RED = 1


class Name(enum.StrEnum):
    ADAM = "adam"


class Speed(enum.IntEnum):
    FAST = 3


@dataclass
class Optimizer:
    lr: float = 0.1
    betas: tuple = (0.9, 0.999)


@dataclass(frozen=True)
class Job:
    seed: int = 3
    optimizer: Optimizer = field(default_factory=Optimizer)
    shape: tuple = (2, 2)  # a name that arrays have too


class Hidden:
    """What says itself what it holds, as TrainingArguments of Transformers does."""

    def __init__(self):
        self.token = "secret"

    def to_dict(self):
        return {"token": "<HIDDEN>", "steps": np.int64(5)}


class Slots:
    """The least that `dict()` takes."""

    def keys(self):
        return ["a"]

    def __getitem__(self, key):
        return {"a": 1}[key]


class Bare:
    pass


Point = namedtuple("Point", "x y")

OPTIMIZER = {"lr": 0.1, "betas": [0.9, 0.999]}
JOB = {"seed": 3, "optimizer": OPTIMIZER, "shape": [2, 2]}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {}),
        (types.MappingProxyType({"a": types.MappingProxyType({"b": 1})}), {"a": {"b": 1}}),
        (UserDict({"a": OrderedDict(b=1)}), {"a": {"b": 1}}),
        (ChainMap({"a": 1}, {"a": 2, "b": 3}), {"b": 3, "a": 1}),
        (argparse.Namespace(lr=0.1, net=argparse.Namespace(d=2)), {"lr": 0.1, "net": {"d": 2}}),
        (types.SimpleNamespace(a=types.SimpleNamespace(b=[1])), {"a": {"b": [1]}}),
        (Job(), JOB),
        ({"job": Job()}, {"job": JOB}),
        (Hidden(), {"token": "<HIDDEN>", "steps": 5}),
        (Slots(), {"a": 1}),
        (Point(1, (2, 3)), {"x": 1, "y": [2, 3]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_holds_names_and_values_is_a_configuration(config, expected):
    assert resolve(config) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        ("a", "a"),
        (1, 1),
        (0.5, 0.5),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        ([1, (2, [3])], [1, [2, [3]]]),
        (deque([1, 2]), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1, "a", None}, ["a", 1, None]),
        (Colour.RED, "RED"),
        (Name.ADAM, "adam"),
        (Speed.FAST, 3),
        (PurePosixPath("data/x"), "data/x"),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(2.0), 2.0),
        (np.array([1.0, math.inf]), [1.0, "Infinity"]),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.str_("a"), "a"),
        (torch.tensor(0.5), 0.5),
        (torch.tensor([1, 2]), [1, 2]),
        (nn.Parameter(torch.zeros(2)), [0.0, 0.0]),
        (torch.ones(2, dtype=torch.bfloat16), [1.0, 1.0]),
        (torch.float16, "torch.float16"),
        (torch.device("cpu"), "cpu"),
        (10**30, str(10**30)),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (decimal.Decimal("0.10"), "0.10"),
        (b"a", "b'a'"),
        (range(3), "range(0, 3)"),
        (1j, "1j"),
        ("half \ud800", "half \\ud800"),
        (nn.ReLU, "torch.nn.modules.activation.ReLU"),
        (nn.ReLU(), "ReLU()"),
        (len, "builtins.len"),
        (math.sqrt, "math.sqrt"),
    ],
    ids=lambda value: type(value).__name__,  # the order in a set differs from process to process
)
def test_a_value_becomes_a_plain_one(value, expected):
    resolved = resolve({"a": value})["a"]
    assert resolved == expected
    assert type(resolved) is type(expected)
    assert json.loads(json.dumps(resolved, allow_nan=False)) == expected


def test_what_has_no_value_gets_the_same_text_in_each_process():
    def values():
        return {"f": lambda x: x, "partial": functools.partial(max, key=Bare()), "bare": Bare()}

    first = resolve(values())
    assert first == resolve(values())
    assert first["bare"].endswith(".Bare")
    assert not re.search("0x[0-9a-f]+", str(first))


def test_a_large_array_is_kept_as_a_short_text():
    for large in (np.arange(10**6), torch.arange(10**6)):
        assert len(resolve({"a": large})["a"]) < 200
    assert isinstance(resolve({"a": torch.empty(3, device="meta")})["a"], str)


def test_keys_become_texts():
    config = {1: "a", 0.5: "b", None: "c", False: "d", Colour.RED: "e", Path("x"): "f", (1, "y"): 2}
    expected = {"1": "a", "0.5": "b", "None": "c", "False": "d", "RED": "e", "x": "f", "(1, y)": 2}
    assert resolve({"steps": config}) == {"steps": expected}


def circle():
    config = {"a": {"b": []}}
    config["a"]["b"].append(config)
    return config


def namespace_circle():
    space = types.SimpleNamespace()
    space.me = [space]
    return space


def deep():
    config = {}
    for _ in range(3000):
        config = {"a": config}
    return config


class Failing:
    def __init__(self, **values):
        self.__dict__.update(values)

    def __str__(self):
        raise RuntimeError("no text\nof mine")


class FailingDict(UserDict):
    def __getitem__(self, key):
        raise OSError("the store is away")


@dataclass
class Unset:
    lr: float = field(init=False)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (circle(), r"config\['a'\]\['b'\]\[0\] contains itself"),
        (namespace_circle(), r"config\['me'\]\[0\] contains itself"),
        (deep(), rf"nested deeper than {MAX_DEPTH} levels, at config\['a'\]"),
        ({"a": [0, Failing()]}, r"config\['a'\]\[1\] cannot be resolved \(RuntimeError: no text\)"),
        ({"a": FailingDict(b=1)}, r"config\['a'\]\['b'\] cannot be resolved \(OSError: the store"),
        ({"opt": Unset()}, r"config\['opt'\]\['lr'\] cannot be resolved \(AttributeError"),
        ({"a": {1: 0, "1": 0}}, r"config\['a'\] has the keys 1 and '1'"),
        ({"a": {Bare(): 0}}, r"config\['a'\]\[.*\] cannot be resolved .*no text of its own"),
        ({"a": 10**5000}, r"config\['a'\] cannot be resolved \(ValueError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_resolved_is_named_by_its_keys(config, message):
    with pytest.raises(ArgumentError, match=message):
        resolve(config)


@pytest.mark.parametrize(
    "config",
    [[1], "lr=0.1", 3, {1, 2}, Job, np.zeros(2), print],
    ids=lambda config: type(config).__name__,
)
def test_what_has_no_names_is_refused(config):
    with pytest.raises(ArgumentError, match="config must be a dictionary or another mapping"):
        resolve(config)


def test_the_same_object_in_two_places_is_no_circle():
    shared = {"a": 1}
    assert resolve({"x": shared, "y": [shared, shared]}) == {"x": shared, "y": [shared, shared]}


def test_what_was_resolved_is_apart_from_the_users_own():
    config = {"a": {"b": [1]}}
    resolved = resolve(config)
    config["a"]["b"].append(2)
    assert resolved == {"a": {"b": [1]}}
    assert resolve(resolved) == resolved


# OmegaConf and pydantic


def test_omegaconf_is_resolved_once(monkeypatch):
    omegaconf = pytest.importorskip("omegaconf")
    monkeypatch.setenv("SEED_OF_TEST", "7")
    calls = []
    omegaconf.OmegaConf.register_resolver(
        "count_of_test", lambda: calls.append(1) or len(calls), replace=True
    )
    config = omegaconf.OmegaConf.create(
        {
            "lr": 0.1,
            "twice": ["${lr}", {"again": "${lr}"}],
            "seed": "${oc.decode:${oc.env:SEED_OF_TEST}}",
            "count": "${count_of_test:}",
            "none": None,
            "colour": Colour.RED,
            5: {"b": "text of ${seed}"},
        }
    )
    assert resolve(config) == {
        "lr": 0.1,
        "twice": [0.1, {"again": 0.1}],
        "seed": 7,
        "count": 1,
        "none": None,
        "colour": "RED",
        "5": {"b": "text of 7"},
    }
    assert calls == [1]
    assert resolve({"part": config.twice}) == {"part": [0.1, {"again": 0.1}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"opt": {"lr": "???"}}, r"config\['opt'\]\['lr'\] cannot be resolved \(Missing"),
        ({"opt": ["${nowhere}"]}, r"config\['opt'\]\[0\] cannot be resolved \(Interpolation"),
        ({"a": "${b}", "b": "${a}"}, r"config\['a'\] cannot be resolved"),
        ({"x": {"y": "${oc.env:NOT_SET_IN_TESTS}"}}, r"config\['x'\]\['y'\] cannot be resolved"),
    ],
    ids=["missing", "interpolation", "circle", "environment"],
)
def test_what_omegaconf_cannot_resolve_is_named(content, message):
    omegaconf = pytest.importorskip("omegaconf")
    with pytest.raises(ArgumentError, match=message):
        resolve(omegaconf.OmegaConf.create(content))
    with pytest.raises(ArgumentError, match="must be a dictionary"):
        resolve(omegaconf.OmegaConf.create([1, 2]))


def test_structured_configurations_of_omegaconf():
    omegaconf = pytest.importorskip("omegaconf")
    assert resolve(omegaconf.OmegaConf.structured(Optimizer(betas=(1, 2)))) == {
        "lr": 0.1,
        "betas": [1, 2],
    }


def test_models_of_pydantic_hide_what_they_hide():
    pydantic: Any = pytest.importorskip("pydantic", minversion="2")

    class Inner(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        lr: float = 0.1
        colour: Colour = Colour.RED
        path: Path = Path("data")

    class Settings(pydantic.BaseModel):
        inner: Inner = Inner(extra=(1, 2))
        key: pydantic.SecretStr = pydantic.SecretStr("hunter2")
        excluded: str = pydantic.Field("hunter2", exclude=True)
        steps: dict[int, float] = pydantic.Field({1: math.inf})

        @pydantic.computed_field  # type: ignore[prop-decorator]
        @property
        def double(self) -> float:
            return 2 * self.inner.lr

    expected = {
        "inner": {"lr": 0.1, "colour": "RED", "path": "data", "extra": [1, 2]},
        "key": "**********",
        "steps": {"1": "Infinity"},
        "double": 0.2,
    }
    assert resolve(Settings()) == expected
    assert resolve({"a": [Settings()]}) == {"a": [expected]}


def test_no_library_of_configurations_is_imported():
    program = (
        "import sys; from delve.tracker.hyperparameters import resolve; resolve({'a': [1]});"
        "print([n for n in ('omegaconf', 'pydantic', 'attrs', 'attr') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
