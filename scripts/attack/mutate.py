"""What can happen to a file: to its bytes, to the values in it, to the thing that stands under its name."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LARGE = ("9" * 400, "99999999999", "1e300")
# Texts that are no value of any setting, by what they are.
NUMBERS = ("-1", "0", "nan", "inf", "-inf", "1e300", "1e-300", "9" * 400, "99999999999", "-99999999999", "0.5", "1_000")
WORDS = ("", " ", "x", "true", "null", "[]", "{}", "a=b", "12:30:45", "017", "0x1F", "\x1b[31mred", "n" * 300, "é", "/")


class _Executes:
    """Would make a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


# --- bytes ---


def _place(draw: random.Random, data: bytes) -> int:
    return draw.randrange(len(data)) if data else 0


def flip_bits(draw: random.Random, data: bytes) -> bytes:
    """One to eight bits somewhere."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 8) if changed else 0):
        changed[_place(draw, data)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(draw: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: _place(draw, data)]


def zero_end(draw: random.Random, data: bytes) -> bytes:
    """The end is zeros, as after a power cut or in a file laid out before its download."""
    kept = _place(draw, data)
    return data[:kept] + bytes(len(data) - kept)


def zero_range(draw: random.Random, data: bytes) -> bytes:
    """A range in the middle is zeros."""
    start = _place(draw, data)
    end = min(len(data), start + draw.choice((1, 16, 512, 4096)))
    return data[:start] + bytes(end - start) + data[end:]


def drop_range(draw: random.Random, data: bytes) -> bytes:
    """A range in the middle is gone."""
    start = _place(draw, data)
    return data[:start] + data[start + draw.choice((1, 16, 512)) :]


def repeat_range(draw: random.Random, data: bytes) -> bytes:
    """A range stands there twice."""
    start = _place(draw, data)
    return data[:start] + data[max(0, start - draw.choice((1, 16, 512))) :]


def append(draw: random.Random, data: bytes) -> bytes:
    """Something behind the end."""
    return data + draw.choice((b"\0" * 64, b"x", data[: draw.randint(1, 200)], draw.randbytes(50)))


def other_encoding(draw: random.Random, data: bytes) -> bytes:
    """The same text in another encoding, or with bytes that are no text."""
    text = data.decode("utf-8", "replace")
    spoiled = data[: _place(draw, data)] + b"\xff\xfe\x80" + data[_place(draw, data) :]
    return draw.choice((text.encode("utf-16"), text.encode("utf-32"), spoiled))


def wrong_format(draw: random.Random, data: bytes) -> bytes:
    """Another kind of file under this one's name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", data)
    others = (b"", b"\n", b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n", gzip.compress(data))
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 100\n"
    more = (
        packed.getvalue(),
        pickle.dumps(_Executes()),
        pointer,
        b"%PDF-1.4\n",
        b"\x89PNG\r\n\x1a\n" + draw.randbytes(60),
    )
    return draw.choice((*others, *more, draw.randbytes(300), b"[" * 100_000, b"null", b'"text"', b"{}", b"[]"))


LOSSES = (cut, zero_end, zero_range, drop_range)
BYTES = (flip_bits, repeat_range, append, *LOSSES, wrong_format)


# --- values ---


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a JSON or YAML value."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """What stands at a path."""
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The value with another thing at a path (the value itself is changed)."""
    if not path:
        return new
    at(value, path[:-1])[path[-1]] = new
    return value


def wrong_type(draw: random.Random, old: Any) -> Any:
    """A value that no reader may take for one of the old value's type."""
    others: list[Any] = [{"a": 1}, ["x"], {}, [[[]]]]
    if not isinstance(old, str):
        others += ["text", ""]
    if not isinstance(old, (bool, int, float)):
        others += [7, -1.5, True]
    elif not isinstance(old, bool):
        others += [float("nan"), float("inf"), -(10**12), 10**400, 1e300]
    if isinstance(old, dict):
        others = [["x"], "text", 7, True, [[[]]]]
    if isinstance(old, list):
        others = [{"a": 1}, "text", 7, True]
    return draw.choice(others)


def wrong_json(draw: random.Random, data: bytes, deep: bool = True) -> bytes:
    """Another type, an extreme number or a missing key at a random place; data that is no JSON is cut."""
    try:
        lines = [json.loads(data)]
        whole = True
    except ValueError:
        try:
            lines, whole = [json.loads(line) for line in data.splitlines()], False
        except ValueError:
            return cut(draw, data)
    path = draw.choice([path for path in places(lines) if len(path) > (0 if whole else 1)])
    if draw.random() < 0.2 and isinstance(at(lines, path[:-1]), dict):
        del at(lines, path[:-1])[path[-1]]
    else:
        new = wrong_type(draw, at(lines, path))
        if deep and draw.random() < 0.05:
            new = "DEEP"
        put(lines, path, new)
    text = "\n".join(json.dumps(line, indent=1 if whole else None) for line in lines)
    depth = draw.choice((900, 20_000, 200_000))
    return text.replace('"DEEP"', "[" * depth + "]" * depth).encode()


# --- what stands under a name ---


def remove(draw: random.Random, path: Path) -> None:
    path.unlink()


def become_folder(draw: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_fifo(draw: random.Random, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_device(draw: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(draw.choice(("/dev/zero", "/dev/full", "/dev/urandom", "/dev/null", "/dev/tty")))


def become_loop(draw: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name if draw.random() < 0.5 else "gone")


def become_neighbour(draw: random.Random, path: Path) -> None:
    """Another file of the same folder under this one's name."""
    others = [other for other in sorted(path.parent.iterdir()) if other != path and other.is_file()]
    if others:
        shutil.copyfile(draw.choice(others), path)


def become_unreadable(draw: random.Random, path: Path) -> None:
    """For all but root: the case is to be run as nobody."""
    path.chmod(0)


THINGS: tuple[Callable[[random.Random, Path], None], ...] = (
    *(remove, become_folder, become_fifo, become_device, become_loop, become_neighbour, become_unreadable),
)


def rewrite(path: Path, change: Callable[[random.Random, bytes], bytes], draw: random.Random) -> bool:
    """Change a file's bytes; whether they are others now."""
    before = path.read_bytes()
    after = change(draw, before)
    path.write_bytes(after)
    return after != before


# --- names ---


def strange_name(draw: random.Random, suffix: str) -> bytes:
    """A file name that a shell, a terminal or an encoding does not like."""
    stems = (
        b"\xff\xfe\x80",
        b"\x1b[31mred\x1b[0m",
        b"two\nlines",
        b"-dash",
        b" ",
        b"'\"`$(touch executed)",
        b"a" * 240,
    )
    more = ("\u202egnp.exe".encode(), b"\x07\x08", "ü".encode("latin-1"), b"%s%n{0}", b"CON")
    return draw.choice((*stems, *more)) + suffix.encode()
