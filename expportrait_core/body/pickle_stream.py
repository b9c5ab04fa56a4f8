"""A parser of pickle streams that only moves values: the format's stack machine, without Python's `pickle` module.

The opcodes are those of protocols 0 to 5 (documented in CPython's `Lib/pickletools.py`). A stream can name functions
and ask for calls; `find(module, name)` answers with a stand-in or raises, and only stand-ins are ever called.

A stream can also recall a value that it gave before, and hand a large one to a thousand calls, each of which copies it.
So the lengths of all that is handed over are added up; honest streams hand over what they hold, and hold it once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from .unfolded import TooMany

MARK = object()
MAX_MEMO = 1 << 24  # a stream numbers what it remembers; a damaged one would ask for any amount of memory
MOST_DIGITS = 1000  # of a number that is written in decimals
LARGEST_KEY = 1 << 60  # Python hashes whole numbers below it to themselves, and larger ones as one wants them
COPIES, SLACK = 4, 1 << 16  # bytes may be handed over as text, as bytes and as a state, and small values are recalled


def parse(
    data: bytes,
    find: Callable[[str, str], Any],
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The object that a pickle stream describes, with the results of stand-ins in it.

    Args:
        persistent: the object outside of the stream that an id stands for; without it there are none.

    Raises:
        ValueError: the stream ends early or is no pickle, or its calls copy more than it holds; whatever `find`,
            `persistent` and the stand-ins raise.
    """
    return _Machine(data, find, persistent).run()


def require_key(key: Any) -> None:
    """Refuse keys that can be made to take Python for ever: shared tuples to hash, and numbers that hash alike."""
    if isinstance(key, int) and abs(key) < LARGEST_KEY:
        return
    if not (key is None or isinstance(key, str | bytes | float)):
        raise ValueError("it has a key that is neither text nor a number")


class SetOf:
    """A set: that there is one is all that is known of it, because keys would have to be hashed to make it."""

    def __init__(self, *ignored: object) -> None:
        pass

    def extend(self, values: list[Any]) -> None:
        pass


