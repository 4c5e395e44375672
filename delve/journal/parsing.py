"""Bytes of a journal become lines, each of a short journal once."""

from __future__ import annotations

from delve.journal import line_shapes
from delve.journal.format import EpochLine, NumberedLine, check_format, line_from
from delve.journal.lines import NUMBER, parse

_KEPT = 2**18  # bytes of lines: a hundred epochs of twenty layers


class LineParser:
    """Parses the lines of one journal, and keeps those of a short one for who reads them again.

    Args:
        path: The journal, for messages.
        most_kept: How many bytes of lines are kept. Where there are more none is, as those of a
            long journal do not fit into memory.
    """

    def __init__(self, path: str, most_kept: int = _KEPT) -> None:
        self._path = path
        self._left = most_kept
        self._kept: dict[bytes, NumberedLine] = {}

    def parse(self, content: bytes) -> NumberedLine:
        """What a line says; whether its checksum is right is for the caller to see.

        Raises:
            ValueError: It is no line of a journal.
            JournalError: It is the header of a later format.
        """
        if self._left < 0:
            return self._parse(content)
        return self._kept.get(content) or self._keep(content, self._parse(content))

    def _keep(self, content: bytes, line: NumberedLine) -> NumberedLine:
        self._left -= len(content)
        if self._left >= 0:
            self._kept[content] = line
        else:
            self._kept.clear()
        return line

    def parse_if_any(self, content: bytes) -> NumberedLine | None:
        """What a line says; None where it is none of a journal.

        Raises:
            JournalError: It is the header of a later format.
        """
        try:
            return self.parse(content)
        except ValueError:
            return None

    def parse_epoch(self, content: bytes) -> EpochLine:
        """The same for what is the line of an epoch.

        Raises:
            ValueError: It is no such line.
        """
        line = self.parse(content).line
        if not isinstance(line, EpochLine):
            raise ValueError("not the line of an epoch")  # noqa: TRY004
        return line

    def _parse(self, content: bytes) -> NumberedLine:
        known = line_shapes.epoch_line_of(content)
        if known is not None:
            return known
        entry = parse(content)
        check_format(entry, self._path)
        line = line_from(entry)
        if isinstance(line, EpochLine):
            line_shapes.learn(content, entry)
        return NumberedLine(entry.get(NUMBER) or 0, line)
