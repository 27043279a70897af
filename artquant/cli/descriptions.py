"""`artquant descriptions split|leaks`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from artquant.cli.terminal import say, say_json

if TYPE_CHECKING:
    from artquant.texts.descriptions import LevelsReport

EXCERPT = 30  # characters shown on either side of a leak


def run(arguments: argparse.Namespace) -> int:
    """Run one of the commands on descriptions; status 1 where leaks are found."""
    return _split(arguments) if arguments.action == "split" else _leaks(arguments)


def _split(arguments: argparse.Namespace) -> int:
    from artquant.texts.descriptions import split_descriptions
    from artquant.texts.questions import read_questions

    report = split_descriptions(
        arguments.structured,
        arguments.out,
        separator=arguments.separator.replace("\\n", "\n").replace("\\t", "\t"),
        seed=arguments.seed,
        subject=arguments.subject,
        questions=read_questions(arguments.questions) if arguments.questions else None,
    )
    say(f"{arguments.out}: {levels_line(report)}")
    return 0


def levels_line(report: LevelsReport) -> str:
    """How many descriptions there are of each level, and why they are fewer."""
    names = {1: "perception", 2: "cognition", 3: "emotion"}
    levels = [
        f"{count} of level {level}"
        + (f" ({report.pictures - count} without {names[level]})" if count < report.pictures else "")
        for level, count in report.by_level.items()
    ]
    return f"{report.pictures} pictures: {', '.join(levels)}"


def _leaks(arguments: argparse.Namespace) -> int:
    from artquant.texts.leaks import KINDS, find_leaks

    words = arguments.words
    counts, found, texts = dict.fromkeys(KINDS, 0), set(), 0
    for path in arguments.files:
        for number, identity, part, text in _texts(path):
            texts += 1
            for leak in find_leaks(text, words) if words else find_leaks(text):
                counts[leak.kind] += 1
                found.add((path, number))
                excerpt = " ".join(text[max(0, leak.start - EXCERPT) : leak.start + len(leak.text) + EXCERPT].split())
                if arguments.json:
                    line = {"file": str(path), "record": number, "id": identity, "part": part, "kind": leak.kind}
                    say_json(line | {"text": leak.text, "start": leak.start, "excerpt": excerpt})
                else:
                    say(f"{path} record {number} (id {identity!r}), {part}: {leak.kind} {leak.text!r} in {excerpt!r}")
    if not arguments.json:
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        say(f"{len(found)} records with leaks in {texts} texts" + (f": {kinds}" if kinds else ""))
    return 1 if found else 0


def _texts(path: Path) -> list[tuple[int, str, str, str]]:
    """Record number, id, part and text of every description in a file."""
    from artquant.errors import ArtQuantError
    from artquant.files.json_stream import iterate_records
    from artquant.texts.descriptions import description_texts

    found = []
    for number, (source, item) in enumerate(iterate_records(path), start=1):
        texts = description_texts(item, source)
        identity = str(item.get("id") or item.get("image") or number)
        found += [(number, identity, part, text) for part, text in texts]
    if not found:
        raise ArtQuantError(f"{path}: no descriptions in it; score records have none")
    return found
