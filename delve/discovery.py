"""From a name in ``save_to`` to a checked writer: entry points, conflicts, arguments, contract."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import pluggy

from delve import plugins
from delve.errors import (
    ArgumentError,
    WriterContractError,
    WriterLoadError,
    WriterNotFoundError,
)
from delve.hookspecs import HOOKS, PROJECT, WriterSpec

GROUP = "delve.writers"

# Names for which Delve itself has a plugin, installed or not.
OUR_PLUGINS = {
    "csv": "delve-csv",
    "mlflow": "delve-mlflow",
    "npy": "delve-npy",
    "plot": "delve-plot",
    "tensorboard": "delve-tensorboard",
    "wandb": "delve-wandb",
}

ALIASES: dict[str, tuple[str, ...]] = {
    "tb": ("tensorboard",),
    "plotcsv": ("csv", "plot"),
    "csvplot": ("csv", "plot"),
    "csvplotting": ("csv", "plot"),
}

_SIMILAR = 0.8  # difflib's ratio from which a method's name is taken for a misspelt hook

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NamedWriter:
    """A checked writer, the name that the run knows it by, and the hooks to call it through."""

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


class _WriterManager(pluggy.PluginManager):
    """Takes a writer's methods for hook implementations by their names.

    One for each writer: within one manager a writer's exception would end the calls to the rest.
    """

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        # Statically, because reading a property would run the writer's code.
        attribute = inspect.getattr_static(plugin, name, None)
        if isinstance(attribute, (staticmethod, classmethod)):
            attribute = attribute.__func__
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


def installed_writers() -> dict[str, EntryPoint]:
    """The installed writers by name; nothing is imported.

    Raises:
        WriterConflictError: Two distributions offer the same name.
    """
    found = {name: plugins.find(GROUP, name) for name in sorted(plugins.offers(GROUP))}
    return {name: entry_point for name, entry_point in found.items() if entry_point}


def make_writers(
    save_to: str | object | Sequence[str | object],
    savefile: Path,
    writer_args: Mapping[str, Any] | None = None,
) -> list[NamedWriter]:
    """The writers that ``save_to`` selects, constructed and checked.

    Args:
        save_to: A writer's name, a writer object, or a list of both.
        savefile: The run's folder, for the writers that are selected by name.
        writer_args: Constructor arguments, flat (each goes to every writer that names it) or
            nested under the name of a writer.

    Raises:
        WriterNotFoundError: No installed distribution offers the name.
        WriterConflictError: More than one does.
        WriterLoadError: The one that does cannot be imported.
        WriterContractError: The writer does not fit the specification.
        ArgumentError: An argument that no selected writer takes, or nothing selected.
    """
    if not isinstance(writer_args or {}, Mapping):
        raise ArgumentError(
            f"writer_args must be a dictionary of constructor arguments, not {writer_args!r}"
        )
    selection = _selection(save_to)
    classes = {item: load_writer_class(item) for item in selection if isinstance(item, str)}
    arguments = _distribute(writer_args or {}, classes)
    writers: list[NamedWriter] = []
    for item in selection:
        if isinstance(item, str):
            accepted = {"savepath": str(savefile), **arguments[item]}
            name, writer = item, _construct(item, classes[item], accepted)
        else:
            name, writer = (item if inspect.isclass(item) else type(item)).__name__, item
        writers.append(check_writer(_free_name(name, writers), writer))
    return writers


def load_writer_class(name: str) -> type[Any]:
    """Import the class behind an installed writer's name.

    Raises:
        WriterNotFoundError: No installed distribution offers the name.
        WriterConflictError: More than one does.
        WriterLoadError: It cannot be imported, or is no class.
    """
    entry_point = plugins.find(GROUP, name)
    if entry_point is None:
        raise WriterNotFoundError(_not_found(name, plugins.offers(GROUP)))
    unmet = plugins.unmet_requirements(entry_point)
    if unmet:
        raise WriterLoadError(
            f"writer {name!r}: the distribution {plugins.distribution(entry_point)} requires "
            f"{'; '.join(unmet)}; install what it requires"
        )
    writer_class = plugins.load(entry_point, "writer")
    if not inspect.isclass(writer_class):
        raise WriterLoadError(
            f"writer {name!r}: {entry_point.value} of the distribution "
            f"{plugins.distribution(entry_point)} is not a class; its entry point must name the "
            "writer's class"
        )
    return writer_class


def check_writer(name: str, writer: object) -> NamedWriter:
    """Hold a writer object to the specification.

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


