"""Hyperparameters as users hold them, resolved once into plain values.

Configurations come as dictionaries and as objects of many libraries. The journal and each backend
are given the same: dictionaries with texts as keys, lists, texts, numbers, truth values and None.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar

from delve.errors import ArgumentError

T = TypeVar("T")

MAX_DEPTH = 100  # of what lies in one another
MAX_ELEMENTS = 1000  # of an array; of a larger one its text is kept
_LARGEST = 2**63 - 1  # of whole numbers: beyond it backends and readers of JSON differ
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # in memory, and another in each process
_NO_VALUES = (str, bytes, bytearray, memoryview, range)  # sequences that are one thing
_NAMESPACES = (argparse.Namespace, types.SimpleNamespace)


def resolve(config: Any) -> dict[str, Any]:
    """The hyperparameters in plain values.

    Interpolations become their values, members of enumerations their names (or values, where they
    are texts or numbers), sets sorted lists, numbers that are not finite their names, and what is
    no value, such as a function, its name or text.

    Args:
        config: A mapping, a dataclass, a namespace, a model of pydantic, or an object that
            has the method ``to_dict``.

    Raises:
        ArgumentError: It is none of these, or something in it cannot be had; its keys are named.
    """
    resolved = _resolve(config, "config", ())
    if not isinstance(resolved, dict):
        raise ArgumentError(
            "config must be a dictionary or another mapping, a dataclass, a namespace, or a model "
            f"of pydantic, not {config!r}"
        )
    return resolved


def _resolve(value: Any, place: str, inside: tuple[object, ...]) -> Any:
    """The plain value of what stands at a place.

    Args:
        value: What stands there.
        place: In words of Python, such as ``config['optimizer']['lr']``.
        inside: All that it lies in.
    """
    parts = _taken(lambda: _parts(value), place)
    if parts is None:
        return _taken(lambda: _plain(value), place)
    if any(one is value for one in inside):
        raise ArgumentError(f"{place} contains itself, which no backend can show; leave it out")
    if len(inside) == MAX_DEPTH:
        raise ArgumentError(
            f"config is nested deeper than {MAX_DEPTH} levels, at {place[:200]}...; leave that out"
        )
    inside = (*inside, value)
    if isinstance(parts, Mapping):
        return dict(_resolve_items(parts, place, inside))
    if isinstance(parts, Set):
        members = _taken(lambda: list(parts), place)
        return _sorted([_resolve(member, f"{place}[...]", inside) for member in members])
    numbers = range(_taken(lambda: len(parts), place))
    return [
        _resolve(_taken(lambda n=number: parts[n], at), at, inside)  # type: ignore[misc]
        for number in numbers
        if (at := f"{place}[{number}]")
    ]


def _resolve_items(
    parts: Mapping[Any, Any], place: str, inside: tuple[object, ...]
) -> Iterator[tuple[str, Any]]:
    names: dict[str, Any] = {}
    for key in _taken(lambda: list(parts), place):
        at = f"{place}[{key!r}]"
        name = _taken(lambda key=key: _name(key), at)  # type: ignore[misc]
        if name in names:
            raise ArgumentError(
                f"{place} has the keys {names[name]!r} and {key!r}, which backends cannot tell "
                "apart; rename one of them"
            )
        names[name] = key
        # Asked for once: an interpolation may give another value each time.
        yield name, _resolve(_taken(lambda key=key: parts[key], at), at, inside)  # type: ignore[misc]


def _taken(take: Callable[[], T], place: str) -> T:
    """What is there, if it can be had: the user's objects run code of their own."""
    try:
        return take()
    except ArgumentError:
        raise
    except Exception as error:
        told = str(error).strip().partition("\n")[0]
        raise ArgumentError(
            f"{place} cannot be resolved ({type(error).__name__}: {told}); give it a value that "
            "can, or leave it out of config"
        ) from error


