"""The tracker, the checks of its arguments, and what callbacks of trainers stand on.

Public is what stands here.
"""

from delve.tracker.row_times import Every, RowTimes
from delve.tracker.state_files import read_state, write_state
from delve.tracker.tracker import SaturationTracker
from delve.tracker.trainer_config import trainers_config
from delve.tracker.trainer_loggers import (
    earlier_runs,
    forget_earlier_runs,
    name_earlier_runs,
    resolve_loggers,
)
from delve.tracker.trainer_states import behind_its_row, in_all_processes, of_all_or_none
from delve.tracker.trainers import TrainersTracker

__all__ = [
    "Every",
    "RowTimes",
    "SaturationTracker",
    "TrainersTracker",
    "behind_its_row",
    "earlier_runs",
    "forget_earlier_runs",
    "in_all_processes",
    "name_earlier_runs",
    "of_all_or_none",
    "read_state",
    "resolve_loggers",
    "trainers_config",
    "write_state",
]
