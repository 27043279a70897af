"""What several commands take, and what they make of it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from artquant.config.schema import Loading
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.texts.prompt import UNIPERCEPT_TASKS

Arguments: TypeAlias = "argparse.ArgumentParser | argparse._ArgumentGroup"


def named_scale(words: Sequence[str], weights: Sequence[float]) -> RatingScale:
    """The rating words with the scores that --weights says.

    Raises:
        ArtQuantError: They do not fit the words, or do not fall.
    """
    try:
        return RatingScale(tuple(words), tuple(weights))
    except ArtQuantError as error:
        raise ArtQuantError(f"--weights: {error}") from None


def range_of(values: Sequence[float] | None, flag: str) -> tuple[float, float] | None:
    """Two rising numbers that a flag gives; None where it is not given. Raises ArtQuantError: they are others."""
    if values is None:
        return None
    if len(values) != 2 or not -math.inf < values[0] < values[1] < math.inf:
        raise ArtQuantError(f"{flag} takes two rising numbers LO,HI, got {','.join(f'{value:g}' for value in values)}")
    return values[0], values[1]


def refuse_given(arguments: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Refuse settings that do not belong together. Raises ArtQuantError: one of those names is given."""
    for name in names:
        value = vars(arguments)[name]
        if value is not None and value is not False and value != []:
            flag = "key=value" if name == "overrides" else f"--{name.replace('_', '-')}"
            raise ArtQuantError(f"{flag} {why}")


def named_prompt(arguments: argparse.Namespace) -> str | None:
    """The prompt that the command line names, if it does. Raises ArtQuantError: it names two."""
    if arguments.task is None:
        return arguments.prompt
    if arguments.prompt is not None:
        raise ArtQuantError("--task names a prompt of UniPercept's; leave out --prompt")
    return f"unipercept-{arguments.task}"


def given_loading(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings of `Loading` that the command line gives."""
    named = {field.name: vars(arguments)[field.name] for field in fields(Loading)}
    return {name: value for name, value in named.items() if value not in (None, False)}


def add_config(command: argparse.ArgumentParser, required: bool) -> None:
    """A configuration, by its option or as the first word, and settings; `settle_config` tells which is which."""
    command.add_argument("--config", type=Path, metavar="YAML", help="configuration file (or the first word without =)")
    command.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the file's")
    command.set_defaults(needs_config=required)


def settle_config(arguments: argparse.Namespace) -> None:
    """Take the configuration from among the settings, where it stands there.

    Raises:
        ArtQuantError: it is named twice, or not at all where it is needed.
    """
    for word in [word for word in arguments.overrides if "=" not in word]:
        if arguments.config is not None:
            raise ArtQuantError(f"{word!r} is neither a setting (key=value) nor needed: --config {arguments.config}")
        arguments.config = Path(word)
        arguments.overrides.remove(word)
    if arguments.needs_config and arguments.config is None:
        raise ArtQuantError("name a configuration: --config YAML; the repository has some in configs/")


def add_folder(command: Arguments, required: bool) -> None:
    add = command.add_argument
    add("--model", type=Path, required=required, metavar="MODEL", help="folder, owner/name[@revision] or short name")
    add("--base", type=Path, metavar="MODEL", help="base model: of a LoRA run, or with a missing tokenizer")
    add("--allow-other-base", action="store_true", help="put a LoRA run over a base of other weights")
    add("--device", help="auto, cpu, cuda, cuda:N, mps (default auto)")
    _loading(command)


def add_model(command: argparse.ArgumentParser, required: bool) -> None:
    add_folder(command, required)
    command.add_argument("--anyway", action="store_true", help="also ask what the model was not trained on")
    command.add_argument("--prompt", help="name of the prompt (default: the model's own)")
    command.add_argument(
        "--task", choices=UNIPERCEPT_TASKS, help="UniPercept's question: aesthetics, quality, or structure and texture"
    )
    command.add_argument(
        "--weights", type=comma_numbers, metavar="W,W,...", help="scores of the rating words, best first"
    )
    command.add_argument(
        "--range",
        type=comma_numbers,
        metavar="LO,HI",
        help="a data set's range, onto which the model's is mapped linearly",
    )


def _loading(command: Arguments) -> None:
    """A flag for each setting of `Loading`; None or false where it is not given."""
    for field in fields(Loading):
        flag, hint = f"--{field.name.replace('_', '-')}", get_type_hints(Loading)[field.name]
        if hint is bool:
            command.add_argument(flag, action="store_true", help=field.metadata["help"])
        else:
            kinds = [hint, *get_args(hint)]
            choices = next(get_args(kind) for kind in kinds if get_origin(kind) is Literal)
            default = "" if field.default is None else f" (default {field.default})"
            command.add_argument(flag, choices=choices, help=field.metadata["help"] + default)


def add_attributes(command: argparse.ArgumentParser) -> None:
    command.add_argument("--attributes", action="store_true", help="also the attributes the model was trained on")
    command.add_argument(
        "--attribute", action="append", default=[], metavar="NAME", help="also this attribute (may be repeated)"
    )


def add_question(command: argparse.ArgumentParser, help: str) -> None:
    command.add_argument("--question", metavar="TEXT", help=help)
    command.add_argument("--max-new-tokens", type=int, default=512, help="longest text (default %(default)s)")


def comma_numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def comma_names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))
