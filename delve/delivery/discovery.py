"""From a name in ``save_to`` to a checked writer: entry points, conflicts, arguments."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeGuard

from delve.base import entry_points as plugins
from delve.base.our_plugins import OUR_PLUGINS, how_to_install
from delve.delivery.checked_writer import NamedWriter, check_writer
from delve.delivery.composite import unpacked
from delve.errors import (
    ArgumentError,
    WriterContractError,
    WriterLoadError,
    WriterNotFoundError,
)

GROUP = "delve.writers"

# Names for which Delve itself has a plugin, installed or not.
ALIASES: dict[str, tuple[str, ...]] = {
    "tb": ("tensorboard",),
    "plotcsv": ("csv", "plot"),
    "csvplot": ("csv", "plot"),
    "csvplotting": ("csv", "plot"),
}

# What people call the backends besides: it selects nothing, but tells what was meant.
OTHERWISE = {
    "w&b": "wandb",
    "weights-and-biases": "wandb",
    "numpy": "npy",
    "matplotlib": "plot",
    "console": "print",
    "stdout": "print",
}


def make_writers(
    save_to: str | object | Sequence[str | object],
    savefile: Path,
    writer_args: Mapping[str, Any] | None = None,
) -> list[NamedWriter]:
    """The writers that ``save_to`` selects, constructed and checked.

    Args:
        save_to: A writer's name, a writer object, or a list of both; a composite stands for its
            writers.
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
    _check_folder(savefile, selection)
    classes = {item: load_writer_class(item) for item in selection if isinstance(item, str)}
    arguments = _distribute(writer_args or {}, classes)
    writers: list[NamedWriter] = []
    for item in selection:
        made = item
        if isinstance(item, str):
            accepted = {"savepath": str(savefile), **arguments[item]}
            made = _construct(item, classes[item], accepted)
        for writer in unpacked([made]):
            is_by_name = isinstance(item, str) and writer is made
            name = str(item) if is_by_name else _class_name(writer)
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


def _selection(save_to: str | object | Sequence[str | object]) -> list[str | object]:
    if isinstance(save_to, (Mapping, Set)):
        raise ArgumentError(
            f"save_to must be a writer's name, a writer, or a list of both, not {save_to!r}"
        )
    items = list(save_to) if _is_list(save_to) else [save_to]
    selection: list[str | object] = []
    for item in unpacked(items):
        if isinstance(item, str):
            names = ALIASES.get(item, (item,))
            selection.extend(name for name in names if not _holds(selection, name))
        elif item is not None and not _holds(selection, item):
            selection.append(item)
    if not selection:
        raise ArgumentError("save_to: name at least one writer, for example save_to='csv'")
    return selection


def _is_list(save_to: Any) -> TypeGuard[Sequence[str | object]]:
    """Whether it holds writers, as OmegaConf's lists do too; a writer may be a sequence itself."""
    return isinstance(save_to, (list, tuple)) or (
        isinstance(save_to, Sequence)
        and not isinstance(save_to, str)
        and all(isinstance(item, str) for item in save_to)
    )


def _check_folder(savefile: Path, selection: Sequence[str | object]) -> None:
    """Refuse a folder that a writer takes for its file, as it does where it is made by hand."""
    if savefile.suffix == ".csv" and "csv" in filter(_is_name, selection):
        raise ArgumentError(
            f"savefile: {savefile} is to be the run's folder, but csv takes a path that ends in "
            f".csv for its table; name the folder without it, {savefile.with_suffix('')}, which "
            "gets a metrics.csv"
        )


def _is_name(item: object) -> bool:
    return isinstance(item, str)


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
        return f"{message}{_meant(name)}"
    return f"{message}. {how_to_install(name)}"


def _meant(name: str) -> str:
    """Which writer was probably meant by a name that is none."""
    known = {one: one for one in (*plugins.offers(GROUP), *OUR_PLUGINS, *ALIASES)} | OTHERWISE
    wanted = name.strip().lower().replace("_", "-")
    close = difflib.get_close_matches(wanted, known, n=1)
    return f"; did you mean {known[close[0]]!r}?" if close else ""


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
            if not takers and key in (*OUR_PLUGINS, *ALIASES, *plugins.offers(GROUP)):
                raise ArgumentError(
                    f"writer_args: {key!r} is a writer that save_to does not select (it selects "
                    f"{', '.join(classes) or 'none by name'}); add it there, or leave it out here"
                    if key not in classes
                    else f"writer_args: what is given for {key!r} must be a dictionary of "
                    f"arguments, not {value!r}"
                )
            if not takers and isinstance(value, Mapping) and (meant := _meant(key)):
                raise ArgumentError(f"writer_args: there is no writer {key!r}{meant}")
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


def _class_name(writer: object) -> str:
    return (writer if inspect.isclass(writer) else type(writer)).__name__


def _free_name(name: str, taken: Sequence[NamedWriter]) -> str:
    names = {writer.name for writer in taken}
    candidate, number = name, 2
    while candidate in names:
        candidate, number = f"{name}-{number}", number + 1
    return candidate
