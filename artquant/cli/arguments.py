"""What several commands take, and what they make of it."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from artquant.cli.idle import flag_of, is_given
from artquant.config.requirements import LARGEST, ConfigError, require_device
from artquant.config.schema import Loading
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.texts.prompt import UNIPERCEPT_TASKS

DEVICES = "GPUs by number, or auto, cpu, mps"
LONGEST_TEXT = 512  # tokens, where nothing else is said

Arguments: TypeAlias = "argparse.ArgumentParser | argparse._ArgumentGroup"
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
AddCommand: TypeAlias = Callable[[Commands, str, str, str], argparse.ArgumentParser]  # name, module, help


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


def require_extra(extra: str, packages: Mapping[str, str]) -> None:
    """Raise an ArtQuantError where a package of an extra is not installed; packages: by the module that is imported."""
    missing = [name for module, name in packages.items() if find_spec(module) is None]
    if missing:
        raise ArtQuantError(f"{' and '.join(missing)} missing; pip install 'artquant[{extra}]'")


def secret_in(variable: str | None, flag: str) -> str | None:
    """What the environment variable holds that a flag names; raises ArtQuantError: nothing that a header can bear."""
    if variable is None:
        return None
    secret = os.environ.get(variable, "").strip()
    if not secret:
        raise ArtQuantError(f"{flag} {variable}: is not set in the environment; export it first")
    if not (secret.isascii() and secret.isprintable()):
        raise ArtQuantError(f"{flag} {variable}: has characters that no header can bear; name another")
    return secret


def refuse_given(arguments: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Refuse settings that do not belong together. Raises ArtQuantError: one of those names is given."""
    for name in names:
        if is_given(arguments, name):
            raise ArtQuantError(f"{flag_of(name)} {why}")


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


def device_names(names: tuple[str, ...]) -> list[str]:
    """Names as `Scorer` takes them; a number is a GPU's. Raises ArtQuantError: there is no such kind, or one twice."""
    devices = [f"cuda:{name}" if name.isdecimal() else name for name in names]
    try:
        for device in devices:
            require_device(device)
    except ConfigError as error:
        raise ArtQuantError(f"--devices: {error.reason}") from None
    if len(set(devices)) < len(devices):
        raise ArtQuantError("--devices: one is named twice; name each once")
    return devices


def add_config(command: argparse.ArgumentParser, required: bool) -> None:
    """A configuration, by its option or as the first word, and settings; `settle_config` tells which is which."""
    command.add_argument("--config", type=path, metavar="YAML", help="configuration file (or the first word without =)")
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
        arguments.config = path(word)
        arguments.overrides.remove(word)
    if arguments.needs_config and arguments.config is None:
        raise ArtQuantError("name a configuration: --config YAML; the repository has some in configs/")


def add_folder(command: Arguments, required: bool) -> None:
    add = command.add_argument
    add("--model", type=path, required=required, metavar="MODEL", help="folder, owner/name[@revision] or short name")
    add("--base", type=path, metavar="MODEL", help="base model: of a LoRA run, or with a missing tokenizer")
    add("--allow-other-base", action="store_true", help="put a LoRA run over a base of other weights")
    add("--device", type=device, help="auto, cpu, cuda, cuda:N, mps (default auto)")
    add_loading(command)


def add_model(command: argparse.ArgumentParser, required: bool) -> None:
    add_folder(command, required)
    command.add_argument("--anyway", action="store_true", help="also ask what the model was not trained on")
    command.add_argument("--prompt", type=text, help="name of the prompt (default: the model's own)")
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


def add_loading(command: Arguments) -> None:
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
        "--attribute",
        type=text,
        action="append",
        default=[],
        metavar="NAME",
        help="also this attribute (may be repeated)",
    )


def add_question(command: argparse.ArgumentParser, help: str) -> None:
    command.add_argument("--question", metavar="TEXT", help=help)
    command.add_argument("--max-new-tokens", type=whole(1, 100_000), help=f"longest text (default {LONGEST_TEXT})")


def _refused(what: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(what)


def text(said: str) -> str:
    """A text that says something, such as a name."""
    if not said.strip():
        raise _refused("is empty, as of a variable that is not set; give it, or leave the option out")
    return said


def path(said: str) -> Path:
    """A path; an empty one would be the current folder."""
    return Path(text(said))


def device(said: str) -> str:
    """The name of a device, whether it is there or not."""
    try:
        require_device(said)
    except ConfigError as error:
        raise _refused(error.reason) from None
    return said


def whole(least: int, most: int = 1_000_000) -> Callable[[str], int]:
    """A type of whole numbers within bounds."""

    def number(said: str) -> int:
        try:
            value = int(said)
        except ValueError:
            raise _refused(f"must be a whole number, got {said[:40]!r}") from None
        if not least <= value <= most:
            raise _refused(f"must be from {least} to {most}, got {said[:40]}")
        return value

    return number


def number(said: str, least: float = -LARGEST, most: float = LARGEST) -> float:
    """A finite number of a usable size."""
    try:
        value = float(said)
    except ValueError:
        raise _refused(f"must be a number, got {said[:40]!r}") from None
    if not least <= value <= most:
        raise _refused(f"must be from {least:g} to {most:g}, got {said[:40]}")
    return value


def fraction(said: str) -> float:
    """A share, 0 to 1."""
    return number(said, 0, 1)


def comma_numbers(said: str) -> list[float]:
    """Finite numbers between commas."""
    return [number(part) for part in said.split(",")]


def comma_names(said: str) -> tuple[str, ...]:
    """Names between commas, none of them empty."""
    return tuple(text(part).strip() for part in said.split(","))
