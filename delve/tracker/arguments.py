"""The arguments of the public calls, checked before any file is touched.

Each check returns what the rest of the package works with, or raises
:class:`~delve.errors.ArgumentError`.
"""

from __future__ import annotations

import numbers
import os
import shlex
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from delve.base.checks import check_share
from delve.base.local_path import local_path
from delve.delivery.checked_writer import NamedWriter
from delve.delivery.unknown_epochs import unknown_epochs
from delve.errors import ArgumentError, NoHeaderError
from delve.journal.contents import Contents
from delve.journal.reading import JOURNAL_NAME, contents_in, next_epoch
from delve.journal.traces import find_traces
from delve.records import Metric, shortened
from delve.stats.registry import is_stat_name
from delve.stats.selection import SelectedStat, select_stats
from delve.tracker.hyperparameters import resolve

_WAYS_OUT = (
    "or give initial_epoch as a number (N keeps what is below N, 0 begins anew) or name another "
    "folder for a new run"
)


def check_savefile(savefile: str | os.PathLike[str]) -> Path:
    """The run's folder, which may not exist yet."""
    # Path("") is the working directory, which nobody means by an empty text.
    if not isinstance(savefile, (str, os.PathLike)) or not str(savefile):
        raise ArgumentError(f"savefile must be the path of a folder, not {savefile!r}")
    folder = local_path("savefile", savefile).absolute()  # wherever the training changes to
    try:
        is_in_the_way = folder.exists() and not folder.is_dir()
    except OSError as error:
        raise ArgumentError(
            f"savefile: {folder} cannot be used ({error.strerror}); name another folder"
        ) from error
    if is_in_the_way:
        raise ArgumentError(f"savefile must be a folder, but {folder} is a file; name another")
    return folder


def check_threshold(threshold: Any) -> float:
    """The share of the variance that counts as explained."""
    return check_share("sat_threshold", threshold)


def check_stats(stats: Any, layerwise_saturation: bool = True) -> list[SelectedStat]:
    """The selected statistics; a single name will do."""
    if isinstance(stats, str):
        stats = [stats]
    if not isinstance(stats, Iterable):
        raise ArgumentError(f"stats must be a list of names, for example ['lsat'], not {stats!r}")
    return select_stats(stats, layerwise_saturation)


def check_on_writer_error(on_writer_error: str) -> None:
    """What to do with a writer's failure."""
    if on_writer_error not in ("warn", "raise"):
        raise ArgumentError(f"on_writer_error must be 'warn' or 'raise', not {on_writer_error!r}")


def check_overwrite(overwrite: Any) -> bool:
    """Whether a new run replaces an earlier one."""
    if not isinstance(overwrite, bool):
        raise ArgumentError(f"overwrite must be True or False, not {overwrite!r}")
    return overwrite


def check_patience(patience: Any) -> None:
    """How long a slow backend may hold the run up."""
    is_number = isinstance(patience, numbers.Real) and not isinstance(patience, bool)
    if not is_number or not patience > 0:
        raise ArgumentError(f"patience must be seconds, above 0, not {patience!r}")


def check_mask(mask: Any) -> bool:
    """Whether masks that a model is called with count."""
    if mask is not None and not (isinstance(mask, str) and mask == "auto"):
        kind = repr(mask) if isinstance(mask, str | bool | int) else f"a {type(mask).__name__}"
        raise ArgumentError(
            f"mask must be 'auto' or None, not {kind}; the mask of a batch is given around its "
            "forward pass: with tracker.mask(attention_mask): ..."
        )
    return mask is not None


def check_device(device: torch.device | str | None) -> torch.device | None:
    """The device to accumulate on, if one is named and works."""
    if device is None:
        return None
    try:
        checked = torch.device(device)
        torch.empty(0, device=checked)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ArgumentError(
            f"device: {str(device)!r} cannot be used here ({str(error).splitlines()[0]}); leave it "
            "at None to stay on the device of the activations"
        ) from error
    return checked


def check_config(config: Any) -> dict[str, Any]:
    """The hyperparameters, in plain values."""
    return {} if config is None else resolve(config)


def check_initial_epoch(
    initial_epoch: Any, folder: Path, writers: Sequence[NamedWriter] = ()
) -> int:
    """The first epoch to record; ``"auto"`` is looked up in the folder's journal.

    Args:
        initial_epoch: What the user gave.
        folder: The run's folder.
        writers: Those that are about to be opened there.
    """
    if initial_epoch == "auto":
        return _epoch_after_the_last(folder, writers)
    if (
        isinstance(initial_epoch, bool)
        or not isinstance(initial_epoch, numbers.Integral)
        or int(initial_epoch) < 0
    ):
        raise ArgumentError(
            "initial_epoch must be 0 for a new run, the first epoch to record for a resumed one, "
            f"or 'auto', not {initial_epoch!r}"
        )
    return int(initial_epoch)


