"""What a user says about the form of annotation files, and what kind of text a file seems to be."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

BLANKS = " "  # as a delimiter: any number of blanks and tabs
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "blank": BLANKS, "equals": "=", "bar": "|", "colon": ":"}
_NAMES = {delimiter: name for name, delimiter in DELIMITERS.items()}
_SEEN = 20  # lines that are looked at

_TEXTS = (  # of lines that are no table, with what they are and what to do
    (
        re.compile(r"---\s*$|- [\w'\"]+:|[\w.-]+:(\s|$)"),
        'YAML: python -c "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)" < FILE > NEW.json '
        "makes JSON of it",
    ),
    (re.compile(r"\|.*\|\s*$"), "a table in Markdown; save it as CSV"),
    (re.compile(r"#+ "), "a text in Markdown, or a table under remarks; take out what is no table"),
    (re.compile(r"\[[\w .-]+\]\s*$"), "settings (INI or TOML); save the table as CSV or JSON"),
    (re.compile(r"sep=.?$"), "a table under the line 'sep=' of Excel; take that line out: tail -n +2 FILE > NEW.csv"),
    (re.compile(r"//|/\*"), "JSON or program code with remarks (//, /* */); take them out"),
    (
        re.compile(r"(import|from) [\w.]+|def |((var|let|const) )?\w+ ?= [\[{]"),
        "program code; save the table in it as CSV or JSON",
    ),
    (re.compile(r"\\(begin|documentclass)|%"), "LaTeX; save the table as CSV"),
)


@dataclass(frozen=True)
class TableForm:
    """The form of the files, as far as they do not say it themselves."""

    encoding: str | None = None  # of text; None: UTF-8, else Latin-1
    delimiter: str | None = None  # between columns of text; None: a comma
    header: bool = True  # the first row names the columns; otherwise they are called 1, 2, ...
    sheet: str | None = None  # of a workbook


def fields(line: str, delimiter: str) -> list[str]:
    """The columns of one line without quoted line ends."""
    if delimiter == BLANKS and '"' not in line:
        return line.split()
    if delimiter == BLANKS:
        return next(csv.reader([line.strip().expandtabs(1)], delimiter=" ", skipinitialspace=True), [])
    return next(csv.reader([line], delimiter=delimiter), [])


def hint_of_form(lines: list[str], form: TableForm) -> str:
    """What the first lines of a text seem to be, where they are no table of the form that was said; else nothing."""
    lines = [line.rstrip("\r\n") for line in lines if line.strip()][:_SEEN]
    if not lines:
        return ""
    used = form.delimiter or ","
    if text := next((what for pattern, what in _TEXTS if pattern.match(lines[0].strip())), ""):
        return f"it seems to be {text}"
    told = [] if _columns(lines, used) > 1 else [name for mark, name in _NAMES.items() if _columns(lines, mark) > 1]
    if used == "," and _columns(lines, ";") > 1:
        empty = all(not fields(line, ";")[-1].strip() for line in lines)
        if empty and _columns(lines, ";") == 2:
            return "each line ends in a semicolon: take these off (sed 's/;*\\r*$//' FILE > NEW.csv)"
        told = ["semicolon"]
    if told:
        return f"the columns seem to lie between {_plural(told[0])}: add --delimiter {told[0]}"
    if form.header and any(_is_number(field) for field in fields(lines[0], used)):
        return "its first line seems to be data: add --no-header, and name columns by their number"
    return ""


def _columns(lines: list[str], delimiter: str) -> int:
    """The number of columns if all lines have as many; else 0."""
    if delimiter == BLANKS and any("," in line for line in lines):
        return 0
    try:
        counts = {len(fields(line, delimiter)) for line in lines}
    except csv.Error:
        return 0
    return counts.pop() if len(counts) == 1 else 0


def _plural(name: str) -> str:
    return {"equals": "equals signs"}.get(name, f"{name}s")


def _is_number(text: str) -> bool:
    try:
        float(text.strip().replace(",", "."))
    except ValueError:
        return False
    return True
