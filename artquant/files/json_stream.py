"""Records in JSON, as one list or a line each: the one place that reads both, one value at a time."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from artquant.files.json_files import (
    DECODER,
    JSON_FAULTS,
    RECORD,
    VALUE_FAULTS,
    JsonError,
    decoded,
    lines_of,
    parse_json,
    refuse_deep,
)
from artquant.files.json_forms import form_of_text
from artquant.files.opened import WHOLE, opened

_BLOCK = 1 << 20  # bytes read at a time, at least
_SPACE = re.compile(r"[ \t\n\r]*")
_AFTER_VALUE = frozenset(" \t\n\r,]}")
_ANY = json.JSONDecoder()  # to find where a value ends that holds NaN or a key twice


def iterate_json(path: Path | str, faulty: bool = False) -> Iterator[tuple[int, int, Any]]:
    """The values of a JSON list or of JSON lines one by one, so that a file of any size needs little memory.

    Args:
        path: The file; a list if its first character is "[".
        faulty: Give the error as the value, and go on: of a line that is not JSON, and of an entry of a list that holds
            NaN or a key twice.

    Yields:
        First byte and end of each value in the file, and the value. Blank lines are passed over.

    Raises:
        JsonError: As :func:`read_json`, after the values before the fault; or the file holds something else.
    """
    with opened(path) as stream:
        yield from json_values(stream, Path(path), faulty)


def iterate_records(path: Path | str) -> Iterator[tuple[str, Any]]:
    """The records of a JSON list or of JSON lines, each with the name "FILE record N" (from 1) for messages.

    Raises:
        JsonError: As :func:`iterate_json`, or there are no records.
    """
    number = 0
    for number, (_, _, item) in enumerate(iterate_json(path), start=1):
        yield f"{path} record {number}", item
    if number == 0:
        raise JsonError(f"{path}: holds no records; name a file with a JSON list or JSON lines of them")


def json_values(stream: BinaryIO, path: Path, faulty: bool = False) -> Iterator[tuple[int, int, Any]]:
    """As :func:`iterate_json`, of a stream that can seek; `path` is for messages."""
    stream.seek(3 if stream.read(3) == codecs.BOM_UTF8 else 0)
    is_list = _first_character(stream) == b"["
    return _list_values(stream, path, faulty) if is_list else _line_values(stream, path, faulty)


def _first_character(stream: BinaryIO) -> bytes:
    """The first character that is no white space; the stream stays where it is."""
    before = stream.tell()
    found = b""
    while not found and (block := stream.read(4096)):
        found = block.lstrip()[:1]
    stream.seek(before)
    return found


def _line_values(stream: BinaryIO, path: Path, faulty: bool) -> Iterator[tuple[int, int, Any]]:
    end, good = stream.tell(), False
    for number, line in enumerate(lines_of(stream, path), start=1):
        start, end = end, end + len(line)
        text = decoded(line, path, number)
        if text.strip():
            try:
                value = parse_json(text.rstrip("\r\n"), path, number)
                good = True
            except JsonError as error:
                is_other = isinstance(error.__context__, json.JSONDecodeError)
                if is_other and not good and (what := _other_form(stream, path)):
                    raise JsonError(f"{path}: holds {what}") from None
                if is_other and good and not text.endswith("\n"):
                    error = JsonError(
                        f"{path} line {number}: cut off after {text[-20:]!r}, as by a run that was killed; run again "
                        "what wrote it, or delete this line"
                    )
                if not faulty:
                    raise error from None
                value = error
            yield start, end, value


def _other_form(stream: BinaryIO, path: Path) -> str:
    """What a file holds whose first line is no JSON, where that is JSON in another form; the stream stays."""
    place = stream.tell()
    stream.seek(0)
    data = stream.read(WHOLE)
    stream.seek(place)
    return form_of_text(data.decode("utf-8", "replace"), path)


def _list_values(stream: BinaryIO, path: Path, faulty: bool) -> Iterator[tuple[int, int, Any]]:
    """Values of a list, a block of the file at a time. Whatever is wrong is said as when it is read whole."""
    try:
        window = _Window(stream)
        window.take("[")
        more = not window.take("]")
        while more:
            start = window.byte
            value, end = window.value()
            if isinstance(value, VALUE_FAULTS):
                if not faulty:
                    raise value
                value = JsonError(f"{path} {value}")
            yield start, end, value
            more = window.take(",")
            if not more and not window.take("]"):
                raise ValueError
        if not window.ended:
            raise ValueError
    except JSON_FAULTS as error:
        stream.seek(0)
        if len(data := stream.read(WHOLE + 1)) > WHOLE:
            raise JsonError(f"{path} byte {window.byte}: not JSON; correct the file or make it again") from error
        parse_json(decoded(data, path), path)
        raise JsonError(f"{path}: changed while it was read; start again") from None


class _Window:
    """A stretch of a text file that moves on; knows at which byte of the file it stands.

    Between its calls it stands at a character that is no white space, or at the end of the file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.byte = stream.tell()
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._text = ""
        self._place = 0
        self._to_next_character()

    @property
    def ended(self) -> bool:
        """Whether nothing comes next."""
        return self._place == len(self._text)

    def take(self, character: str) -> bool:
        """Pass over this character if it comes next."""
        found = self._text.startswith(character, self._place)
        if found:
            self._advance(self._place + 1)
            self._to_next_character()
        return found

    def value(self) -> tuple[Any, int]:
        """Pass over the JSON value that comes next, read on if it is cut off; with the byte where it ends.

        The value is one of VALUE_FAULTS where it holds NaN or a key twice.
        """
        while True:
            try:
                try:
                    value, place = DECODER.raw_decode(self._text, self._place)
                except VALUE_FAULTS as error:
                    value, place = error, _ANY.raw_decode(self._text, self._place)[1]
                refuse_deep(value, self._text, self._place, place)
            except json.JSONDecodeError:
                if len(self._text) - self._place > RECORD or not self._more():
                    raise
                continue
            if self._text[place : place + 1] not in _AFTER_VALUE and self._more():
                continue  # a number goes on in the next block
            self._advance(place)
            end = self.byte
            self._to_next_character()
            return value, end

    def _more(self) -> bool:
        """Read on, unless the file has ended."""
        # What is cut off is begun anew each time, hence twice as much: a value of any size in few attempts.
        block = self._stream.read(max(_BLOCK, len(self._text) - self._place))
        self._text = self._text[self._place :] + self._decode(block, final=not block)
        self._place = 0
        return bool(block)

    def _advance(self, place: int) -> None:
        passed = self._text[self._place : place]
        self.byte += len(passed) if passed.isascii() else len(passed.encode("utf-8"))
        self._place = place

    def _to_next_character(self) -> None:
        while True:
            space = _SPACE.match(self._text, self._place)
            self._advance(space.end() if space else self._place)
            if not self.ended or not self._more():
                return
