"""InternVL of transformers, and its authors' folders (`internvl_chat`) read into it; nothing in them is executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import InternVLConfig, PretrainedConfig, PreTrainedModel

from artquant.config.schema import Loading
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json
from artquant.models.auto.family import AutoFamily
from artquant.models.auto.processing import AutoChatProcessor
from artquant.models.family import CheckpointError, LoraForm, Processor, WholeForm
from artquant.models.internvl.configuration import MODEL_TYPE, native_config, system_text
from artquant.models.internvl.naming import own_names, without_lora
from artquant.models.internvl.processing import END, IMAGE_TOKEN, published_processor, published_tokenizer
from artquant.models.internvl.published import write_published
from artquant.models.tokenizer_files import unreadable_processor
from artquant.models.whole import load_whole, read_shards
from artquant.readouts import Readout, published_readout
from artquant.texts.prompt import PROMPTS, UNIPERCEPT_TASKS, Prompt, get_prompt

_TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")


class InternVLFamily(AutoFamily):
    """Transformers' own InternVL, which can be written for ArtiMuse's and UniPercept's code too."""

    model_types: tuple[str, ...] = ("internvl",)
    packs: bool = True
    forms: Mapping[str, WholeForm | LoraForm] = {
        MODEL_TYPE: WholeForm(
            write_published,
            says="ps_version",
            prompts=tuple(PROMPTS[name] for name in ("artimuse", *(f"unipercept-{task}" for task in UNIPERCEPT_TASKS))),
            scale=(0.0, 100.0),
            weights_format="safetensors",
        )
    }


class InternVLChatFamily(InternVLFamily):
    """The network of ArtiMuse and UniPercept. What is trained here is saved in transformers' own form."""

    model_types: tuple[str, ...] = (MODEL_TYPE,)

    def config(self, folder: Path, untested: bool = False) -> InternVLConfig:
        """Transformers' configuration of the published network; raises CheckpointError if it cannot be used."""
        file = folder / "config.json"
        tokenizer = _tokenizer_of(folder)
        try:
            return native_config(
                read_json(file), tokenizer.convert_tokens_to_ids(IMAGE_TOKEN), tokenizer.convert_tokens_to_ids(END)
            )
        except ArtQuantError as error:
            raise CheckpointError(f"{file}: {error}") from error

    def load(self, folder: Path, config: PretrainedConfig, loading: Loading) -> PreTrainedModel:
        """The network with the folder's weights; raises CheckpointError that names the tensor at fault.

        LoRA that was left inside is merged.
        """
        from transformers import InternVLForConditionalGeneration  # modules that no other family needs

        try:
            tensors = own_names(without_lora(read_shards(folder)))
        except ArtQuantError as error:
            raise CheckpointError(f"{folder}: {error}") from error
        with torch.device("meta"):
            skeleton = self.empty(config)
        parts = self.parts(skeleton)
        linear = [name for name, layer in skeleton.named_modules() if isinstance(layer, nn.Linear)]
        outside = [name for name in linear if parts.of(name) != "decoder"]
        return load_whole(InternVLForConditionalGeneration, folder, loading, outside, tensors=tensors, config=config)

    def processor(self, folder: Path, config: PretrainedConfig) -> AutoChatProcessor:
        """The published tokenizer and one tile of a picture; raises CheckpointError if it cannot be read."""
        try:
            return published_processor(folder, config)  # type: ignore[arg-type]  # of `config` above
        except Exception as error:  # every reader has errors of its own; all mean the folder cannot be used
            raise unreadable_processor(folder, error) from error

    def holds_processor(self, folder: Path) -> bool:
        """By the tokenizer's files; pictures need none."""
        return all((folder / name).is_file() for name in _TOKENIZER_FILES)

    def published_card(
        self, folder: Path, processor: Processor, values: Sequence[float] | None
    ) -> tuple[Prompt, Readout]:
        """ArtiMuse's question, behind the system text that the folder's `config.json` leads to."""
        stored: dict[str, Any] = read_json(folder / "config.json")
        try:
            readout = published_readout(stored, str, values)
            prompt = replace(get_prompt("artimuse", "image"), system=system_text(stored))
            if readout is None:
                raise ArtQuantError("config.json is about no known readout")
            return prompt, readout.bound(processor, prompt)
        except ArtQuantError as error:
            raise CheckpointError(f"{folder}: {error}") from error


def _tokenizer_of(folder: Path) -> Any:
    try:
        return published_tokenizer(folder)
    except Exception as error:  # as above
        raise unreadable_processor(folder, error) from error
