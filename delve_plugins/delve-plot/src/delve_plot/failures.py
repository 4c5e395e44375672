"""What is said of pictures that cannot be drawn: each once, and a reason once."""

from __future__ import annotations

from delve.base import get_logger

_LONGEST_REASON = 500  # characters

logger = get_logger(__name__)


class Failures:
    """Names pictures that failed, without a line for each epoch."""

    def __init__(self) -> None:
        self._pictures: set[str] = set()
        self._reasons: set[str] = set()

    def note(self, picture: str, error: Exception) -> None:
        """A picture could not be drawn: say so, unless it or the reason was named before."""
        first = next(iter(str(error).strip().splitlines()), "")[:_LONGEST_REASON]
        reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
        if picture not in self._pictures and reason not in self._reasons:
            logger.warning(
                "the picture of %s cannot be drawn and is left out (%s); this is said once for a "
                "picture and a reason, and nothing else is lost",
                picture,
                reason,
            )
        logger.debug("the traceback of the picture of %s", picture, exc_info=error)
        self._pictures.add(picture)
        self._reasons.add(reason)
