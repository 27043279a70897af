"""JSON that is neither a list of records nor a record a line: what it is, and the command that makes one of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from artquant.errors import visible

_KEYS = 5  # that are named


def form_of_text(text: str, path: Path | str) -> str:
    """What a text is that begins with an object and is not JSON lines; empty: not even that.

    Args:
        text: Of the whole file.
        path: Of the file, for the command.
    """
    text = text.lstrip("\ufeff \t\r\n")
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict):
        return ""
    if rest := text[end:].lstrip():
        if not rest.startswith("{"):
            return (
                f"JSON objects with {rest[0]!r} between them and no brackets around; put them into a list: "
                f"(echo '['; cat {path}; echo ']') > NEW.json"
            )
        return (
            "JSON objects one after the other, with nothing between them or over several lines; put each on a line: "
            f"jq -c . {path} > NEW.jsonl"
        )
    return form_of_object(value, path) or (
        f"one JSON object over several lines ({_keys(value)}), no JSON lines; put each record on a line: "
        f"jq -c . {path} > NEW.jsonl"
    )


def form_of_columns(value: dict[str, Any], path: Path | str) -> str:
    """What an object is that holds a list of values for each column, or an object of them by row; empty: another."""
    columns = list(value.values())
    rows = [
        held.keys() if isinstance(held, dict) else range(len(held))
        for held in columns
        if isinstance(held, (dict, list))
    ]
    if not len(rows) == len(columns) > 1 or len(rows[0]) < 2 or any(one != rows[0] for one in rows):
        return ""
    if isinstance(columns[0], dict) and list(rows[0]) != [str(number) for number in range(len(rows[0]))]:
        return ""
    return (
        f"one JSON object of columns ({_keys(value)}), not a list of records; make one of it: "
        f"python -c \"import pandas; pandas.read_json('{path}').to_json('NEW.json', orient='records')\""
    )


def form_of_object(value: dict[str, Any], path: Path | str) -> str:
    """What an object is that holds the records; empty: it may be a record itself."""
    lists = [key for key, held in value.items() if isinstance(held, list) and held and isinstance(held[0], dict)]
    what = f"one JSON object ({_keys(value)}), not a list of records"
    if lists:
        return f"{what}; take them out of it: jq '.[\"{visible(lists[0])}\"]' {path} > NEW.json"
    if len(value) > 1 and all(isinstance(held, dict) for held in value.values()):
        return f"{what}; make a list of it: jq 'to_entries | map({{image: .key}} + .value)' {path} > NEW.json"
    numbers = [isinstance(held, (int, float)) and not isinstance(held, bool) for held in value.values()]
    if all(numbers) and numbers:
        return f"{what}; make a list of it: jq 'to_entries | map({{image: .key, gt_score: .value}})' {path} > NEW.json"
    return ""


def _keys(value: dict[str, Any]) -> str:
    named = ", ".join(repr(visible(key)[:40]) for key in list(value)[:_KEYS])
    return f"with the keys {named}{', ...' if len(value) > _KEYS else ''}"
