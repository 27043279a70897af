"""JSON and JSON-lines files: read with errors that name file and line, written so that a crash leaves no half file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError

from artquant.errors import ArtQuantError, one_line
from artquant.files.opened import WHOLE, looks_like, opened, read_whole
from artquant.files.unwritten import errors_named
from artquant.files.whole_folder import force_to_disk

RECORD = 1 << 26  # bytes: the largest value of a list, or line, that is read
DEPTH = 100  # lists and objects within each other; what reads a value may go down into it

# A string, or one of the words that JSON has no room for. Strings come first, so a word inside one is not found.
_STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b')


class JsonError(ArtQuantError):
    """A JSON file that cannot be read or written; the message names file and line."""


def read_text(path: Path | str, most: int = WHOLE) -> str:
    """Read UTF-8 text (with or without byte-order mark), of so many bytes at most.

    Raises:
        ArtQuantError: The file is missing, no regular file, not readable, too large or not UTF-8 (with the line).
    """
    return decoded(read_whole(path, most), path)


def decoded(data: bytes, path: Path | str, first_line: int = 1) -> str:
    """UTF-8 text from what was read of ``path``, from line ``first_line`` on.

    Raises:
        JsonError: It is not UTF-8 (with the line).
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + first_line
        what = looks_like(data[:64]) if first_line == 1 else ""
        reason = f"not text but {what}; name another file" if what else "not UTF-8 text; save the file as UTF-8"
        raise JsonError(f"{path} line {line}: {reason}") from None


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        JsonError: As :func:`read_text`, or the text is not JSON, holds NaN or Infinity, or has a key twice.
    """
    return parse_json(read_text(path), path)


def read_json_lines(path: Path | str) -> Iterator[tuple[int, Any]]:
    """Read a JSON-lines file: pairs of line number (from 1) and value. Blank lines are passed over.

    Raises:
        JsonError: As :func:`read_json`, with the line.
    """
    with opened(path) as stream:
        for number, line in enumerate(lines_of(stream, path), start=1):
            text = decoded(line, path, number)
            if text.strip():
                yield number, parse_json(text.rstrip("\r\n"), path, number)


def lines_of(stream: BinaryIO, path: Path | str) -> Iterator[bytes]:
    """The lines from where the stream stands on, with their ends.

    Raises:
        JsonError: One has more than `RECORD` bytes.
    """
    number = 0
    while line := stream.readline(RECORD + 1):
        number += 1
        if len(line) > RECORD:
            what = looks_like(line[:64])
            what = f"it is {what}" if what else "a file of many lines is expected"
            raise JsonError(f"{path} line {number}: has more than {RECORD >> 20} MiB: {what}; name another file")
        yield line


def parse_json(text: str, path: Path | str, first_line: int = 1) -> Any:
    """Parse JSON text that was read from ``path``, where it begins on line ``first_line``."""
    try:
        value = DECODER.decode(text)
        refuse_deep(value, text)
        return value
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        what = (
            "" if text[: error.pos].strip() else looks_like(text[error.pos : error.pos + 64].encode("utf-8", "replace"))
        )
        reason = f"not JSON but {what}; name another file" if what else ""
        if text[: error.pos].rstrip().endswith(",") and text[error.pos : error.pos + 1] in ("]", "}"):
            reason = "not JSON: a comma before the bracket that ends a list or object; take it out"
        if error.msg == "Extra data" and text[error.pos : error.pos + 1] == "[":
            reason = f"a second list after the first; make one of them: jq -s add {path} > NEW.json"
        if text[error.pos : error.pos + 1] == "'":
            reason = "Python's notation with single quotes, not JSON; save it with json.dump"
        reason = reason or f"not JSON ({error.msg}); correct the file or make it again"
        raise JsonError(f"{path} line {line} column {error.colno}: {reason}") from None
    except _Constant as error:
        line = first_line + _line_of_constant(text)
        raise JsonError(f"{path} line {line}: {error}") from None
    except _DuplicateKey as error:
        raise JsonError(f"{path} line {_lines(text, first_line)}: {error}") from None
    except (ValueError, RecursionError) as error:
        where = f"{path} line {_lines(text, first_line)}"
        raise JsonError(f"{where}: not usable JSON ({one_line(error)}); correct it") from None


def refuse_deep(value: Any, text: str, start: int = 0, end: int | None = None) -> None:
    """Raise a ValueError if a value, read from this stretch of a text, is nested deeper than `DEPTH`."""
    end = len(text) if end is None else end
    if text.count("[", start, end) + text.count("{", start, end) <= DEPTH:
        return  # most are known without a look
    level = [value]
    for _ in range(DEPTH):
        inner = [one for one in level if isinstance(one, (list, dict))]
        level = [one for held in inner for one in (held.values() if isinstance(held, dict) else held)]
    if any(isinstance(one, (list, dict)) for one in level):
        raise ValueError(f"nested deeper than {DEPTH} levels")


def write_json(path: Path | str, value: Any) -> None:
    """Write a JSON file (indented, UTF-8) in one step; the folder is made if need be.

    Raises:
        JsonError: The value is no JSON (NaN and Infinity included) or the file cannot be written.
    """
    write_text(path, json_text(path, value, indent=1) + "\n")


def write_json_lines(path: Path | str, values: Iterable[Any]) -> None:
    """Write a JSON-lines file, one value a line, in one step; errors as :func:`write_json`."""
    write_text(path, "".join(json_text(path, value) + "\n" for value in values))


def append_json_lines(path: Path | str, values: Iterable[Any]) -> None:
    """Append values to a JSON-lines file, each as one whole line that is on disk when this returns.

    A last line without its newline is what a crash left: it is closed if it is JSON, else removed, before appending.

    Raises:
        JsonError: As :func:`write_json`.
    """
    path = Path(path)
    lines = "".join(json_text(path, value) + "\n" for value in values).encode("utf-8")
    with errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            _close_last_line(stream)
            stream.write(lines)
            stream.flush()
            os.fsync(stream.fileno())


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 file in one step: readers see the old content or the new, never a part.

    Raises:
        JsonError: The file cannot be written.
    """
    with whole_file(path) as part:
        part.write_bytes(text.encode("utf-8"))


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """A file to write, beside the path; it takes the path's place, on the disk, when the block ends without an error.

    Raises:
        JsonError: The file cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link is written through, not replaced
    part = path.parent / f".{path.name}.part"  # of a killed process too: it is written anew
    with errors_named(path, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            force_to_disk(part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def json_text(path: Path | str, value: Any, indent: int | None = None) -> str:
    """A value as it is to be written to the path.

    Raises:
        JsonError: The value is no JSON (NaN, Infinity and half characters included).
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
        text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:  # a lone surrogate is a ValueError too
        raise JsonError(f"{path}: cannot be written as JSON: {one_line(error)}; nothing was written") from None
    return text


