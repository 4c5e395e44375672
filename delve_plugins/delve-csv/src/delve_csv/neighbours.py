"""Who else in this process is about to write a file of the same name, though none is there yet."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

# Lightning's loggers, in the names that it is installed by. Their tables come with the hundredth
# step or the end, go on in whatever file is there by then, and end the training where its columns
# are others.
_MODULES = ("lightning.fabric.loggers.csv_logs", "lightning_fabric.loggers.csv_logs")


def is_taken(path: Path) -> bool:
    """Whether a ``CSVLogger`` of Lightning's writes this file, now or later."""
    modules = [sys.modules[name] for name in _MODULES if name in sys.modules]
    writers = tuple(vars(module).get("_ExperimentWriter", ()) for module in modules)
    kinds = tuple(kind for kind in writers if isinstance(kind, type))
    if not kinds:
        return False
    # Nothing lists them. To look through all objects takes some 0.1 s, once or twice a run.
    open_writers = [item for item in gc.get_objects() if _is_one_of(kinds, item)]
    return any(_is_same(path, writer) for writer in open_writers)


def _is_one_of(kinds: tuple[type, ...], item: object) -> bool:
    """By its own type: to ask some objects for their class runs code of theirs."""
    return any(issubclass(type(item), kind) for kind in kinds)


def _is_same(path: Path, writer: Any) -> bool:
    file = vars(writer).get("metrics_file_path")
    if not isinstance(file, str):
        return False
    other = Path(file)
    return other.parent.resolve() / other.name == path.parent.resolve() / path.name