def _epoch_after_the_last(folder: Path, writers: Sequence[NamedWriter]) -> int:
    try:
        contents = contents_in(folder)
    except NoHeaderError as error:
        held = unknown_epochs(folder, Contents(), writers)
        told = f" ({', '.join(held)})" if held else ""
        raise NoHeaderError(f"initial_epoch='auto': {error}{told}; {_WAYS_OUT}") from error
    traces = find_traces(folder)
    if contents is None:
        held = unknown_epochs(folder, Contents(), writers) if folder.is_dir() else []
        if traces or held:
            left = [f"files of a run of Delve ({', '.join(traces)})"] if traces else []
            raise ArgumentError(
                f"initial_epoch='auto': {folder} holds no journal, but {'; '.join(left + held)}, "
                "so the last epoch is not known; put journal.jsonl back, or "
                f"{_repair(folder)} from what they hold, {_WAYS_OUT}"
            )
        return 0
    following = next_epoch(folder, contents)
    if not contents.places and (held := unknown_epochs(folder, contents, writers, following)):
        files = f" ({shortened(traces, 3)})" if traces else ""
        raise ArgumentError(
            f"initial_epoch='auto': {folder / JOURNAL_NAME} {_state(folder, contents)}, but "
            f"{', '.join(held)}{files}, so the last epoch is not known, and nothing was changed; "
            f"{_repair(folder)} from what they hold, {_WAYS_OUT}"
        )
    return following


def _state(folder: Path, contents: Contents) -> str:
    """What is the matter with a journal that tells of no epoch."""
    if contents.run_id:
        return "holds no epoch"
    if not os.path.lexists(folder / JOURNAL_NAME):
        return "was never begun whole"
    return (
        "holds not even a whole first line"
        if (folder / JOURNAL_NAME).stat().st_size
        else "is empty"
    )


def _repair(folder: Path) -> str:
    return f"`delve repair {shlex.quote(str(folder))}` writes it anew"


def check_scalar_name(name: Any, reserved: Container[str] = ()) -> None:
    """The name of a scalar of the user's.

    Args:
        name: What the user calls it.
        reserved: Names that this tracker gives itself.
    """
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"a scalar's name must be a text that is not empty, not {name!r}")
    if not _is_encodable(name):
        raise ArgumentError(f"the scalar name {name!r} cannot be written as UTF-8; choose another")
    metric = Metric.parse(name)
    if name == "epoch" or name in reserved or (metric and is_stat_name(metric.stat)):
        raise ArgumentError(f"the scalar name {name!r} is taken by Delve itself; choose another")


def check_no_more(name: Any, more: Sequence[Any], named: Mapping[str, Any]) -> None:
    """That a scalar comes without a step, which TensorBoard's method of this name takes."""
    told = [*map(repr, more), *(f"{key}={value!r}" for key, value in named.items())]
    if told:
        raise ArgumentError(
            f"add_scalar({name!r}, ...) takes a name and a value, not {told[0]} too: unlike in "
            "TensorBoard the row has its number from the tracker, which counts the epochs; give a "
            "training step to add_saturations(step=...)"
        )


def check_scalar(name: str, value: Any) -> float:
    """A scalar of the user's as a float."""
    if _is_in_parts(value):
        raise ArgumentError(
            f"the scalar {name!r} is a DTensor of which each process holds a part, "
            f"{value.placements}; give its full_tensor(), called in all processes"
        )
    number = _only_element(value)
    if not isinstance(number, numbers.Real):
        raise ArgumentError(
            f"the scalar {name!r} must be a number, or a tensor or array of one, not "
            f"{type(value).__name__} {value!r}"
        )
    try:
        return float(number)
    except OverflowError:
        raise ArgumentError(
            f"the scalar {name!r} must be a number that a float can hold, below 1.8e308; log its "
            "logarithm"
        ) from None


def _is_in_parts(value: Any) -> bool:
    """Whether it is a DTensor that is not whole here: its ``item()`` is that of this part."""
    if not hasattr(value, "full_tensor"):  # importing DTensor takes long
        return False
    return not all(placement.is_replicate() for placement in value.placements)


def _only_element(value: Any) -> Any:
    """The number in a tensor or array of one; all else as it is."""
    count = value.numel() if isinstance(value, torch.Tensor) else getattr(value, "size", None)
    return value.item() if count == 1 and hasattr(value, "item") else value


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True
