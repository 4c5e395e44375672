"""Files for writers: whole or not there, one an epoch, arrays, and names that stay in their folder.

Public, for authors of writers.
"""

from delve.files.array_archive import read_archive
from delve.files.array_file import (
    DamagedArrayError,
    is_remnant,
    is_whole,
    is_written_by_delve,
    may_lack_values,
    read_array,
    write_array,
)
from delve.files.array_layout import (
    ARRAYS,
    SCALARS,
    SCALARS_MARK_LENGTH,
    array_files,
    array_folder,
    array_group,
    array_name,
    array_place,
    has_scalars_mark,
    scalars_file,
    scalars_mark,
)
from delve.files.checksums import Checksums
from delve.files.epoch_files import EpochFiles, epoch_file_name, epoch_of
from delve.files.names import (
    ends_in_digest,
    file_name,
    free_name,
    names_for,
    taken_names,
    with_digest,
)
from delve.files.pace import Pace
from delve.files.plain import is_plain, open_plain, refuse_if_larger, refuse_unless_plain
from delve.files.whole import replacing, set_aside, sync, unfinished_name

__all__ = [
    "ARRAYS",
    "SCALARS",
    "SCALARS_MARK_LENGTH",
    "Checksums",
    "DamagedArrayError",
    "EpochFiles",
    "Pace",
    "array_files",
    "array_folder",
    "array_group",
    "array_name",
    "array_place",
    "ends_in_digest",
    "epoch_file_name",
    "epoch_of",
    "file_name",
    "free_name",
    "has_scalars_mark",
    "is_plain",
    "is_remnant",
    "is_whole",
    "is_written_by_delve",
    "may_lack_values",
    "names_for",
    "open_plain",
    "read_archive",
    "read_array",
    "refuse_if_larger",
    "refuse_unless_plain",
    "replacing",
    "scalars_file",
    "scalars_mark",
    "set_aside",
    "sync",
    "taken_names",
    "unfinished_name",
    "with_digest",
    "write_array",
]
