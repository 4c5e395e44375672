"""What is wrong with a network, as far as its statistics tell: a few sentences, or none.

Each is a fact with its number and its layers, what it may mean, and a source. They are taken from
the numbers that a run has recorded, so they can be had of any run, also of one that ended long ago.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from delve.records import Metric
from delve.stats.note import Note, Row
from delve.stats.note_kinds import KINDS

MOST = 5  # sentences


def notes_on(
    layers: Sequence[str], first: Mapping[Metric, float], last: Mapping[Metric, float]
) -> list[Note]:
    """What is wrong in a run's last row, the gravest first; at most five.

    Args:
        layers: In forward order.
        first: The metrics of the run's first row, to which the last is compared.
        last: Those of its last row.
    """
    before, now = Row(layers, first), Row(layers, last)
    found = [note for kind in KINDS for note in kind(before, now)]
    return found[:MOST]
