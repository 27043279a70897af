"""mPLUG-Owl2 as a family of networks: what the rest of the code asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import nn
from transformers import PreTrainedModel

from artquant.config.schema import Loading
from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import read_json
from artquant.models.family import CheckpointError, Example, LoraForm, NetworkInputs, Parts, Processor, WholeForm
from artquant.models.mplug_owl2 import published, tiny
from artquant.models.mplug_owl2.configuration import MPLUGOwl2Config
from artquant.models.mplug_owl2.decoder import Multiway
from artquant.models.mplug_owl2.image_processing import PREPROCESSOR_FILES
from artquant.models.mplug_owl2.modeling import MPLUGOwl2LlamaForCausalLM
from artquant.models.mplug_owl2.processing import MPLUGOwl2Processor, chat_template, read_processor
from artquant.models.mplug_owl2.tiny_settings import DemoModelConfig
from artquant.models.mplug_owl2.tokenization import TOKENIZER_MODEL
from artquant.models.plausible import require_plausible_pictures
from artquant.models.tokenizer_files import unreadable_processor
from artquant.models.whole import load_whole
from artquant.readouts import Readout
from artquant.texts.prompt import Prompt

_PARTS = Parts(
    {"vision": ("model.vision_model",), "projector": ("model.visual_abstractor",), "head": ("lm_head",)}, rest="decoder"
)
# The published 7B model's decoder; the visual parts' published shapes are the configuration's defaults.
_PUBLISHED: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 0,
}


class MPLUGOwl2Family:
    """The network of ArtQuant, DeQA-Score and Q-Align."""

    model_types: tuple[str, ...] = (MPLUGOwl2Config.model_type,)
    forms: Mapping[str, WholeForm | LoraForm] = {
        "full": WholeForm(published.write_full, says="level_ids"),
        "lora": LoraForm(published.write_lora, says="level_ids"),
        "roc4mllm": WholeForm(published.write_roc4mllm, says="score_id", prompts=(published.ROC4MLLM,)),
    }
    packs = True
    idle_parameters = False
    read_processor: Callable[[Path, Any], Processor] | None = staticmethod(read_processor)
    TinySettings: ClassVar[type] = DemoModelConfig

    def config(self, folder: Path, untested: bool = False) -> MPLUGOwl2Config:
        """The configuration in a folder; raises CheckpointError if it cannot be used."""
        file = folder / "config.json"
        try:
            config = MPLUGOwl2Config(**read_json(file))
            if 0 <= config.image_token_index < config.vocab_size:
                raise ValueError(f"image_token_index {config.image_token_index} is a word of the vocabulary")
            return config
        except Exception as error:  # values of a wrong type have errors of their own
            raise CheckpointError(f"{file}: not a usable mPLUG-Owl2 configuration ({one_line(error)})") from error

    def published_config(self) -> MPLUGOwl2Config:
        """The published 7B model's."""
        return MPLUGOwl2Config(**_PUBLISHED)

    def load(self, folder: Path, config: MPLUGOwl2Config, loading: Loading) -> PreTrainedModel:
        """The network with a folder's weights; raises CheckpointError that names the file or tensor at fault."""
        untouched = [name for part in ("vision", "projector", "head") for name in _PARTS.modules(part)]
        return load_whole(MPLUGOwl2LlamaForCausalLM, folder, loading, untouched)

    def empty(self, config: MPLUGOwl2Config) -> MPLUGOwl2LlamaForCausalLM:
        """The network on the current device."""
        return MPLUGOwl2LlamaForCausalLM(config)

    def processor(self, folder: Path, config: MPLUGOwl2Config) -> MPLUGOwl2Processor:
        """Tokenizer and preprocessor of a folder; raises CheckpointError if one cannot be read."""
        try:
            processor = read_processor(folder, config)
            require_plausible_pictures(processor.image_processor.to_dict())
            side, wanted = processor.image_processor.side, config.vision.image_size
            if side != wanted:
                raise ArtQuantError(f"the preprocessor makes pictures of {side} pixels, the network takes {wanted}")
            positions, given = processor.image_sequence_length, config.image_sequence_length
            if positions != given:
                raise ArtQuantError(f"the processor puts a picture into {positions!r} positions, the network {given}")
            processor.picture(Image.new("RGB", (8, 8)))  # settings that no picture can be prepared with show here
        except Exception as error:  # as above: whatever a reader raises, the folder cannot be used
            raise unreadable_processor(folder, error) from error
        return processor

    def holds_processor(self, folder: Path) -> bool:
        """By the sentencepiece model and a preprocessor's file, which ROC4MLLM's code does not write."""
        return (folder / TOKENIZER_MODEL).is_file() and any((folder / file).is_file() for file in PREPROCESSOR_FILES)

    def parts(self, network: nn.Module) -> Parts:
        """Always the same names."""
        return _PARTS

    def lora_targets(self, parts: Parts) -> str:
        """As published: queries and the image branch of the values, in every decoder layer."""
        return r".*\.self_attn\.(q_proj|v_proj\.multiway\.1)"

    def target_fault(self, name: str, module: nn.Module) -> str | None:
        """Adapted elsewhere, a layer would be neither stored nor read as the published form has it."""
        if isinstance(module, Multiway):
            branch = name.rsplit(".", 1)[-1]
            return f"{name} has a branch for text and one for pictures; name them ({branch}.multiway.0, .multiway.1)"
        if name.startswith("model.layers.") and isinstance(module, nn.Linear):
            return None
        return f"{name} is no linear layer of the decoder; name those only"

    def published_card(
        self, folder: Path, processor: MPLUGOwl2Processor, values: Sequence[float] | None
    ) -> tuple[Prompt, Readout]:
        """From `config.json`."""
        return published.read_scale(folder, processor, values)

    def note_readout(
        self, config: MPLUGOwl2Config, processor: MPLUGOwl2Processor, prompt: Prompt, readout: Readout
    ) -> None:
        """What the published code reads scores by, in its configuration; how conversations begin, in the processor."""
        published.note_scale(config, processor, prompt, readout)
        processor.chat_template = chat_template(prompt.system)

    def example(self, folder: Path, config: MPLUGOwl2Config, samples: int, length: int) -> Example:
        """Pictures first; their values do not matter. Nothing is read from the folder, which need not be there."""
        image, side = config.image_sequence_length, config.vision.image_size
        views = (3,) if config.multi_image else ()
        input_ids = torch.zeros(samples, max(image, length), dtype=torch.int64)
        input_ids[:, :image] = config.image_token_id
        inputs = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "image_mask": input_ids == config.image_token_id,
            "pixel_values": torch.zeros(samples, *views, 3, side, side),
        }
        return Example(NetworkInputs(inputs), image)

    def write_tiny(self, settings: DemoModelConfig, out: Path, words: Sequence[str]) -> PreTrainedModel:
        """A small base model with drawn weights; see `artquant.models.mplug_owl2.tiny`."""
        return tiny.initialise_model(settings, out, words)
