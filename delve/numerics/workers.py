"""One layer a thread: decompositions of many matrices share cores better than threads of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from delve.numerics.accumulator import Accumulator
from delve.numerics.covariance import TorchCovarianceMatrix

T = TypeVar("T")

_LEAST_FEATURES = 128  # below, a thread takes longer to start than the work
_MOST_BYTES = 2**30  # of what decompositions under way hold beside the sums, or one alone
_BYTES = 24  # of that, for each element of a matrix


def one_a_thread(act: Callable[[Accumulator], T], gathered: Sequence[Accumulator]) -> Iterator[T]:
    """What a function gives of each, in order, while other threads are at work on the next ones."""
    threads = torch.get_num_threads()
    workers = min(threads, _many(gathered))
    if workers < 2:
        yield from map(act, gathered)
        return
    # The number holds for the thread that sets it; threads that start later take the last.
    pool = ThreadPoolExecutor(
        workers, "delve-spectra", initializer=torch.set_num_threads, initargs=(threads // workers,)
    )
    try:
        yield from pool.map(act, gathered)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)


def _many(gathered: Iterable[Accumulator]) -> int:
    """How many to work on at once."""
    widths = [
        one.features
        for one in gathered
        if isinstance(one, TorchCovarianceMatrix)
        and one.device is not None
        and one.device.type == "cpu"
        and one.features >= _LEAST_FEATURES
    ]
    if not widths:
        return 0
    return min(len(widths), max(1, _MOST_BYTES // (_BYTES * max(widths) ** 2)))
