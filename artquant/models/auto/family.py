"""The generic family: configuration, weights and parts of transformers' image-text-to-text networks."""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from PIL import Image
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from artquant.errors import ArtQuantError, one_line
from artquant.models.auto import tiny
from artquant.models.auto.processing import PROCESSOR_FILES, TOKENIZER_FILE, AutoChatProcessor, read_processor
from artquant.models.auto.tiny_settings import TESTED, TinySettings
from artquant.models.family import (
    CheckpointError,
    Example,
    NetworkInputs,
    Part,
    Parts,
    Processor,
    Row,
    Unpublished,
)
from artquant.models.plausible import require_plausible_pictures
from artquant.models.tokenizer_files import unreadable_processor
from artquant.models.whole import load_whole
from artquant.texts.prompt import Exchange

if TYPE_CHECKING:
    from artquant.config.schema import Loading

PACKAGES = {"smolvlm": "num2words", "lfm2_vl": "torchvision"}  # that processors need beside our own requirements
EXAMPLES = (1024, 448, 224, 112, 28)  # pixels a side of pictures that are tried for an example
DECODERS = {"language_model", "text_model", "decoder", "text_decoder"}  # as `PreTrainedModel.get_decoder` looks for it


class AutoFamily(Unpublished):
    """Networks that `AutoModelForImageTextToText` loads; `TESTED` are those that the tests here cover."""

    model_types: tuple[str, ...] = TESTED
    read_processor: Callable[[Path, Any], Processor] | None = staticmethod(read_processor)
    TinySettings: ClassVar[type] = TinySettings

    def config(self, folder: Path, untested: bool = False) -> PretrainedConfig:
        """The network's configuration.

        Raises:
            CheckpointError: it cannot be read, has no vision, is not among the tested ones (without `untested`), or its
                processor needs a package that is not there.
        """
        file = folder / "config.json"
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # every reader has errors of its own; all mean the folder cannot be used
            raise CheckpointError(f"{file}: cannot be read: {one_line(error)}") from error
        kind, tested = config.model_type, ", ".join(TESTED)
        if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            raise CheckpointError(f"{file}: {kind} is a model without vision; tested are {tested}")
        if kind not in TESTED and not untested:
            raise CheckpointError(
                f"{file}: {kind} is none of the tested {tested}; untested: true (--untested) tries it all the same"
            )
        package = PACKAGES.get(kind)
        if package is not None and importlib.util.find_spec(package) is None:
            raise CheckpointError(f"{file}: the processor of {kind} needs {package}; pip install {package}")
        return config

    def load(self, folder: Path, config: PretrainedConfig, loading: Loading) -> PreTrainedModel:
        """The network with the weights of a folder that holds all of them.

        Raises:
            CheckpointError: a file or tensor is missing, unreadable or unexpected, or there is no vision.
        """
        with torch.device("meta"):
            skeleton = self.empty(config)
        parts = self.parts(skeleton)  # says so if there is no vision
        linear = [name for name, layer in skeleton.named_modules() if isinstance(layer, nn.Linear)]
        outside = [name for name in linear if parts.of(name) != "decoder"]
        return load_whole(AutoModelForImageTextToText, folder, loading, outside, config=config)

    def empty(self, config: PretrainedConfig) -> PreTrainedModel:
        """The network without weights of its own, on the current device."""
        return AutoModelForImageTextToText.from_config(copy.deepcopy(config))

    def processor(self, folder: Path, config: PretrainedConfig) -> AutoChatProcessor:
        """The processor that lies in a folder.

        Raises:
            CheckpointError: a file or package of it is missing or cannot be read, or its chat template cannot be used.
        """
        try:
            processor = read_processor(folder, config)
            require_plausible_pictures(processor.processor.image_processor.to_dict())
        except ArtQuantError as error:
            raise CheckpointError(f"{folder}: {error}") from error
        except Exception as error:  # as above; a package that is missing among them
            raise unreadable_processor(folder, error) from error
        return processor

    def holds_processor(self, folder: Path) -> bool:
        """Whether a processor lies in a folder."""
        return (folder / TOKENIZER_FILE).is_file() and any((folder / name).is_file() for name in PROCESSOR_FILES)

    def parts(self, network: nn.Module) -> Parts:
        """Vision encoder, decoder and head as the network's getters give them; the rest is the projector.

        What merges patches inside the encoder (Qwen) belongs to the projector.

        Raises:
            CheckpointError: the network has no vision encoder, decoder or head of its own.
        """
        whole: Any = network
        names = {module: name for name, module in network.named_modules()}
        vision, decoder = whole.get_encoder(modality="image"), whole.get_decoder()
        found: dict[Part, Any] = {"vision": vision, "decoder": decoder, "head": whole.get_output_embeddings()}
        for part, module in found.items():
            # The getters end in a fallback, which is the network itself.
            if module not in names or module in (whole, whole.base_model):
                kind = type(network).__name__
                raise CheckpointError(f"{kind} has no {part} of its own: a model without vision, or of another build")
        mergers = tuple(f"{names[vision]}.{name}" for name, _ in vision.named_children() if "merger" in name)
        prefixes: dict[Part, tuple[str, ...]] = {part: (names[module],) for part, module in found.items()}
        if mergers:
            prefixes["projector"] = mergers
        return Parts(prefixes, rest="projector")

    def lora_targets(self, parts: Parts) -> str:
        """Queries and values of the decoder's attention; bare names would also hit the vision encoder's."""
        (decoder,) = parts.modules("decoder")
        return rf"{re.escape(decoder)}\..*\.(q_proj|v_proj)"

    def target_fault(self, name: str, module: nn.Module) -> str | None:
        """Why a module that somebody named cannot get an adapter; None: nothing speaks against it."""
        if not isinstance(module, nn.Linear):
            return f"{name} is no linear layer ({type(module).__name__}); name linear layers of the decoder"
        return None if _in_decoder(name) else f"{name} lies outside the decoder; name linear layers of the decoder"

    def example(self, folder: Path, config: PretrainedConfig, samples: int, length: int) -> Example:
        """A blank picture as the folder's own processor makes it, the largest that leaves half of the length."""
        processor = self.processor(folder, config)
        text = processor.conversation(Exchange("A question?"))
        row = Row(text, tuple(processor.tokenize(text)))
        for side in EXAMPLES:
            made = processor.inputs([row] * samples, [Image.new("RGB", (side, side))] * samples)
            picture = made["input_ids"].shape[1] - len(row.token_ids) + 1
            if picture <= length // 2:
                break
        rows = made["input_ids"].shape
        more = max(0, length - rows[1])
        fillers = {"input_ids": row.token_ids[-1], "attention_mask": 1}
        tensors = {
            name: nn.functional.pad(value, (0, more), value=fillers.get(name, 0)) if value.shape == rows else value
            for name, value in made.items()
        }
        if "mrope_section" in (config.get_text_config().to_dict().get("rope_parameters") or {}):
            # Otherwise the network makes them, from values.
            tensors["position_ids"] = torch.zeros(3, *tensors["input_ids"].shape, dtype=torch.long)
        return Example(NetworkInputs(tensors), picture)

    def write_tiny(self, settings: Any, out: Path, words: Sequence[str]) -> PreTrainedModel:
        """Write a small network with drawn weights and a tokenizer of its own; see `tiny.write_tiny`."""
        return tiny.write_tiny(settings, out, words)


def _in_decoder(name: str) -> bool:
    return not DECODERS.isdisjoint(name.split(".")[:-1])
