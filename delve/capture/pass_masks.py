"""The mask of the pass under way: as the user says, or as the calls of the model do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from delve.base.log import get_logger
from delve.capture.gathering import Gatherer
from delve.capture.masks import Mask, SaidMask, checked_mask, no_mask

logger = get_logger(__name__)

# What a compiled layer hands over beside a mask.
UNTOLD, BATCH_FIRST, TIME_FIRST = range(3)


class Call:
    """What one call of a module says of the sequences that are in it.

    Args:
        owner: Whose call it is.
        outer: The call that it is within.
        real: Which positions are real, (batch x time); None where that is not known.
        inputs: The sequences.
        encoder: Which positions are real in layers that have ``encoder`` in their names, where the
            call is one of an encoder and a decoder.
        is_time_first: Whether linear layers return (time x batch x features); None tells it by
            the shape.

    Attributes:
        source: The sequences of another module, which cross-attention takes its keys from.
        source_real: Which of their positions are real.
        is_told: Whether what is said here is all: compiled code does not see the calls that it is
            within.
        mask: The last mask that was made of one of these.
    """

    def __init__(
        self,
        owner: object,
        outer: Call | None,
        real: Tensor | None = None,
        inputs: Tensor | None = None,
        encoder: Tensor | None = None,
        is_time_first: bool | None = False,
    ) -> None:
        self.owner = owner
        self.outer = outer
        self.real = real
        self.inputs = inputs
        self.source: Tensor | None = None
        self.source_real: Tensor | None = None
        self.encoder = encoder
        self.is_time_first = is_time_first
        self.is_told = True
        self.traced_outside: Call | None = None
        self.mask: Mask | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing of any layer."""
        return self.real is None and self.encoder is None and self.source is None

    @classmethod
    def like(cls, owner: object, outer: Call | None) -> Call:
        """A call that says no more than the one that it is within."""
        if outer is None:
            call = cls(owner, None)
            call.is_told = False
            return call
        call = cls(owner, outer, outer.real, outer.inputs, outer.encoder, outer.is_time_first)
        call.source, call.source_real = outer.source, outer.source_real
        call.is_told = outer.is_told
        return call

    def real_for(self, name: str, inputs: Any) -> Tensor | None:
        """Which positions are real in the output of one layer.

        Args:
            name: The layer's name.
            inputs: What it was called with.
        """
        if self.source is not None and len(inputs) > 0 and inputs[0] is self.source:
            return self.source_real
        if self.encoder is not None and "encoder" in name and "decoder" not in name:
            return self.encoder
        return self.real


class PassMasks:
    """The mask of the pass under way.

    Args:
        gatherer: Holds samples back until a mask that the user has said proves to fit.

    Attributes:
        is_idle: Whether nobody asks, since passes are none of those that the next row is made of.
        traced: The innermost call under way in code that is being compiled, or that the compiler
            has left at a graph break.
    """

    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer
        self._said: Mask | None = None
        self._calls: dict[int, Call] = {}  # the innermost by thread: DataParallel has one each
        self._was_told = False
        self.is_idle = False
        self.traced: Call | None = None

    @property
    def current(self) -> Call | None:
        """The innermost call under way in this thread."""
        return self.traced or self._calls.get(threading.get_ident())

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way in any thread."""
        return bool(self._calls) or self.traced is not None

    def of(self, name: str, inputs: Any) -> Mask | None:
        """The mask for what a layer returned, called with ``inputs``; None: none is known."""
        if not self.is_busy:
            return self._said
        if self._said is not None:
            return self._said
        call = self.current
        real = None if call is None else call.real_for(name, inputs)
        if call is None or real is None:
            return None
        if call.mask is None or call.mask.real is not real:
            call.mask = self._taken(real, call.is_time_first)
        return call.mask

    def of_traced(self, name: str, real: Tensor | None, told: int) -> Mask | None:
        """The mask for what a compiled layer returned, which has handed on :meth:`traced_for`."""
        if self._said is not None or told == UNTOLD:
            return self.of(name, ())
        return None if real is None else self._taken(real, told == TIME_FIRST)

    def traced_for(self, name: str, inputs: Any) -> tuple[Tensor | None, int]:
        """What a compiled layer hands on, as arguments of an operator."""
        call = self.traced
        real = None if call is None else call.real_for(name, inputs)
        if call is None or (real is None and not call.is_told):
            return None, UNTOLD
        return real, TIME_FIRST if call.is_time_first else BATCH_FIRST

    def begin(self, call: Call) -> None:
        """A call begins in this thread."""
        thread = threading.get_ident()
        call.outer = self._calls.get(thread)
        if call.is_empty and call.outer is None and self.traced is None:
            return  # so that layers have nothing to look up
        call.traced_outside, self.traced = self.traced, None
        self._calls[thread] = call

    def end(self, owner: object) -> None:
        """A call of this owner ends in this thread, if it has begun at all."""
        thread = threading.get_ident()
        call = self._calls.get(thread)
        if call is None or call.owner is not owner:
            return
        self.traced = call.traced_outside
        if call.outer is None:
            del self._calls[thread]
        else:
            self._calls[thread] = call.outer

    def traced_around(self, owner: object) -> Call | None:
        """The innermost call in compiled code, without any that this owner has left unended.

        Compiled code runs no hook after a call that failed.
        """
        around = call = self.traced
        while call is not None:
            if call.owner is owner:
                around = call.outer
            call = call.outer
        return around

    def begin_traced(self, call: Call) -> None:
        """A call begins in compiled code."""
        self.traced = call

    def end_traced(self, owner: object) -> None:
        """A call of this owner ends in compiled code."""
        if self.traced is not None and self.traced.owner is owner:
            self.traced = self.traced.outer

    def said(self, mask: Any) -> contextlib.AbstractContextManager[None]:
        """A block within which passes have this mask, whatever the calls say.

        Raises:
            ArgumentError: It is no mask; or, at the end of the block, it fitted no series.
        """
        return self._within(no_mask() if mask is None else checked_mask(mask))

    @contextlib.contextmanager
    def _within(self, mask: Mask) -> Iterator[None]:
        outside, self._said = self._said, mask
        is_whole = False
        try:
            yield
            is_whole = True
        finally:
            self._said = outside
            self._settle(mask, is_whole)

    def _settle(self, mask: Mask, is_whole: bool) -> None:
        """Take in or drop what was held back; an error that ended the block is the one to see."""
        if not isinstance(mask, SaidMask):
            return
        self._gatherer.release(drop=mask.has_missed)
        if is_whole:
            mask.check_fitted()

    def _taken(self, real: Tensor, is_time_first: bool | None) -> Mask:
        if not self._was_told:
            self._was_told = True
            logger.info(
                "the model is called with a mask of padding: what is padding gives no samples "
                "(mask=None of the tracker takes it in)"
            )
        return Mask(real, is_time_first)