def how_to_install(name: str) -> str:
    """How to install the plugin of one of Delve's own writers: a sentence for a message.

    Args:
        name: The writer's name, one of ``OUR_PLUGINS``.
    """
    folder = f"delve_plugins/{OUR_PLUGINS[name]}"
    return (
        "Install the plugin from a checkout of Delve:\n"
        f"    pip install ./{folder}\n"
        "or from the git URL of the repository:\n"
        f'    pip install "git+URL#subdirectory={folder}"'
    )


def _selection(save_to: str | object | Sequence[str | object]) -> list[str | object]:
    if isinstance(save_to, (Mapping, Set)):
        raise ArgumentError(
            f"save_to must be a writer's name, a writer, or a list of both, not {save_to!r}"
        )
    items = list(save_to) if isinstance(save_to, (list, tuple)) else [save_to]
    selection: list[str | object] = []
    for item in items:
        if isinstance(item, str):
            names = ALIASES.get(item, (item,))
            selection.extend(name for name in names if not _holds(selection, name))
        elif item is not None and not _holds(selection, item):
            selection.append(item)
    if not selection:
        raise ArgumentError("save_to: name at least one writer, for example save_to='csv'")
    return selection


def _holds(selection: Iterable[object], item: object) -> bool:
    # By identity, because a writer may define what == means.
    return any(
        one is item or (isinstance(one, str) and isinstance(item, str) and one == item)
        for one in selection
    )


def _not_found(name: str, offers: Mapping[str, object]) -> str:
    installed = ", ".join(sorted(offers)) or "none"
    message = f"save_to: no writer {name!r} is installed (installed: {installed})"
    if name not in OUR_PLUGINS:
        close = difflib.get_close_matches(name, [*offers, *OUR_PLUGINS, *ALIASES], n=1)
        return f"{message}; did you mean {close[0]!r}?" if close else message
    return f"{message}. {how_to_install(name)}"


def _distribute(
    writer_args: Mapping[str, Any], classes: Mapping[str, type[Any]]
) -> dict[str, dict[str, Any]]:
    """Give each argument to the writers that name it in their constructors."""
    arguments: dict[str, dict[str, Any]] = {name: {} for name in classes}
    accepted = {name: _constructor_arguments(writer) for name, writer in classes.items()}
    for key, value in writer_args.items():
        named = [name for name in ALIASES.get(key, (key,)) if name in classes]
        if named and isinstance(value, Mapping):
            for argument, inner in value.items():
                takers = [name for name in named if argument in accepted[name]]
                if not takers:
                    choices = {name: accepted[name] for name in named}
                    raise ArgumentError(_unknown_argument(argument, choices))
                for name in takers:
                    arguments[name][argument] = inner
        else:
            takers = [name for name in classes if key in accepted[name]]
            if not takers:
                raise ArgumentError(_unknown_argument(key, accepted))
            for name in takers:
                arguments[name].setdefault(key, value)
    return arguments


def _constructor_arguments(writer_class: type[Any]) -> set[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(writer_class).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind in kinds} - {"savepath"}


def _unknown_argument(argument: str, accepted: Mapping[str, set[str]]) -> str:
    choices = "; ".join(
        f"{name} takes {', '.join(sorted(arguments)) or 'none'}"
        for name, arguments in accepted.items()
    )
    return (
        f"writer_args: no selected writer takes {argument!r} "
        f"({choices or 'writers made by hand get their arguments when you make them'})"
    )


def _construct(name: str, writer_class: type[Any], arguments: Mapping[str, Any]) -> object:
    parameters = inspect.signature(writer_class).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    given = {key: value for key, value in arguments.items() if takes_any or key in parameters}
    try:
        return writer_class(**given)
    except TypeError as error:
        raise WriterContractError(
            f"writer {name!r}: {writer_class.__name__} could not be made from "
            f"{', '.join(given)}: {error}"
        ) from error


def _free_name(name: str, taken: Sequence[NamedWriter]) -> str:
    names = {writer.name for writer in taken}
    candidate, number = name, 2
    while candidate in names:
        candidate, number = f"{name}-{number}", number + 1
    return candidate


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
