"""Why a file is no fit: our own sentences, told apart from what Python, numpy and torch say about a damaged one.

Readers raise `Refusal`. Everything else that a damaged file makes them stumble over is turned, in one place
(`sentences`), into one sentence that names the file, the format and the value that was looked at last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ..printable import SENTENCE, listed, log_of, printable
from ..reach import OutOfReach


class Refusal(ValueError):
    """A sentence for the user: what was found in which file, what was expected, what to do.

    It quotes names and values out of files, and is made printable here.
    """

    def __init__(self, said: str) -> None:
        super().__init__(printable(said, SENTENCE))


class Unnamed(Refusal):
    """The same from a function that does not know the file; `sentences` puts the file's name before it."""


class InRow(Unnamed):
    """The same about one row of an array over time, whose frame may have a file of its own: `frames.stacked_turns`."""

    def __init__(self, said: str, row: int, rows: int) -> None:
        super().__init__(f"frame {row + 1} of {rows}: {said}")
        self.said, self.row = said, row


_looked_at: ContextVar[str] = ContextVar("looked_at", default="")
_left_out: ContextVar[dict[Path, None]] = ContextVar("left_out")  # in the order in which they were found

log = log_of(__name__)


def looking_at(what: str) -> None:
    """Note the value that is read next, as "file: key", for the sentence if something unforeseen happens to it."""
    _looked_at.set(what)


def leaving_out(link: Path) -> None:
    """Note a link in a folder that leads nowhere or to itself. Folders are looked at several times, and it is told once
    at the end."""
    _left_out.get({})[link] = None


class Reading:
    """What is known of a file while it is read."""

    format_name = ""


@contextmanager
def sentences(name: str) -> Iterator[Reading]:
    """Around the reading of a file called `name`: whatever goes wrong in it is raised as a Refusal.

    Set `format_name` of what is yielded as soon as it is known.
    """
    reading = Reading()
    looking_at("")
    links: dict[Path, None] = {}
    token = _left_out.set(links)
    try:
        yield reading
    except Unnamed as error:
        said = str(error)
        raise Refusal(said if said.startswith(printable(name, SENTENCE)) else f"{name}: {said}") from error
    except (Refusal, OutOfReach):
        raise
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise Refusal(
            f"{name} cannot be read: the system says '{said}'. Check the file and its permissions."
        ) from error
    except Exception as error:  # the file's fault, but not one that a reader foresaw
        at = f" at {_looked_at.get()}" if _looked_at.get() else ""
        as_format = f" as a fit of the format {reading.format_name}" if reading.format_name else " as a fit"
        raise Refusal(
            f"{name} cannot be read{as_format}: it is not what the tracker writes{at} ({type(error).__name__}). It is "
            f"damaged or not complete; copy it again from its source."
        ) from error
    finally:
        _left_out.reset(token)
        if links:
            found = listed([f"{link.parent.name}/{link.name}" for link in links], 4)
            log.warning("%s: links that lead nowhere or to themselves are left out: %s.", name, found)


@contextmanager
def checks_of_types() -> Iterator[None]:
    """Around the making of the dataclasses of `types`, whose checks raise sentences that do not know the file."""
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError:  # a Refusal already, or what a codec says
            raise
        raise Unnamed(str(error)) from error


def of_file(read: Callable[[Path], Any], path: Path) -> Any:
    """What a general reader of pickles or torch files finds. Its own sentences name the file, and foreign ones do not.

    Raises:
        Refusal: the file cannot be read.
    """
    looking_at(path.name)
    try:
        return read(path)
    except (Refusal, OutOfReach, OSError):
        raise
    except Exception as error:
        said = str(error)
        if type(error) is ValueError and said.startswith(path.name):
            raise Refusal(said) from error
        raise Refusal(
            f"{path.name} cannot be read ({type(error).__name__}): it is truncated or damaged. Copy it again from its "
            f"source."
        ) from error
