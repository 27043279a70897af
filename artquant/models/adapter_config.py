"""`adapter_config.json` by peft's own schema: what it says acts as in peft, or is refused by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from artquant.config.requirements import LARGEST
from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import read_json
from artquant.models.family import CheckpointError

if TYPE_CHECKING:
    from peft import LoraConfig

ADAPTER_CONFIG = "adapter_config.json"

_ACTING = (
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "use_dora", "lora_bias"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "target_parameters"),
    *("trainable_token_indices", "ensure_weight_tying", "modules_to_save", "bias", "fan_in_fan_out"),
    *("init_lora_weights", "eva_config"),
)
# Where an adapter comes from, and settings that act through another one only.
_WITHOUT_EFFECT = (
    *("peft_type", "peft_version", "task_type", "auto_mapping", "base_model_name_or_path", "revision"),
    *("inference_mode", "runtime_config", "megatron_core", "qalora_group_size"),
    *("loftq_config", "corda_config", "lora_ga_config"),
)
_OF_ANOTHER_PLACE = ("base_model_name_or_path", "revision", "runtime_config")
_ON_THE_BASE = (True, False, "gaussian", "eva", "orthogonal")  # ways to begin that leave the base as it is
# Ways that change it; peft does so again whenever such an adapter is laid over a base.
_BESIDE_THE_BASE = re.compile(r"olora|pissa(_niter_\d+)?")


def read_adapter_config(folder: Path) -> LoraConfig:
    """peft's configuration of a folder's adapter, without where its base lay.

    Raises:
        CheckpointError: it cannot be read, is of another kind than LoRA, or says what is not supported.
    """
    from peft import LoraConfig  # takes seconds, and only adapters need it

    file, values, hints = folder / ADAPTER_CONFIG, _values(folder), get_type_hints(LoraConfig)
    if values.get("peft_type") != "LORA":
        kind = values.get("peft_type")
        raise CheckpointError(f"{file}: peft_type {kind} is not supported, LORA is; merge it with peft first")
    defaults = {field.name: field.default for field in fields(LoraConfig)}
    for name, value in values.items():
        if name in (*_ACTING, *_WITHOUT_EFFECT) and name in defaults:
            continue
        if value and value != defaults.get(name, MISSING):
            whose = "is not supported" if name in defaults else "is not known to the peft that is installed"
            raise CheckpointError(f"{file}: {name} {whose}; merge it with a peft that knows it first")
    for name in _ACTING[: _ACTING.index("eva_config")]:  # which says how training began
        if name in values and name in hints and not _fits(hints[name], values[name]):
            raise CheckpointError(f"{file}: {name} is {one_line(repr(values[name]))}, which peft does not take")
    start = values.get("init_lora_weights", True)
    if start not in _ON_THE_BASE and not _BESIDE_THE_BASE.fullmatch(str(start)):
        raise CheckpointError(
            f"{file}: init_lora_weights {start!r} is not supported: it began over a base changed by more than the base "
            "tells, which this folder does not hold; save it again with peft's path_initial_model_for_weight_conversion"
        )
    kept = {name: value for name, value in values.items() if name in defaults and name not in _OF_ANOTHER_PLACE}
    try:
        config = LoraConfig(**kept)
        ranks = [config.r, *(config.rank_pattern or {}).values()]
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        raise CheckpointError(f"{file}: not a LoRA configuration ({one_line(error)})") from error
    odd = next((rank for rank in ranks if not isinstance(rank, int) or rank < 1), None)
    if odd is not None:
        raise CheckpointError(f"{file}: rank {odd!r} is no whole number above 0")
    return config


def patterns_in(config: LoraConfig) -> list[str]:
    """The regular expressions among an adapter's settings, as peft matches module names with them."""
    whole = [each for each in (config.target_modules, config.exclude_modules) if isinstance(each, str)]
    keys = [rf"(.*\.)?({key})$" for key in (*(config.rank_pattern or ()), *(config.alpha_pattern or ()))]
    kept = [rf"(^|.*\.){name}($|\..*)" for name in config.modules_to_save or ()]
    layers: Sequence[str] = config.layers_pattern or ()
    layers = [layers] if isinstance(layers, str) else layers
    return [*whole, *keys, *kept, *(rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\." for pattern in layers)]


def largest_rank(config: LoraConfig) -> int:
    """The largest rank that an adapter's settings name."""
    return max([config.r, *(config.rank_pattern or {}).values()])


def _fits(hint: Any, value: Any) -> bool:
    """Whether a JSON value is of a kind that peft's schema names; peft itself looks at few."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(one, value) for one in inner)
    if origin is Literal:
        return isinstance(value, (str, bool))  # looked at by its name
    if origin is list:
        return isinstance(value, list) and all(_fits(inner[0], one) for one in value)
    if hint in (int, float):  # scales may be fractions, whatever the schema says
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST
    if hint is dict or origin is dict:
        return isinstance(value, dict) and all(isinstance(one, list) or _fits(float, one) for one in value.values())
    return value is None if hint is type(None) else isinstance(hint, type) and isinstance(value, hint)


def changed_settings(folder: Path) -> set[str]:
    """What a folder's adapter says otherwise than peft's defaults, of all that acts on scores or training.

    Ways to begin that leave the base as it is are none of it: once an adapter is trained they do not matter.

    Raises:
        CheckpointError: see `read_adapter_config`.
    """
    from peft import LoraConfig

    config, plain = vars(read_adapter_config(folder)), vars(LoraConfig())
    changed = {name for name in _ACTING if name in plain and config[name] != plain[name]}
    return changed - ({"init_lora_weights"} if config["init_lora_weights"] in _ON_THE_BASE else set())


def named_base(folder: Path) -> str:
    """The base that an adapter was trained over, as its configuration names it; empty if it does not."""
    return str(_values(folder).get("base_model_name_or_path") or "")


def _values(folder: Path) -> dict[str, Any]:
    file = folder / ADAPTER_CONFIG
    try:
        values = read_json(file)
    except ArtQuantError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file}: not a LoRA configuration (no JSON object)")
    return values
