"""Conditions on the columns of results: `score > 7 and attribute:Color >= 5`. Parsed; nothing of it is run as code."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artquant.data.fields import number_of
from artquant.errors import ArtQuantError

_COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_TOKEN = re.compile(r"\s*(?:'([^']+)'|\"([^\"]+)\"|(>=|<=|==|!=|[<>=])|([^\s<>=!'\"]+))")
_FORM = "write it as: score > 7 and std < 1 or 'attribute:Color Harmony' >= 5"


@dataclass(frozen=True)
class _Comparison:
    column: str
    compared: Callable[[float, float], bool]
    number: float

    def holds(self, row: Mapping[str, Any]) -> bool:
        value = row.get(self.column)
        return isinstance(value, (int, float)) and self.compared(value, self.number)


@dataclass(frozen=True)
class Where:
    """Comparisons of columns with numbers, `and` before `or`; a row without the column does not meet one."""

    text: str
    alternatives: tuple[tuple[_Comparison, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Where:
        """A condition.

        Raises:
            ArtQuantError: it is none, with the form that one has.
        """
        tokens = list(_tokens(text))
        alternatives: list[list[_Comparison]] = [[]]
        for place in range(0, len(tokens), 4):
            alternatives[-1].append(_comparison(tokens[place : place + 3], text))
            joint = tokens[place + 3 : place + 4]
            if joint and (joint[0] not in ("and", "or") or place + 4 == len(tokens)):
                raise _fault(text)
            if joint == ["or"]:
                alternatives.append([])
        if not tokens:
            raise _fault(text)
        return cls(text, tuple(map(tuple, alternatives)))

    def require_columns(self, names: Sequence[str]) -> None:
        """Raise an ArtQuantError about a column that is none of these."""
        for one in (one for joint in self.alternatives for one in joint):
            if one.column not in names:
                raise ArtQuantError(f"--where {self.text}: no column {one.column!r}; there are {', '.join(names)}")

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether a row meets it."""
        return any(all(one.holds(row) for one in joint) for joint in self.alternatives)


def _tokens(text: str) -> Iterator[str]:
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise _fault(text)
        place = found.end()
        yield next(one for one in found.groups() if one is not None)


def _comparison(tokens: Sequence[str], text: str) -> _Comparison:
    number = number_of(tokens[2]) if len(tokens) == 3 else None
    if number is None or math.isnan(number) or tokens[1] not in _COMPARED or tokens[0] in _COMPARED:
        raise _fault(text)
    return _Comparison(tokens[0], _COMPARED[tokens[1]], number)


def _fault(text: str) -> ArtQuantError:
    return ArtQuantError(f"--where {text!r}: is no condition; {_FORM}")
