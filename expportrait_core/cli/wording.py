"""The core's sentences with options called as they are typed here: `image_size` becomes --image-size."""

from __future__ import annotations

import logging
import re

from ..printable import printable_lines
from .arguments import OF_FITS

NAMES = (*OF_FITS, "body_model")


def as_typed(sentence: str) -> str:
    """The sentence with the option of every name in backquotes that is one of `load_fit`'s."""
    return re.sub(r"`(\w+)`", lambda m: f"--{m[1].replace('_', '-')}" if m[1] in NAMES else m[0], sentence)


class TypedOptions(logging.Formatter):
    """For what is logged on the way."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(as_typed(super().format(record)))
