"""What is said of a journal of which lines are damaged, out of their place or gone."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from pathlib import Path

from delve.base.log import get_logger
from delve.journal.contents import Contents
from delve.records import enumerate_epochs, shortened

logger = get_logger("delve.journal")  # one name for all that is said of the journal


def report_damage(path: Path, contents: Contents, initial_epoch: int) -> None:
    """Say what a run that goes on cannot know any more.

    Args:
        path: The journal.
        contents: What it holds.
        initial_epoch: Where the run goes on: epochs below it should be there.
    """
    lines = contents.damaged_lines
    if lines:
        logger.warning("%s: unreadable lines: %s", path, enumerate_epochs(lines))
    if contents.misplaced_lines:
        logger.warning(
            "%s: lines that were repeated or moved are read where they belong: %s",
            path,
            enumerate_epochs(contents.misplaced_lines),
        )
    if contents.lost_lines:
        logger.warning(
            "%s: %d lines are gone from it; what backends hold beside it is kept where it may "
            "be of those",
            path,
            contents.lost_lines,
        )
    missing = _missing(contents.places, initial_epoch)
    if missing:
        logger.warning(
            "%s holds no record of epochs %s; backends keep what they hold of them",
            path,
            missing,
        )


def _missing(held: Collection[int], until: int) -> str:
    """The epochs below ``until`` that are not held, in ranges, however many they are."""
    edges = [-1, *(epoch for epoch in held if epoch < until), until]
    gaps = [(a + 1, b - 1) for a, b in itertools.pairwise(edges) if b - a > 1]
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in gaps)


def report_other_model(
    path: Path,
    epoch: int,
    known: Mapping[str, int],
    features: Mapping[str, int],
    layers: Collection[str],
) -> None:
    """Say which layers have other features than before: the model is another one from here on.

    Args:
        path: The journal.
        epoch: The epoch from which on they do.
        known: How many features layers had before.
        features: How many they have now, where that is not known yet.
        layers: Those that were known before; one may first be called late.
    """
    changed = [
        f"{layer} has {number} features and had {known[layer]}"
        for layer, number in features.items()
        if layer in known
    ]
    if known:
        changed += [f"{layer} is new" for layer in features if layer not in {*known, *layers}]
    if not changed:
        return
    logger.warning(
        "%s: from epoch %d on the model is another one than before: %s; its numbers are not to be "
        "compared with the earlier ones",
        path.parent,
        epoch,
        shortened(changed),
    )
