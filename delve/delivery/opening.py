"""How a writer is opened: started or resumed, and cut back to what of its backend is not void."""

from __future__ import annotations

import dataclasses
import numbers

from delve.delivery.feed import Feed
from delve.delivery.notices import Notices
from delve.delivery.standing import Standing
from delve.journal.journal import Journal


def open_writer(
    writer: str, feed: Feed, standing: Standing, journal: Journal, notices: Notices
) -> None:
    """Start the writer, or resume it where it stands; then it lacks all from what it answers on.

    Args:
        writer: Its name.
        feed: Calls its hooks.
        standing: Where it stands: not open yet, or not any more.
        journal: Knows what the writer's backend can hold that is void by now.
        notices: Speaks of it.

    Raises:
        ValueError: Its answer makes no sense.
        Exception: Whatever it raises.
    """
    first = int(min(standing.first_lacking, journal.sound_below(writer)))
    if first < standing.first_lacking:  # the run went back, or began anew, while it was away
        standing.go_back(first)
    lacks_from = first
    if first:
        lacks_from = _resume(feed, first, journal, notices)
    else:
        feed.call("start")
    journal.mark_opened(writer)
    standing.open(lacks_from)


def _resume(feed: Feed, first: int, journal: Journal, notices: Notices) -> int:
    """Have the writer hold the epochs below ``first``; returns from where on it lacks them."""
    is_where_it_goes_on = first == feed.run.initial_epoch
    run = dataclasses.replace(
        feed.run,
        initial_epoch=first,
        epochs=tuple(epoch for epoch in journal.epochs if epoch < first),
        steps={epoch: step for epoch, step in journal.steps.items() if epoch < first},
        initial_step=feed.run.initial_step if is_where_it_goes_on else None,
        metrics=journal.metrics,
    )
    try:
        answer = feed.call("resume_from_saved_state", run, initial_epoch=first)
    except NotImplementedError as error:
        notices.cannot_resume(error, first)
        return first
    if answer is None:
        return first
    if not isinstance(answer, numbers.Integral) or not 0 <= int(answer) <= first:
        raise ValueError(
            f"resume_from_saved_state returned {answer!r}; it must return the first epoch "
            f"that the backend lacks, from 0 to {first}, or None"
        )
    return int(answer)