class _Machine:
    def __init__(
        self, data: bytes, find: Callable[[str, str], Any], persistent: Callable[[Any], Any] | None = None
    ) -> None:
        self.data, self.find, self.persistent, self.at = data, find, persistent, 0
        self.left = COPIES * len(data) + SLACK
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.known: set[int] = set()  # ids of the stand-ins that `find` gave, the only things that may be called

    def run(self) -> Any:
        data, operations = self.data, _OPERATIONS
        while self.at < len(data):
            opcode = data[self.at]
            self.at += 1
            if opcode == 0x2E:  # STOP
                return self.stack.pop()
            operation = operations.get(opcode)
            if operation is None:
                raise ValueError(f"instruction {chr(opcode)!r} at byte {self.at - 1} is none that values need")
            operation(self)
        raise ValueError("it ends before its last instruction")

    # ------------------------------------------------------------------------------------------------------- reading

    def take(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if count < 0 or self.at > len(self.data):
            raise ValueError("it ends in the middle of a value")
        return self.data[start : self.at]

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise ValueError("it ends in the middle of a line")
        start, self.at = self.at, end + 1
        return self.data[start:end].decode("latin1")

    def number(self, code: str) -> Any:
        size = struct.calcsize(code)
        return struct.unpack(code, self.take(size))[0]

    def since_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise ValueError("it closes a group that it never opened")

    def last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("it uses a value that it never gave")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    # ------------------------------------------------------------------------------------------------------- calling

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("it names a function by what is no text")
        found = self.find(module, name)
        self.known.add(id(found))
        self.stack.append(found)

    def call(self, function: Any, arguments: Any) -> None:
        if id(function) not in self.known or not isinstance(arguments, tuple):
            raise ValueError("it calls what is no function")
        self.hand_over(arguments)
        self.stack.append(function(*arguments))

    def build(self) -> None:
        target, state = self.last(2)
        if not getattr(target, "is_stand_in", False):
            raise ValueError("it sets the state of what has none")
        self.hand_over(state if isinstance(state, tuple) else (state,))
        target.__setstate__(state)
        self.stack.append(target)

    def hand_over(self, values: tuple) -> None:
        """Count what a call may copy: the values, and what each of them holds."""
        self.left -= len(values)
        if self.left >= 0:
            self.left -= sum(len(value) for value in values if isinstance(value, _SIZED))
        if self.left < 0:
            raise TooMany("values that are handed over again and again")

    def outside(self) -> None:
        if self.persistent is None:
            raise ValueError("it asks for an object outside of it")
        self.stack.append(self.persistent(*self.last(1)))

    def remember(self, key: int) -> None:
        if not 0 <= key < MAX_MEMO:
            raise ValueError("it remembers more than it holds")
        self.memo[key] = self.stack[-1]

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise ValueError("it recalls what it never gave")
        self.stack.append(self.memo[key])

    # ---------------------------------------------------------------------------------------------------- containers

    def extend(self, values: list[Any]) -> None:
        self.container(list).extend(values)

    def fill_set(self, values: list[Any]) -> None:
        self.container(SetOf).extend(values)

    def update(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise ValueError("it gives a key without a value")
        for key in values[::2]:
            require_key(key)
        self.container(dict).update(zip(values[::2], values[1::2], strict=True))

    def container(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise ValueError(f"it fills a {'set' if kind is SetOf else kind.__name__} that is none")
        return self.stack[-1]


def _instance(m: _Machine) -> None:  # OBJ
    function, *arguments = m.since_mark()
    m.call(function, tuple(arguments))


def _old_instance(m: _Machine) -> None:  # INST
    arguments = tuple(m.since_mark())
    m.name(m.line(), m.line())
    m.call(m.stack.pop(), arguments)


def _quoted(m: _Machine) -> None:  # STRING, as repr writes it
    text = m.line().strip()
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        raise ValueError("it holds a text without quotes")
    m.stack.append(text[1:-1].encode("latin1").decode("unicode_escape"))


def _int_line(m: _Machine) -> None:  # INT; 00 and 01 are the old way to write False and True
    text = m.line()
    m.stack.append({"00": False, "01": True}[text] if text in ("00", "01") else _whole(text))


def _whole(text: str) -> int:
    """A number in decimals, which older Pythons take as long for as the square of its length."""
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(text):,} digits")
    return int(text)


def _long(m: _Machine, count: int) -> None:
    m.stack.append(int.from_bytes(m.take(count), "little", signed=True))


def _dict(m: _Machine) -> None:
    values = m.since_mark()
    m.stack.append({})
    m.update(values)


def _push(value: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    return lambda m: m.stack.append(value(m))


def _tuple(count: int) -> Callable[[_Machine], None]:
    return lambda m: m.stack.append(tuple(m.last(count)))


_SIZED = (str, bytes, list, tuple, dict)
_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    ord(opcode): operation
    for opcode, operation in {
        "\x80": lambda m: m.take(1),  # PROTO
        "\x95": lambda m: m.take(8),  # FRAME
        "(": _push(lambda m: MARK),
        "0": lambda m: m.last(1),
        "1": lambda m: m.since_mark(),
        "2": _push(lambda m: m.stack[-1]),
        # values
        "N": _push(lambda m: None),
        "\x88": _push(lambda m: True),
        "\x89": _push(lambda m: False),
        "I": _int_line,
        "J": _push(lambda m: m.number("<i")),
        "K": _push(lambda m: m.take(1)[0]),
        "M": _push(lambda m: m.number("<H")),
        "L": _push(lambda m: _whole(m.line().rstrip("L"))),
        "\x8a": lambda m: _long(m, m.take(1)[0]),
        "\x8b": lambda m: _long(m, m.number("<i")),
        "F": _push(lambda m: float(m.line())),
        "G": _push(lambda m: m.number(">d")),
        "S": _quoted,
        "T": _push(lambda m: m.take(m.number("<i")).decode("latin1")),
        "U": _push(lambda m: m.take(m.take(1)[0]).decode("latin1")),
        "V": _push(lambda m: m.line().encode("latin1").decode("raw_unicode_escape")),
        "X": _push(lambda m: m.take(m.number("<I")).decode("utf-8")),
        "\x8c": _push(lambda m: m.take(m.take(1)[0]).decode("utf-8")),
        "\x8d": _push(lambda m: m.take(m.number("<Q")).decode("utf-8")),
        "B": _push(lambda m: m.take(m.number("<I"))),
        "C": _push(lambda m: m.take(m.take(1)[0])),
        "\x8e": _push(lambda m: m.take(m.number("<Q"))),
        "\x96": _push(lambda m: m.take(m.number("<Q"))),
        # containers
        ")": _push(lambda m: ()),
        "t": _push(lambda m: tuple(m.since_mark())),
        "\x85": _tuple(1),
        "\x86": _tuple(2),
        "\x87": _tuple(3),
        "]": _push(lambda m: []),
        "l": _push(lambda m: m.since_mark()),
        "a": lambda m: m.extend(m.last(1)),
        "e": lambda m: m.extend(m.since_mark()),
        "}": _push(lambda m: {}),
        "d": _dict,
        "s": lambda m: m.update(m.last(2)),
        "u": lambda m: m.update(m.since_mark()),
        "\x8f": _push(lambda m: SetOf()),
        "\x90": lambda m: m.fill_set(m.since_mark()),
        "\x91": _push(lambda m: SetOf(m.since_mark())),  # FROZENSET
        # what was given before
        "p": lambda m: m.remember(_whole(m.line())),
        "q": lambda m: m.remember(m.take(1)[0]),
        "r": lambda m: m.remember(m.number("<I")),
        "\x94": lambda m: m.remember(len(m.memo)),
        "g": lambda m: m.recall(_whole(m.line())),
        "h": lambda m: m.recall(m.take(1)[0]),
        "j": lambda m: m.recall(m.number("<I")),
        # names and calls
        "c": lambda m: m.name(m.line(), m.line()),
        "\x93": lambda m: m.name(*m.last(2)),
        "R": lambda m: m.call(*m.last(2)),
        "\x81": lambda m: m.call(*m.last(2)),  # NEWOBJ: our stand-ins need no __new__ of their own
        "o": _instance,
        "i": _old_instance,
        "b": lambda m: m.build(),
        "Q": lambda m: m.outside(),  # BINPERSID
    }.items()
}
"""What is left out asks for more than values: buffers, extensions, ids of objects as lines of text."""
