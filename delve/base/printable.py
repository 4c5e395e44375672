"""Text that a terminal shows, and does not obey."""

from __future__ import annotations

import re

# Control characters move the cursor, clear the screen, or set the title and the clipboard; line
# separators forge lines; marks of writing direction show a text in another order than it has; half
# a surrogate pair cannot be written at all. The joiners U+200C and U+200D stay: scripts need them.
_OBEYED = (  # compiled where it is needed, which is seldom
    "[\x00-\x1f\x7f-\x9f"
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: object, keep: str = "") -> str:
    r"""The text with what a terminal would obey spelt out, as in Python: ``\x1b``, ``\u202e``.

    Names and hyperparameters may come from the folder of somebody else.

    Args:
        text: A text, or what :class:`str` makes one of.
        keep: Characters that stay as they are, such as the line breaks of a message.
    """
    told = str(text)
    if told.isprintable():
        return told
    return re.sub(_OBEYED, lambda found: found[0] if found[0] in keep else _spelt(found[0]), told)


def one_line(error: object) -> str:
    """A message without its line breaks, and without what a terminal would obey."""
    return printable(" ".join(str(error).split()))


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
