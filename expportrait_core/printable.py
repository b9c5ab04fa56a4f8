"""Text that comes out of files, for the eyes of people: what a terminal obeys and what turns sentences round is shown
as an escape, and nothing is long.

A file may call its keys, its head model or itself whatever it likes. Whoever quotes such a text passes it through here.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence

WORD, SENTENCE = 120, 4000  # characters of a name, and of all that is said about a file. Our choice
_LEFT_OUT = " ... "
_INVISIBLE = ("C", "Zl", "Zp")  # of Unicode's categories: controls, marks of direction, halves of characters, new lines


def printable(text: object, most: int = WORD) -> str:
    """One line of at most `most` characters: others as Python escapes them (`\\x1b`, `\\u202e`), a long one without its
    middle. Of what this returned, it returns the same."""
    text = str(text)
    if len(text) > most:  # what is left out need not be looked at
        text = text[: most + 1] + text[-most:]
    shown = text if text.isprintable() else "".join(map(_shown, text))
    if len(shown) <= most:
        return shown
    end = (most - len(_LEFT_OUT)) // 3  # the beginning says more
    return shown[: most - len(_LEFT_OUT) - end] + _LEFT_OUT + shown[len(shown) - end :]


def printable_lines(text: str) -> str:
    """The same of several lines, of any length: for the last door to a terminal."""
    return "\n".join(line if line.isprintable() else "".join(map(_shown, line)) for line in text.split("\n"))


def listed(names: Sequence[object], most: int = 12) -> str:
    """Names behind each other: the first of them, and how many more there are."""
    more = len(names) - most
    return ", ".join(printable(name, 60) for name in names[:most]) + (f" and {more} more" if more > 0 else "")


class _PrintableLog(logging.LoggerAdapter):
    """A log that quotes texts out of files."""

    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        if self.isEnabledFor(level):
            shown = [printable(arg, SENTENCE) if isinstance(arg, str) else arg for arg in args]
            above = kwargs.pop("stacklevel", 1) + 1  # who logs is not this function
            self.logger.log(level, msg, *shown, stacklevel=above, **kwargs)


def log_of(name: str) -> logging.LoggerAdapter:
    """The log of a module that reads files."""
    return _PrintableLog(logging.getLogger(name), {})


def _shown(character: str) -> str:
    if character.isprintable() or not unicodedata.category(character).startswith(_INVISIBLE):
        return character
    return character.encode("unicode_escape").decode("ascii")
