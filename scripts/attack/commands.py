"""Attacks on what is asked for: configurations, settings and options."""

from __future__ import annotations

import argparse
import math
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from artquant.cli.parser import build_parser
from artquant.config.load import load_config
from artquant.errors import ArtQuantError, visible

from . import mutate
from .bench import Around, Outcome
from .effect import made, may_be_idle, usually_made
from .ground import Ground, working
from .inputs import disturb
from .judge import Case

_NEVER = ("", " ", "nan", "inf", "-inf", "9" * 400, "{}", "a=b", "12:30:45", "\x1b[31mred")  # of numbers and choices
_UNLIKELY = ("demo", "demo-base", "demo-data", "analyse", "describe", "familiar", "train")  # they compute, or draw


def _using(draw: random.Random, config: str) -> list[str]:
    """A command that reads a whole configuration."""
    checking, scoring = ["check", config, "--no-pictures"], ["infer", config, "--out", "out.jsonl"]
    planning, training = ["plan", config, "--memory", "4GiB"], ["train", config]
    return ["--quiet", *draw.choices((checking, scoring, training, planning), (6, 4, 3, 1))[0]]


def configurations(draw: random.Random, ground: Ground, folder: Path) -> Case:
    """A configuration with another value, key or form; or a setting beside it."""
    file = folder / "run.yaml"
    settings = yaml.safe_load(ground.config.read_text()) | {"output": str(folder / "runs")}
    settings["stages"][0]["max_steps"] = 1
    arguments = _using(draw, str(file))
    limit = {"train": 60.0, "plan": 240.0}.get(arguments[1], 10.0)  # that of a base that is not there: of 7B
    around = Around(limit=limit, folder=folder)
    text, (path, said) = yaml.safe_dump(settings, sort_keys=False), ((), None)
    way = draw.choices(("value", "override", "bomb", "bytes"), (5, 4, 1, 2))[0]
    if way == "value":
        text, path, said = _value(draw, settings)
        done = f"{'.'.join(map(str, path))}: {said!r}"
    elif way == "override":
        path, said = _setting(draw, settings)
        arguments.append(f"{'.'.join(map(str, path))}={said}")
        done = arguments[-1]
    elif way == "bomb":
        text, done = _bombs(draw, text)
    if path and path[-1] in ("max_steps", "epochs") and str(said) in mutate.LARGE:
        arguments[1:2] = ["check"] if arguments[1] == "train" else arguments[1:2]  # it would train as long as is asked
    file.write_text(text, encoding="utf-8")
    if way == "bytes":
        done = disturb(draw, file, (*mutate.BYTES, mutate.other_encoding, *mutate.THINGS, mutate.become_fifo))
    if done == "become_unreadable":
        folder.chmod(0o777)
        around = Around(as_nobody=True, limit=around.limit, folder=folder)
    overrides = arguments[3:] if way == "override" else []
    key = str(path[-1]) if path else "run.yaml"
    return Case(
        f"{arguments[1]}: {done}"[:200],
        arguments,
        (
            "run.yaml",
            str(ground.folder / "base"),
            key,
            ".".join(map(str, path)) or "run.yaml",
            str(said)[:30] or "run.yaml",
        ),
        lambda outcome: _taken(file, [one for one in overrides if "=" in one and not one.startswith("-")], path, said),
        around,
        excused=way == "bytes" and done != "wrong_format",  # other bytes may be another configuration
    )


def _value(draw: random.Random, settings: Any) -> tuple[str, tuple[Any, ...], str]:
    """The text with another value at a random place; None as the said value: never to be taken."""
    path = draw.choice([path for path in mutate.places(settings) if path])
    said = draw.choice(mutate.NUMBERS + mutate.WORDS)
    text = yaml.safe_dump(mutate.put(settings, path, "PLACE"), sort_keys=False, allow_unicode=True, width=10_000)
    # As a person would write it: without quotes where YAML needs none.
    return text.replace("PLACE", said if said.isprintable() else yaml.safe_dump(said).strip()), path, said


def _setting(draw: random.Random, settings: Any) -> tuple[tuple[Any, ...], str]:
    """A setting of the schema or of the file, and a value."""
    known = [path for path in mutate.places(settings) if path]
    schema = [path for path in _keys(_with_defaults(settings))]
    return draw.choice(draw.choice((known, schema))), draw.choice(mutate.NUMBERS + mutate.WORDS)


