"""The code of a hub folder: the network's class, its configuration and processor, and what they need, as flat files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import ProcessorMixin

from artquant import __version__
from artquant.errors import ArtQuantError
from artquant.hub_folders.network import ScoresPictures
from artquant.hub_folders.source import OWN, Sources, flat_name, is_own
from artquant.models.weights import LoadedModel

_ENTRY = f"modeling_{OWN}"
_AUTO_CLASSES = ("AutoModelForCausalLM", "AutoModelForImageTextToText")
_CODE = '''\
# Copyright: the authors of {own}. SPDX-License-Identifier: Apache-2.0
# Written by `{own} export --to hub` ({version}).

"""{network} that scores pictures: `score(images)`, `describe(images, level)`."""

from {network_module} import {network} as _Network

from {mixin_module} import ScoresPictures
from {processor_module} import {processor} as _read_processor


class {network}(ScoresPictures, _Network):
    """The network; see the methods of `ScoresPictures`."""

    read_processor = staticmethod(_read_processor)
'''


@dataclass(frozen=True)
class Code:
    """files: their texts by name. auto_map: of `config.json`. packages: that they import, beside Python's own."""

    files: Mapping[str, str]
    auto_map: Mapping[str, str]
    packages: tuple[str, ...]


def code_of(loaded: LoadedModel) -> Code:
    """The code with which transformers alone scores as a model does.

    Raises:
        ArtQuantError: its family has no processor that stands alone, or a part of it is defined elsewhere.
    """
    model, read = loaded.network.plain, loaded.family.read_processor
    if read is None:
        raise ArtQuantError(f"networks of type {model.config.model_type} have no code for the hub; export it as merged")
    sources = Sources()
    parts: dict[str, Any] = {"network": type(model), "mixin": ScoresPictures, "processor": read}
    named = {"own": OWN, "version": __version__}
    for name, part in parts.items():
        named |= {name: part.__name__, f"{name}_module": _module(sources, part)}
    auto_map = dict.fromkeys(_AUTO_CLASSES, f"{_ENTRY}.{type(model).__name__}")
    own: dict[str, type] = {"AutoConfig": type(model.config)}
    processor: Any = loaded.processor
    if isinstance(processor, ProcessorMixin):
        own |= {"AutoProcessor": type(processor), "AutoTokenizer": type(processor.tokenizer)}
    for name, kind in own.items():
        if is_own(kind.__module__):
            auto_map[name] = f"{_module(sources, kind)}.{kind.__name__}".removeprefix(".")
    return Code(
        {f"{_ENTRY}.py": _CODE.format(**named)} | sources.files(), dict(sorted(auto_map.items())), sources.packages
    )


def _module(sources: Sources, part: Any) -> str:
    """Where a class or function is, seen from a flat file."""
    if is_own(part.__module__):
        return f".{flat_name(sources.need(part.__module__, part.__qualname__).module)}"
    if part.__module__.partition(".")[0] == "transformers":
        return part.__module__
    raise ArtQuantError(f"{part.__module__}.{part.__qualname__} is not code of this package; export it as merged")
