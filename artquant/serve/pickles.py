"""Pickles of plain values, as reward clients send them: read without making anything but plain values.

Before a pickle is read its instructions are looked through: only those that make plain values are let pass, in bounded
number and depth. What is read then finds no class, so that nothing could be called even if one were overlooked.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any, NoReturn

from artquant.serve.refusals import Refused, bad

_MOST = 100_000  # instructions
_DEEPEST = 32  # marks within marks
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})  # whose number the reader makes room for
_MARKS = {"MARK": 1, "APPENDS": -1, "SETITEMS": -1, "LIST": -1, "DICT": -1}
_PLAIN = frozenset(
    {"PROTO", "FRAME", "STOP", "NONE", "NEWTRUE", "NEWFALSE", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"}
    | {"INT", "BININT", "BININT1", "BININT2", "LONG1", "FLOAT", "BINFLOAT"}
    | {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
    | {"EMPTY_LIST", "APPEND", "EMPTY_DICT", "SETITEM"}
    | _PUTS
    | set(_MARKS)
)


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError("a class")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("a reference")


def read_pickle(data: bytes | bytearray) -> dict[str, Any]:
    """The dictionary that a pickle holds.

    Raises:
        Refused: it holds anything but plain values, more of them or deeper than any request, or is cut off.
    """
    try:
        for name, argument, place in _instructions(data):
            too_far = name in _PUTS and not 0 <= argument <= place
            if name not in _PLAIN or place > _MOST or too_far or (name == "FRAME" and argument > len(data)):
                raise bad("the pickle holds more than dict, list, str, bytes, int and float; send those alone")
        value = _Plain(io.BytesIO(data)).load()
    except Refused:
        raise
    except Exception as error:  # a reader of broken bytes raises anything
        raise bad("the body is no whole pickle of plain values; send {'images': [bytes, ...]}") from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise bad("the pickle is no dictionary; send {'images': [bytes, ...]}")
    return value


def _instructions(data: bytes | bytearray) -> Iterator[tuple[str, Any, int]]:
    """Name, argument and number of each. Raises ValueError: too deep, or something follows the end."""
    depth = 0
    stream = io.BytesIO(data)
    for place, (opcode, argument, _) in enumerate(pickletools.genops(stream), 1):
        depth += _MARKS.get(opcode.name, 0)
        if not 0 <= depth <= _DEEPEST:
            raise ValueError("too deep")
        yield opcode.name, argument, place
    if stream.tell() != len(data):
        raise ValueError("something follows the end")


def write_pickle(value: dict[str, Any]) -> bytes:
    """Plain values, in the protocol that every Python 3 reads."""
    return pickle.dumps(value, protocol=3)
