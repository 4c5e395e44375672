"""What is said of figures that cannot be drawn: each once, and a reason once."""

from __future__ import annotations

from delve.base import get_logger

_LONGEST_REASON = 500  # characters

logger = get_logger(__name__)


class Failures:
    """Names figures that failed, without a line for each epoch."""

    def __init__(self) -> None:
        self._figures: set[str] = set()
        self._reasons: set[str] = set()

    def note(self, figure: str, error: Exception) -> None:
        """A figure could not be drawn: say so, unless it or the reason was named before."""
        first = next(iter(str(error).strip().splitlines()), "")[:_LONGEST_REASON]
        reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
        if figure not in self._figures and reason not in self._reasons:
            logger.warning(
                "the figure of %s cannot be drawn and is left out (%s); this is said once for a "
                "figure and a reason, and nothing else is lost",
                figure,
                reason,
            )
        logger.debug("the traceback of the figure of %s", figure, exc_info=error)
        self._figures.add(figure)
        self._reasons.add(reason)
