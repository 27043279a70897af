"""What a process that was attacked has done: right, clear, or one of the faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .bench import Around, Outcome

# right: the undisturbed result. clear: status 2 and one line that names the file or option. found: taken at loading,
# but `artquant check MODEL` says it. other: a whole file that holds something else, unmarked (a JPEG has no checksum).
GOOD = ("right", "clear", "found", "other")
FAULTS = ("unclear", "traceback", "hang", "silent", "damaged", "executed")
VERDICTS = (*GOOD, *FAULTS)

_LINE = re.compile(r"^artquant( [\w-]+)*: error: .+$")
_RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]")  # control characters that a terminal would obey


@dataclass(frozen=True)
class Case:
    """One attack."""

    what: str  # the command and what was done, one line
    arguments: Sequence[str | bytes]
    names: Sequence[str]  # any of these in the error line will do
    right: Callable[[Outcome], bool]  # whether status 0 or 1 came with the undisturbed result
    around: Around = field(default_factory=Around)
    excused: bool = False  # what was done leaves a whole file of other content, that nothing in it gives away
    found: Callable[[], bool] = lambda: False  # whether the check of a model folder finds it
    harm: Callable[[], str] = lambda: ""  # what was done to files that are not ours


def judge(case: Case, outcome: Outcome) -> tuple[str, str]:
    """The verdict, and why where it is a fault."""
    if harm := case.harm():
        return "damaged", f"status {outcome.status}: {harm}"
    if outcome.hung:
        return "hang", f"still going on after {case.around.limit:g} s"
    if outcome.left_behind:
        return "hang", "it left processes behind"
    if "Traceback (most recent call last)" in outcome.error or outcome.status < 0 or outcome.status == 120:
        last = outcome.error.strip().splitlines()[-1:] or [f"status {outcome.status}"]
        return "traceback", f"status {outcome.status}: {last[0]}"
    if _RAW.search(outcome.error) or _RAW.search(outcome.output):
        return "unclear", f"control characters as they are: {_RAW.sub('#', (outcome.error + outcome.output))[-200:]!r}"
    if outcome.status == 2:
        return _refusal(case, outcome)
    if outcome.status in (0, 1) or (outcome.status == 141 and case.around.output == "closed"):
        if case.right(outcome):
            return ("right", "") if not outcome.error else ("unclear", f"beside the result: {outcome.error[-300:]!r}")
        if outcome.status == 1 and outcome.error.strip():  # pictures that were skipped, findings: said
            return "clear", ""
        if case.excused:
            return "other", ""
        return ("found", "") if case.found() else ("silent", f"status {outcome.status}: {outcome.output[-200:]!r}")
    return "unclear", f"status {outcome.status}: {outcome.error[-300:]!r}"


def _refusal(case: Case, outcome: Outcome) -> tuple[str, str]:
    error = outcome.error
    if error.startswith("usage:"):  # the parser's own form, with what was meant
        error = "\n".join(line for line in error.splitlines() if _LINE.match(line))
    lines = [line for line in error.split("\n") if line and not line.startswith("artquant: warning: ")]
    if len(lines) != 1 or not _LINE.match(lines[0]):
        return "unclear", f"{len(lines)} lines: {outcome.error[-400:]!r}"
    if not any(name and name in lines[0] for name in case.names):
        return "unclear", f"names none of {list(case.names)[:4]}: {lines[0][:300]}"
    return "clear", ""
