"""Checked access to a record's JSON object: every fault of it is noted, so that all of them can be listed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from artquant.config.requirements import LARGEST
from artquant.errors import ArtQuantError


class RecordError(ArtQuantError):
    """A record that is not as the contract says; the message names file, record number and id."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a record."""

    kind: str  # of `artquant.check.findings.KINDS`
    key: str  # at fault; empty: the record as a whole
    message: str  # what is wrong; what to do


class Fields:
    """The keys of one record. What is asked for and at fault is noted in `faults` and read as if it were not there.

    Args:
        item: The value as JSON gives it; anything but an object is a fault and reads as an object without keys.
        source: What errors call it, such as "file.json record 17".
    """

    def __init__(self, item: Any, source: str) -> None:
        self.source = source
        self.faults: list[Fault] = []
        self.item: dict[str, Any] = item if isinstance(item, dict) else {}
        self.is_object = isinstance(item, dict)
        if not self.is_object:
            self.fault("", f"expected an object, got {kind_of(item)}; see the record format")

    def fault(self, key: str, message: str, kind: str = "record") -> None:
        """Note a fault."""
        self.faults.append(Fault(kind, key, message))

    @property
    def name(self) -> str:
        """The source, with the record's id where it has one."""
        identity = self.item.get("id")
        return f"{self.source} (id {str(identity)[:200]!r})" if isinstance(identity, (str, int)) else self.source

    def refuse(self) -> None:
        """Raise the first fault as a RecordError, if there is one."""
        if self.faults:
            raise RecordError(f"{self.name}: {self.faults[0].message}")

    def get(self, key: str) -> Any:
        """A value that must be there; None, with a fault, where it is not."""
        value = self.item.get(key)
        if value is None and self.is_object:
            self.fault(key, f'key "{key}" {"is null" if key in self.item else "is missing"}; add it to the record')
        return value

    def text(self, key: str) -> str:
        """Text that must be there, empty where it is at fault."""
        value = self.get(key)
        return "" if value is None else self.text_of(key, value)

    def optional_text(self, key: str) -> str | None:
        """Text, or None."""
        value = self.item.get(key)
        return None if value is None else self.text_of(key, value)

    def text_of(self, key: str, value: Any) -> str:
        """A value as text, empty where it is at fault."""
        if not isinstance(value, str):
            self.fault(key, f'"{key}" must be text, got {kind_of(value)}; correct the record')
        elif not value.strip():
            self.fault(key, f'"{key}" is empty; fill it in')
        elif self.is_unicode(key, value):
            return value
        return ""

    def is_unicode(self, key: str, value: str) -> bool:
        """Whether a text has no half characters: JSON has room for them, neither files nor tokenizers take them."""
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            self.fault(key, f'"{key}" holds half a character (a lone surrogate such as \\ud800); correct the text')
            return False
        return True

    def id(self) -> str:
        """The id, which may be a whole number."""
        value = self.item.get("id")
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else self.text("id")

    def id_or_image(self) -> str:
        """The id; without one, the picture's name."""
        return self.text("image") if self.item.get("id") is None else self.id()

    def picture_name(self) -> str | None:
        """The picture's name, where it says one."""
        value = self.item.get("image")
        return value if isinstance(value, str) and value.strip() else None

    def number(self, key: str, kind: str = "record") -> float | None:
        """A finite number, or None."""
        value = self.item.get(key)
        return None if value is None else self._finite(key, value, f'"{key}"', kind)

    def numbers(self, key: str, kind: str = "record") -> tuple[float, ...] | None:
        """A list of finite numbers, or None."""
        value = self.item.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            self.fault(key, f'"{key}" must be a list of numbers, got {kind_of(value)}; correct the record', kind)
            return None
        places = (self._finite(key, entry, f'"{key}" entry {place}', kind) for place, entry in enumerate(value, 1))
        found = [number for number in places if number is not None]
        return tuple(found) if len(found) == len(value) else None

    def object(self, key: str) -> dict[str, Any]:
        """An object, without keys where there is none."""
        value = self.item.get(key, {})
        if not isinstance(value, dict):
            self.fault(key, f'"{key}" must be an object, got {kind_of(value)}; correct the record')
            return {}
        return value

    def named_numbers(self, key: str) -> dict[str, float]:
        """An object of finite numbers, without keys where there is none."""
        named = {
            name: self._finite(key, value, f'"{key}" of {name!r}')
            for name, value in self.object(key).items()
            if self.is_unicode(key, name)
        }
        return {name: number for name, number in named.items() if number is not None}

    def _finite(self, key: str, value: Any, what: str, kind: str = "record") -> float | None:
        number = number_of(value)
        if number is None:
            self.fault(key, f"{what} must be a number, got {kind_of(value)}; correct the record", kind)
            return None
        if not abs(number) <= LARGEST:
            reason = f"is beyond {LARGEST:g}" if math.isfinite(number) else "is not finite"
            self.fault(key, f"{what} {reason}; correct the record", kind)
            return None
        return number

    def std(self) -> float | None:
        """The standard deviation "std", or None."""
        std = self.number("std", "std")
        if std is not None and std < 0:
            self.fault("std", f'"std" {std:g} is negative; correct the record', "std")
        return std


def number_of(value: Any) -> float | None:
    """A number of JSON, or one written as text in plain decimal notation (Q-Align's lists); None: it is none.

    One too large for a float is infinite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and "_" in value:  # as Python's own notation has it
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:
        return math.inf


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
