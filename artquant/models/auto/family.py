"""The generic family: configuration, weights and parts of transformers' image-text-to-text networks."""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from artquant.errors import ArtQuantError
from artquant.models.adapters import complain
from artquant.models.auto import shapes, tiny
from artquant.models.auto.processing import PROCESSOR_FILES, TOKENIZER_FILE, AutoChatProcessor, load_processor, one_line
from artquant.models.family import CheckpointError, Form, NetworkInputs, Parts, Processor
from artquant.models.quantize import quantization_config

if TYPE_CHECKING:
    from artquant.config.schema import Loading
    from artquant.readouts.readout import Readout
    from artquant.texts.prompt import Prompt

TESTED = tuple(tiny.FORMS)
PACKAGES = {"smolvlm": "num2words", "lfm2_vl": "torchvision"}  # that processors need beside our own requirements
DECODERS = {"language_model", "text_model", "decoder", "text_decoder"}  # as `PreTrainedModel.get_decoder` looks for it


class AutoFamily:
    """Networks that `AutoModelForImageTextToText` loads; `TESTED` are those that the tests here cover."""

    model_types: tuple[str, ...] = TESTED
    forms: Mapping[str, Form] = {}
    packs: bool = False
    TinySettings: ClassVar[type] = tiny.TinySettings

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
                f"{file}: {kind} is none of the tested {tested}; untested: true tries it nevertheless"
            )
        package = PACKAGES.get(kind)
        if package is not None and importlib.util.find_spec(package) is None:
            raise CheckpointError(f"{file}: the processor of {kind} needs {package}; pip install {package}")
        return config

    def published_config(self) -> PretrainedConfig | None:
        """None: there are too many to name one."""
        return None

    def load(self, folder: Path, config: PretrainedConfig, loading: Loading) -> PreTrainedModel:
        """The network with the weights of a folder that holds all of them.

        Raises:
            CheckpointError: a file or tensor is missing, unreadable or unexpected, or there is no vision.
        """
        options: dict[str, Any] = {"dtype": tiny.DTYPES[loading.dtype], "attn_implementation": loading.attention}
        if loading.quantize is not None:
            with torch.device("meta"):
                layers = dict(self.empty(config).named_modules())
            linear = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]
            outside = [name for name in linear if not _in_decoder(name)]
            options["quantization_config"] = quantization_config(loading.quantize, tiny.DTYPES[loading.dtype], outside)
        try:
            network, info = AutoModelForImageTextToText.from_pretrained(
                folder,
                config=config,
                output_loading_info=True,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                ignore_mismatched_sizes=True,  # reported below, by name
                **options,
            )
        except Exception as error:  # as above
            raise CheckpointError(f"{folder}: cannot be loaded: {one_line(error)}") from error
        complain(folder, "is missing", info["missing_keys"])
        complain(folder, "is not known", info["unexpected_keys"])
        complain(folder, "has another shape", [mismatch[0] for mismatch in info["mismatched_keys"]])
        self.parts(network)  # says so if there is no vision
        return network

    def empty(self, config: PretrainedConfig) -> PreTrainedModel:
        """The network without weights of its own, on the current device."""
        return AutoModelForImageTextToText.from_config(copy.deepcopy(config))

    def processor(self, folder: Path, config: PretrainedConfig) -> AutoChatProcessor:
        """The processor that lies in a folder.

        Raises:
            CheckpointError: a file or package of it is missing or cannot be read, or its chat template cannot be used.
        """
        try:
            longest = config.get_text_config().to_dict().get("max_position_embeddings")
            return AutoChatProcessor(load_processor(folder, config), longest)
        except ArtQuantError as error:
            raise CheckpointError(f"{folder}: {error}") from error
        except Exception as error:  # as above; a package that is missing among them
            raise CheckpointError(f"{folder}: tokenizer or processor cannot be read: {one_line(error)}") from error

    def holds_processor(self, folder: Path) -> bool:
        """Whether a processor lies in a folder."""
        return (folder / TOKENIZER_FILE).is_file() and any((folder / name).is_file() for name in PROCESSOR_FILES)

    def parts(self, network: nn.Module) -> Parts:
        """Vision encoder, decoder and head as the network's getters give them; the rest is the projector.

        What merges patches inside the encoder (Qwen) belongs to the projector.

        Raises:
            CheckpointError: the network has no vision encoder, decoder or head of its own.
        """
        names = {module: name for name, module in network.named_modules()}
        vision, decoder = network.get_encoder(modality="image"), network.get_decoder()
        found = {"vision": vision, "decoder": decoder, "head": network.get_output_embeddings()}
        for part, module in found.items():
            # The getters end in a fallback, which is the network itself.
            if module not in names or module in (network, network.base_model):
                kind = type(network).__name__
                raise CheckpointError(f"{kind} has no {part} of its own: a model without vision, or of another build")
        mergers = tuple(f"{names[vision]}.{name}" for name, _ in vision.named_children() if "merger" in name)
        prefixes = {part: (names[module],) for part, module in found.items()}
        return Parts(prefixes | ({"projector": mergers} if mergers else {}), rest="projector")

    def lora_targets(self, parts: Parts) -> str:
        """Queries and values of the decoder's attention; bare names would also hit the vision encoder's."""
        (decoder,) = parts.modules("decoder")
        return rf"{re.escape(decoder)}\..*\.(q_proj|v_proj)"

    def target_fault(self, name: str, module: nn.Module) -> str | None:
        """Why a module that somebody named cannot get an adapter; None: nothing speaks against it."""
        if not isinstance(module, nn.Linear):
            return f"is no linear layer ({type(module).__name__}); name linear layers of the decoder"
        return None if _in_decoder(name) else "lies outside the decoder; name linear layers of the decoder"

    def published_card(
        self, folder: Path, processor: Processor, values: Sequence[float] | None
    ) -> tuple[Prompt, Readout]:
        """Refused with a CheckpointError: such a folder does not say how it is asked and read."""
        raise CheckpointError(
            f"{folder}: does not say how scores are read (no artquant.json); train it, or name a folder written here"
        )

    def note_readout(self, config: PretrainedConfig, processor: Processor, prompt: Prompt, readout: Readout) -> None:
        """Nothing: no published code reads scores from these configurations."""

    def write_full(
        self, model: PreTrainedModel, processor: Processor, out: Path, dtype: torch.dtype, weights_format: str
    ) -> None:
        """Not called: transformers' own form is the one that we write."""

    def write_lora(self, source: Path, out: Path, dtype: torch.dtype | None, weights_format: str) -> None:
        """Not called: peft's own form is the one that we write."""

    def picture_positions(self, config: PretrainedConfig, length: int) -> int:
        """Positions that the picture of an `example` takes."""
        return shapes.positions(config, length)

    def example(self, config: PretrainedConfig, samples: int, length: int) -> NetworkInputs:
        """Inputs of the shapes that training samples of a length have; see `shapes.example`."""
        return shapes.example(config, samples, length)

    def write_tiny(self, settings: Any, out: Path, words: Sequence[str]) -> PreTrainedModel:
        """Write a small network with drawn weights and a tokenizer of its own; see `tiny.write_tiny`."""
        return tiny.write_tiny(settings, out, words)


def _in_decoder(name: str) -> bool:
    return not DECODERS.isdisjoint(name.split(".")[:-1])