def _with_defaults(settings: dict[str, Any]) -> Any:
    """The run's configuration with all its settings."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(settings, file)
        file.flush()
        return load_config(Path(file.name))


def _keys(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every setting."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _keys(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple) and value and is_dataclass(value[0]):
        for number, one in enumerate(value):
            yield from _keys(one, (*path, number))
    elif path:
        yield path


def _bombs(draw: random.Random, text: str) -> tuple[str, str]:
    """YAML that grows, runs something or says a thing twice."""
    width, depth = draw.randint(5, 12), draw.randint(6, 30)
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    deep = draw.choice((500, 5_000, 50_000))
    choices = {
        "alias bomb": "\n".join(["a0: &a0 [x]", *levels, text]),
        "deep nesting": text + "deep: " + "[" * deep + "]" * deep + "\n",
        "object": text + "other: !!python/object/apply:os.mkdir [executed]\n",
        "twice": text + "seed: 3\n",
        "unknown key": text + f"{draw.choice(('sede', 'Seed', 'seed ', '1', 'x.y'))}: 3\n",
        "two documents": text + "---\n" + text,
        "merge of itself": text + "m: &m {<<: *m}\n",
        "long line": text + "run: " + "n" * draw.choice((300, 100_000)) + "\n",
        "control": text.replace("whole", "who\x07le"),
    }
    done = draw.choice(sorted(choices))
    return choices[done], done


def _taken(file: Path, overrides: list[str], path: tuple[Any, ...], said: str | None) -> bool:
    """Whether the configuration holds what its text says there."""
    if said is None:
        return file.is_file() and file.read_bytes() == b"{}"  # all of it as it is by default
    try:
        value: Any = load_config(file, overrides)
        for key in path:
            value = value[key if isinstance(value, (tuple, list, dict)) else 0] if not is_dataclass(value) else getattr(
                value, key)  # fmt: skip
    except (ArtQuantError, AttributeError, KeyError, IndexError, TypeError):
        return said == "null"  # a part that is left out
    return _as_said(value, said)


def _as_said(value: Any, said: str) -> bool:
    if is_dataclass(value):
        return said == "{}"  # all of it as it is by default
    if value is None or said in ("null", "[]", "{}", ""):
        return said in ("null", "") or (not value and said in ("[]", "{}")) or value is None
    if isinstance(value, bool):
        return said == str(value).lower()
    if isinstance(value, (int, float)):
        try:
            octal = said[0] == "0" and said.isdigit() and len(said) > 1
            number = int(said, 16) if said.startswith("0x") else float(said)
            return math.isfinite(value) and number == value and not octal
        except (ValueError, OverflowError):
            return False
    return str(value).endswith(said.strip()) or isinstance(value, tuple)


def commands(draw: random.Random, ground: Ground, folder: Path) -> Case:
    """A working command line with one or two options more, of any command, with any value."""
    parsers = {name: _innermost(parser) for name, parser in _below(build_parser("0")).items()}
    basis = working(ground, folder)
    name = draw.choice(sorted(basis))
    options = _options(parsers[name])
    everywhere = [option for parser in parsers.values() for option in _options(parser)]
    arguments, texts, never, may_be_nothing = list(basis[name]), [], False, True
    for _ in range(draw.choice((1, 1, 2))):
        if draw.random() < 0.08:
            texts.append(
                draw.choice((*mutate.WORDS[2:], "key=value", "--", "-x", "--no-such-option", str(ground.images)))
            )
            arguments.append(texts[-1])
            may_be_nothing &= texts[-1] == "--"
            continue
        option = draw.choice(options if draw.random() < 0.85 else everywhere)
        flag = draw.choice(option.option_strings)
        value = None if option.nargs == 0 else _option_value(draw, option, ground, folder)
        may_be_nothing &= may_be_idle(option, value, basis[name])
        texts.append(flag if value is None else f"{flag}={value}")
        arguments.append(texts[-1])
        empty = value in ("", " ") and option.dest != "separator"  # which may be
        never |= empty or (value in _NEVER and not _takes_text(option))

    def right(outcome: Outcome) -> bool:
        """Nothing was taken that is none, and something has come of it."""
        return not never and (may_be_nothing or made(outcome, folder) != usually_made(ground, name))

    named = [part for text in texts for part in (text, *text.split("="), visible(text))] + [name]
    what = f"{name} {' '.join(texts)}"
    return Case(repr(what)[1:200], ["--quiet", *arguments], [one[:40] for one in named if one.strip()], right,
                Around(folder=folder, limit=30 if name in ("plan", "export") else 10))  # fmt: skip


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a command's commands."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def _innermost(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Of a command of several, the first one's."""
    return next(iter(_below(parser).values()), parser)


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings and action.dest != "help"]


def _takes_text(option: argparse.Action) -> bool:
    try:
        return option.type in (None, Path) or bool(option.type("some words"))
    except (ArtQuantError, argparse.ArgumentTypeError, ValueError):
        return False


def _option_value(draw: random.Random, option: argparse.Action, ground: Ground, folder: Path) -> str:
    """A value for an option, seldom one that fits."""
    if option.type is Path and draw.random() < 0.6:
        fifo, other = folder / ".fifo", folder / ".text.txt"  # hidden: nothing that the command has made
        if not fifo.exists():
            os.mkfifo(fifo)
        other.write_text("a\nlast line")
        places = ("/dev/zero", "/dev/full", "gone/at/all", str(fifo), str(folder), str(other))
        return draw.choice((*places, str(ground.pictures[0]), str(ground.records("few")), "n" * 300))
    if option.choices and draw.random() < 0.4:
        return str(draw.choice(sorted(map(str, option.choices))))
    if option.dest == "device":
        return draw.choice(
            ("cpu:7", "cuda:99", "mps", "xpu", "meta", "cpu", "CPU", "hpu", "x", "", "cuda:-1", "cpu,cpu")
        )
    if draw.random() < 0.15:
        return ",".join(draw.choices(mutate.NUMBERS, k=draw.randint(2, 6)))
    return draw.choice(mutate.NUMBERS + mutate.WORDS)