def _parts(value: Any) -> Mapping[Any, Any] | Set[Any] | Sequence[Any] | None:
    """What lies in a value; None where it is one thing.

    What an object can do is asked of its type: a configuration may give any name to its values.
    """
    kind = type(value)
    if value is None or isinstance(value, (Enum, type, types.FunctionType, *_NO_VALUES)):
        return None
    if isinstance(value, Mapping):
        return value
    for method in ("model_dump", "to_dict", "_asdict"):  # pydantic's, many libraries', a tuple's
        if hasattr(kind, method) and not hasattr(kind, "__array__"):
            return _as_parts(getattr(value, method)())
    if isinstance(value, _NAMESPACES):
        return vars(value)
    if dataclasses.is_dataclass(value):
        return _Attributes(value, [field.name for field in dataclasses.fields(value)])
    if hasattr(kind, "__attrs_attrs__"):
        return _Attributes(value, [field.name for field in kind.__attrs_attrs__])
    if hasattr(kind, "__array__"):
        return _elements(value)
    if isinstance(value, (Set, Sequence)):
        return value
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):
        return {key: value[key] for key in value.keys()}  # noqa: SIM118 - it may have no more
    return None


def _as_parts(value: Any) -> Mapping[Any, Any] | Set[Any] | Sequence[Any]:
    """What a model says that it holds: one of a single value may say so without a name for it."""
    return value if isinstance(value, (Mapping, Set, list, tuple)) else [value]


def _elements(array: Any) -> list[Any] | None:
    """The numbers of a small array; None for a single number, and for what is too large."""
    if not hasattr(type(array), "tolist") or math.prod(array.shape) > MAX_ELEMENTS:
        return None
    try:
        elements = array.tolist()
    except Exception:  # there is no data behind it, or it is not dense
        return None
    return elements if isinstance(elements, list) else None


class _Attributes(Mapping[str, Any]):
    """Some attributes of an object, each asked for when it is wanted."""

    def __init__(self, owner: object, names: Sequence[str]) -> None:
        self._owner = owner
        self._names = names

    def __getitem__(self, name: str) -> Any:
        return getattr(self._owner, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _plain(value: Any) -> Any:
    """A value that is one thing, as what JSON can hold."""
    if hasattr(type(value), "__array__") and hasattr(type(value), "item"):
        value = _item(value)
    match value:
        case Enum():
            is_value = isinstance(value, (str, int, float))
            return _plain(value.value) if is_value else _encodable(str(value.name))
        case None | bool():
            return value
        case str():
            return _encodable(value)
        case int():
            return int(value) if abs(value) <= _LARGEST else str(int(value))
        case float():
            return _finite(float(value))
        case _:
            return _encodable(_text(value))


def _item(array: Any) -> Any:
    """The number of an array that is one; the array itself where it is not."""
    try:
        return array.item() if math.prod(array.shape) == 1 else array
    except Exception:  # there is no data behind it
        return array


def _finite(number: float) -> float | str:
    if math.isnan(number):
        return "NaN"
    return number if math.isfinite(number) else "Infinity" if number > 0 else "-Infinity"


def _text(value: object) -> str:
    """What is no value, in words that are the same in the next process."""
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return f"{value.__module__}.{value.__qualname__}"
    kind = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return f"{kind.__module__}.{kind.__qualname__}"
    return _ADDRESS.sub("", str(value))


def _name(key: Any) -> str:
    """A key as text."""
    if isinstance(key, tuple):
        return f"({', '.join(map(_name, key))})"
    name = _plain(key)
    has_name = isinstance(key, (str, int, float, Enum, PurePath)) or not isinstance(name, str)
    if not has_name:  # but a text that may be another tomorrow
        raise TypeError(f"a key of type {type(key).__name__} has no text of its own")
    return str(name)


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, which most backends refuse."""
    return str.encode(text, errors="backslashreplace").decode()


def _sorted(members: list[Any]) -> list[Any]:
    try:
        return sorted(members)
    except TypeError:  # of several types
        return sorted(members, key=lambda member: json.dumps(member, sort_keys=True))
