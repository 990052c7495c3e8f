"""Read pickles of plain data without executing them: dictionaries, lists, tuples, texts, numbers, true, false, none."""

import pickletools
from typing import Any

#: A dump of 20,000 collectives has two million opcodes.
MOST_OPCODES = 30_000_000

_MARK = object()
_PUSH = {"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
         "BINUNICODE8"}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Any] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def load_plain(data: bytes) -> Any:
    """The object that `pickle.loads` would give, when it is plain data.

    The opcodes are read, not run: what would import a name or call anything is refused, whatever it is.

    Raises: ValueError that says what is refused or damaged.

    >>> import pickle
    >>> load_plain(pickle.dumps({"a": [1, (2.5, None)]}))
    {'a': [1, (2.5, None)]}
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count >= MOST_OPCODES:
                raise ValueError(f"a pickle of more than {MOST_OPCODES} opcodes")
            if opcode.name == "STOP":
                return machine.pop()
            machine.run(opcode.name, argument)
    except (IndexError, KeyError, TypeError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"a damaged pickle: {error}") from error
    raise ValueError("a damaged pickle: it does not end")


class _Machine:
    """The stack and the memo of a pickle, for opcodes that build plain data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise IndexError("a mark in the place of a value")
        return value

    def top(self) -> Any:
        if self.stack[-1] is _MARK:
            raise IndexError("a mark in the place of a value")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise IndexError("a mark is missing")
        items = self.stack[place + 1:]
        del self.stack[place:]
        return items

    def run(self, name: str, argument: Any) -> None:
        if name in _PUSH:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in _TUPLES:
            items = [self.pop() for _ in range(_TUPLES[name])]
            self.stack.append(tuple(reversed(items)))
        elif name == "TUPLE":
            self.stack.append(tuple(self.since_mark()))
        elif name == "LIST":
            self.stack.append(self.since_mark())
        elif name == "DICT":
            self.stack.append(_pairs(self.since_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = [self.pop()] if name == "APPEND" else self.since_mark()
            _expect(self.top(), list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [self.pop(), self.pop()][::-1] if name == "SETITEM" else self.since_mark()
            _expect(self.top(), dict).update(_pairs(items))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("POP", "POP_MARK"):
            self.pop() if name == "POP" else self.since_mark()
        elif name == "DUP":
            self.stack.append(self.top())
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"a pickle that holds more than plain data: {name} is refused")


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} in the place of {kind.__name__}")
    return value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))
