"""YAML and ``key=value`` overrides into frozen dataclasses, and back.

The loader knows no particular setting: what a key may be follows from the field's type. Every error is one line with
the file, or the override, and the dotted key.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from artquant.config.former import FORMER
from artquant.config.plain_yaml import YamlProblem, parse_file, parse_yaml
from artquant.config.schema import ConfigError, RunConfig
from artquant.errors import ArtQuantError
from artquant.files.json_files import write_text

Schema = TypeVar("Schema")

# YAML 1.1 reads 1e-4 as text: an exponent counts as a number there only after a decimal point.
_EXPONENT_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_LISTED_KEYS = 30  # at most so many alternatives are listed when nothing is similar


@typing.overload
def load_config(path: Path | str, overrides: Sequence[str] = ()) -> RunConfig: ...
@typing.overload
def load_config(path: Path | str, overrides: Sequence[str], schema: type[Schema]) -> Schema: ...
@typing.overload
def load_config(path: Path | str, overrides: Sequence[str] = (), *, schema: type[Schema]) -> Schema: ...
def load_config(path: Path | str, overrides: Sequence[str] = (), schema: type[Any] = RunConfig) -> Any:
    """Read a configuration.

    Args:
        path: The YAML file.
        overrides: ``dotted.key=value``, applied in order; the value is YAML. An entry of a list is addressed by its
            index (``stages.0.epochs=1``) or, where entries have a ``name``, by that (``stages.scores.epochs=1``).
        schema: The frozen dataclass to make. Its fields may be str, int, float, bool, Path, Literal, Optional, list,
            tuple, dict with text keys, and such dataclasses.

    Raises:
        ArtQuantError: Not YAML, an unknown or missing key, a value of the wrong type or beyond what the schema allows.
    """
    path = Path(path)
    tree, origins = _tree(path, overrides)
    try:
        return _convert(schema, tree, "")
    except ConfigError as error:
        raise ArtQuantError(f"{_where(path, error, origins)}: {error}") from None


def read_key(path: Path | str, overrides: Sequence[str], key: str) -> Any:
    """One value at the top of a configuration, before its schema is known; None where it is not there.

    Raises:
        ArtQuantError: As :func:`load_config`, for a file that is not usable YAML.
    """
    return _tree(Path(path), overrides)[0].get(key)


def convert(schema: type[Schema], values: Any, key: str) -> Schema:
    """Plain values below a key as a dataclass, with the loader's messages: settings whose class is known only later.

    Raises:
        ConfigError: An unknown or missing key, a value of the wrong type or beyond what the schema allows.
    """
    return _convert(schema, values, key)


def _tree(path: Path, overrides: Sequence[str]) -> tuple[dict[Any, Any], dict[str, str]]:
    """The file's keys and values with the overrides in place, and which override each of those is from."""
    tree = parse_file(path)
    if tree is None:  # an empty file: every key is missing or has its default
        tree = {}
    if not isinstance(tree, dict):
        raise ArtQuantError(f"{path}: expected keys and values at the top, got {_shown(tree)}; see configs/")
    origins: dict[str, str] = {}
    for override in overrides:
        origins.update(dict.fromkeys(_apply(tree, override), override))
    return tree, origins