def _close_last_line(stream: Any) -> None:
    """Make the stream end after a newline, at the place to append to."""
    end = stream.seek(0, os.SEEK_END)
    tail, start = b"", end
    while start > 0 and b"\n" not in tail:
        block = min(start, 1 << 16)
        start -= block
        stream.seek(start)
        tail = stream.read(block) + tail
    last = tail[tail.rfind(b"\n") + 1 :]
    if not last:
        return
    try:
        json.loads(last)
        stream.write(b"\n")
    except ValueError:
        stream.truncate(end - len(last))


class _Constant(Exception):
    pass


class _DuplicateKey(Exception):
    pass


def _refuse_constant(name: str) -> None:
    raise _Constant(f"{name} is not a number; use null or leave the key out")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _DuplicateKey(f"key {twice!r} twice in an object; keep one")
    return found


# As strict as `parse_json`, one value at a time; what it raises is in JSON_FAULTS.
DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
VALUE_FAULTS = (_Constant, _DuplicateKey)  # of a value that ends where it should
JSON_FAULTS = (ValueError, RecursionError, *VALUE_FAULTS)


def _line_of_constant(text: str) -> int:
    """Number of newlines before the first NaN or Infinity outside a string."""
    for match in _STRING_OR_CONSTANT.finditer(text):
        if not match.group().startswith('"'):
            return text.count("\n", 0, match.start())
    return 0


def _lines(text: str, first_line: int) -> str:
    """Where a fault lies that the parser gives no position for."""
    last = first_line + text.rstrip("\n").count("\n")
    return str(first_line) if last == first_line else f"{first_line} to {last}"
