"""A writer whose methods were checked to fit ``WriterSpec``, with the hooks to call it through.

``save_to`` takes any object for a writer. :func:`check_writer` finds what does not fit before the
training begins, and gives what the delivery calls it by.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, TypeVar

import pluggy

from delve.base.log import get_logger
from delve.errors import WriterContractError
from delve.hookspecs import HOOKS, PROJECT, WriterSpec

_SIMILAR = 0.8  # difflib's ratio from which a method's name is taken for a misspelt hook

_NO_HOOK = "is_no_hook_of_delve"

logger = get_logger(__name__)


T = TypeVar("T", bound=Callable[..., Any])


def not_a_hook(method: T) -> T:
    """Mark a method that is there for subclasses to call alone: the writer counts as without it."""
    method.__dict__[_NO_HOOK] = True
    return method


@dataclass(frozen=True)
class NamedWriter:
    """A checked writer.

    Attributes:
        name: What the run's journal and messages call it.
        writer: The object itself.
        manager: Calls its methods as hooks, each with the arguments that it names.
    """

    name: str
    writer: object
    manager: pluggy.PluginManager

    @property
    def hook(self) -> Any:
        """Pluggy's caller of each hook."""
        return self.manager.hook

    def implements(self, hook: str) -> bool:
        """Whether the writer has a method of this name."""
        return bool(getattr(self.manager.hook, hook).get_hookimpls())

    def arguments(self, hook: str) -> set[str]:
        """The arguments that the writer's method takes."""
        implementations = getattr(self.hook, hook).get_hookimpls()
        return {name for impl in implementations for name in (*impl.argnames, *impl.kwargnames)}

    @property
    def knows_epochs(self) -> bool:
        """Whether its calls tell it the epoch: else it cannot replace what it holds of one."""
        return any(
            self.arguments(hook) & {"epoch", "global_step"}
            for hook in ("add_scalar", "add_scalars", "save")
        )


class _WriterManager(pluggy.PluginManager):
    """Takes a writer's methods for hook implementations by their names.

    One for each writer: within one manager a writer's exception would end the calls to the rest.
    """

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        # Statically, because reading a property would run the writer's code.
        attribute = inspect.getattr_static(plugin, name, None)
        if isinstance(attribute, (staticmethod, classmethod)):
            attribute = attribute.__func__
        if getattr(attribute, _NO_HOOK, False):
            return None
        options: pluggy.HookimplOpts | None = getattr(attribute, f"{PROJECT}_impl", None)
        if options is None and name in HOOKS and callable(attribute):
            options = {
                "wrapper": False,
                "hookwrapper": False,
                "optionalhook": False,
                "tryfirst": False,
                "trylast": False,
                "specname": None,
            }
        return options


def check_writer(name: str, writer: object) -> NamedWriter:
    """Check that a writer's methods fit :class:`~delve.hookspecs.WriterSpec`, and call none.

    Args:
        name: What the run is to call it.
        writer: Any object.

    Raises:
        WriterContractError: It implements no hook, or takes an argument that no hook offers.
    """
    if inspect.isclass(writer):
        raise WriterContractError(
            f"writer {name!r} is a class; give save_to an object of it, {name}(...)"
        )
    manager = _WriterManager(PROJECT)
    manager.add_hookspecs(WriterSpec)
    _check_methods(name, writer)
    try:
        manager.register(writer, name)
        manager.check_pending()  # a method marked as a hook that is none
    except pluggy.PluginValidationError as error:
        raise WriterContractError(
            f"writer {name!r}: {_one_line(error)}; see delve.hookspecs.WriterSpec for the "
            "arguments that each method may take"
        ) from error
    named = NamedWriter(name, writer, manager)
    if not any(map(named.implements, HOOKS)):
        raise WriterContractError(
            f"writer {name!r}: {type(writer).__name__} has none of the methods of a writer: "
            f"{', '.join(HOOKS)}"
        )
    _warn_of_misspelt_hooks(name, writer)
    return named


def _check_methods(name: str, writer: object) -> None:
    for hook in HOOKS:
        method = inspect.getattr_static(writer, hook, None)
        if isinstance(method, (staticmethod, classmethod, MethodType)):
            method = method.__func__
        if inspect.isfunction(method):
            _check_method(name, hook, method)
        elif callable(method):
            raise WriterContractError(
                f"writer {name!r}: {hook} is a {type(method).__name__}, which pluggy cannot call; "
                "make it a method"
            )


def _check_method(name: str, hook: str, method: FunctionType) -> None:
    if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
        raise WriterContractError(
            f"writer {name!r}: {hook} is a coroutine or a generator, which would never run; make "
            "it a plain method"
        )
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            raise WriterContractError(
                f"writer {name!r}: {hook} takes {parameter.name!r} by keyword only, which "
                "pluggy cannot pass; remove the * before it"
            )


def _warn_of_misspelt_hooks(name: str, writer: object) -> None:
    for attribute in dir(type(writer)):
        if attribute.startswith("_") or attribute in HOOKS:
            continue
        if not callable(inspect.getattr_static(writer, attribute, None)):
            continue
        close = difflib.get_close_matches(attribute, HOOKS, n=1, cutoff=_SIMILAR)
        if close:
            logger.warning(
                "writer %r: the method %s is not a hook and is never called; did you mean %s?",
                name,
                attribute,
                close[0],
            )


def _one_line(error: pluggy.PluginValidationError) -> str:
    return " ".join(str(error).split())