def resolve(config: Any) -> Any:
    """A configuration as plain dicts, lists and scalars, defaults included, as :func:`save_config` writes it."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: resolve(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, dict):
        return {key: resolve(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [resolve(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def save_config(config: Any, path: Path | str) -> None:
    """Write a configuration as YAML in one step; :func:`load_config` with its class gives an equal one back.

    Raises:
        ArtQuantError: The file cannot be written.
    """
    write_text(path, yaml.safe_dump(resolve(config), sort_keys=False, allow_unicode=True, width=120))


# Overrides


def _apply(tree: dict[Any, Any], override: str) -> list[str]:
    """Set one override in the tree; returns the dotted keys that it made or set, list entries as indices."""
    dotted, sign, text = override.partition("=")
    keys = dotted.split(".")
    if not sign or not all(keys):
        raise ArtQuantError(f"override {override!r}: write it as dotted.key=value")
    try:
        value = parse_yaml(text)
    except YamlProblem as problem:
        raise ArtQuantError(f"override {override!r}: the value is not YAML: {problem}") from None
    place: Any = tree
    path: list[str] = []
    made: list[str] = []
    for depth, key in enumerate(keys):
        where = _step(place, key, override, ".".join(path))
        path.append(str(where))
        if depth == len(keys) - 1:
            place[where] = value
        else:
            if isinstance(place, dict) and place.get(where) is None:
                place[where] = {}
                made.append(".".join(path))
            place = place[where]
    return [*made, ".".join(path)]


def _step(place: Any, key: str, override: str, parent: str) -> str | int:
    """The key or index by which ``key`` is found in ``place``."""
    if isinstance(place, dict):
        return key
    if not isinstance(place, list):
        raise ArtQuantError(f"override {override!r}: {parent} is {_shown(place)} and has no key {key!r}")
    if key.isdecimal() and int(key) < len(place):
        return int(key)
    names = [str(entry.get("name")) if isinstance(entry, dict) and "name" in entry else None for entry in place]
    if key in names:
        return names.index(key)
    choices = [*map(str, range(len(place))), *filter(None, names)]
    raise ArtQuantError(f"override {override!r}: {parent} has no entry {key!r}; use {_alternatives(choices)}")


def _where(path: Path, error: ConfigError, origins: dict[str, str]) -> str:
    """The last override that set the key at fault or what contains it; else the file."""
    for origin, override in reversed(origins.items()):
        if error.key == origin or error.key.startswith(origin + "."):
            said = override.partition("=")[0] + "=..." if error.hidden else override
            return f"override {said!r} of {path}"
    return str(path)


# From plain values to typed ones


def _convert(hint: Any, value: Any, key: str) -> Any:
    """``value`` as the type ``hint``, or a ConfigError with the dotted ``key``."""
    if dataclasses.is_dataclass(hint):
        return _convert_dataclass(typing.cast("type[Any]", hint), value, key)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, key)
    if origin is Literal:
        return _convert_literal(arguments, value, key)
    if origin in (list, tuple):
        return _convert_sequence(origin, arguments, value, key)
    if origin is dict:
        return _convert_dict(arguments[1], value, key)
    return value if hint is Any else _SCALARS[hint](value, key)


def _convert_dataclass(schema: type[Any], value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong_type(key, "keys and values", value)
    try:
        value = FORMER[schema](value) if schema in FORMER else value
    except ConfigError as error:
        raise ConfigError(_joined(key, error.key), error.reason, error.hidden) from None
    fields = {field.name: field for field in dataclasses.fields(schema)}
    for name in value:
        if name not in fields:
            raise ConfigError(_joined(key, name), f"no such key; {_suggestion(str(name), list(fields))}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in value:
            raise ConfigError(_joined(key, name), "is missing; add it")
    hints = typing.get_type_hints(schema)
    settings = {name: _convert(hints[name], entry, _joined(key, name)) for name, entry in value.items()}
    try:
        return schema(**settings)
    except ConfigError as error:
        raise ConfigError(_joined(key, error.key), error.reason, error.hidden) from None
    except ArtQuantError as error:
        raise ConfigError(key, str(error)) from None


def _convert_union(hints: tuple[Any, ...], value: Any, key: str) -> Any:
    """Optional, or one of several types told apart by being a list or not."""
    if value is None and type(None) in hints:
        return None
    choices = [hint for hint in hints if hint is not type(None)]
    listed = [hint for hint in choices if typing.get_origin(hint) in (list, tuple)]
    if len(choices) > 1 and listed:
        choices = listed if isinstance(value, list) else [hint for hint in choices if hint not in listed]
    return _convert(choices[0], value, key)


def _convert_literal(choices: tuple[Any, ...], value: Any, key: str) -> Any:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    suggestion = _suggestion(value, [str(choice) for choice in choices]) if isinstance(value, str) else None
    raise _wrong_type(key, " or ".join(map(str, choices)), value, suggestion)


def _convert_sequence(origin: type[Any], hints: tuple[Any, ...], value: Any, key: str) -> Any:
    if not isinstance(value, list):
        raise _wrong_type(key, "a list", value)
    if origin is list or (len(hints) == 2 and hints[1] is Ellipsis):
        hints = (hints[0],) * len(value)
    elif len(value) != len(hints):
        raise ConfigError(key, f"expected a list of {len(hints)}, got {len(value)} entries; correct it")
    entries = enumerate(zip(hints, value, strict=True))
    return origin(_convert(hint, entry, _joined(key, index)) for index, (hint, entry) in entries)


def _convert_dict(hint: Any, value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong_type(key, "keys and values", value)
    for name in value:
        if not isinstance(name, str):
            raise ConfigError(_joined(key, name), "the key must be text; put it in quotes")
    return {_unicode(name, key): _convert(hint, entry, _joined(key, name)) for name, entry in value.items()}


def _unicode(value: Any, key: str) -> str:
    text = _text(value, key)
    if any("\ud800" <= character <= "\udfff" for character in text):  # as paths may hold that are no UTF-8
        raise ConfigError(key, f"holds half a character, got {text[:60]!r}; correct the text")
    return text


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        quote = None if isinstance(value, (dict, list, type(None))) else "put it in quotes"
        raise _wrong_type(key, "text", value, quote)
    return value


def _path(value: Any, key: str) -> Path:
    text = _text(value, key)
    if not text or "\0" in text:
        raise _wrong_type(key, "a path", value)
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(key, f"no home folder for {text!r}; write the path out") from None


def _truth(value: Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(key, "true or false", value)
    return value


def _whole_number(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(key, "a whole number", value)
    return value


def _number(value: Any, key: str) -> float:
    if isinstance(value, str) and _EXPONENT_NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong_type(key, "a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _wrong_type(key, "a finite number", value)
    return number


_SCALARS: dict[Any, Any] = {str: _unicode, Path: _path, bool: _truth, int: _whole_number, float: _number}


# Messages


def _wrong_type(key: str, expected: str, value: Any, advice: str | None = None) -> ConfigError:
    return ConfigError(key, f"expected {expected}, got {_shown(value)}; {advice or 'correct it'}")


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _suggestion(name: str, choices: list[str]) -> str:
    close = difflib.get_close_matches(name, choices, n=1)
    return f"did you mean {close[0]}?" if close else f"use {_alternatives(choices)}"


def _alternatives(choices: list[str]) -> str:
    listed = ", ".join(choices[:_LISTED_KEYS])
    return f"one of {listed}" + (", ..." if len(choices) > _LISTED_KEYS else "")


def _joined(key: str, name: object) -> str:
    name = " ".join(str(name).split())  # a YAML key may hold a newline, a message may not
    return f"{key}.{name}" if key and name else key or name
