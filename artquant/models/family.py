"""What the rest of the code asks of a family of networks: the seam at which another backbone fits in.

A family is one folder beside this file, with the same file names in each, and one entry in
`artquant.models.families.FAMILIES`. Nothing outside that folder knows which families there are.

Shape legend: B rows, T positions (those of the picture included), D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, get_args

import torch
from torch import nn

from artquant.errors import ArtQuantError

if TYPE_CHECKING:
    from PIL import Image
    from transformers import PretrainedConfig, PreTrainedModel

    from artquant.config.schema import Loading
    from artquant.readouts.readout import Readout
    from artquant.texts.prompt import Exchange, Prompt

Part = Literal["vision", "projector", "decoder", "head", "adapters", "new_rows", "readout"]
PARTS: tuple[Part, ...] = get_args(Part)
WeightsFormat = Literal["safetensors", "bin"]
HEAD_PREFIX = "readout_head."  # of the names of a readout's own weights, inside a `ScoringNetwork`


class CheckpointError(ArtQuantError):
    """A model folder that cannot be used, with the file or tensor at fault."""


@dataclass(frozen=True)
class Parts:
    """Which part of a network a parameter belongs to, told by its name.

    prefixes: names of modules, by part; of two that fit the longer counts. rest: the part of all others.
    """

    prefixes: Mapping[Part, tuple[str, ...]]
    rest: Part

    def of(self, name: str) -> Part:
        """The part of a parameter, by its name inside or outside of an adapter's or a `ScoringNetwork`'s wrapping."""
        if "lora_" in name:
            return "adapters"
        if ".trainable_tokens_" in name:
            return "new_rows"
        name = bare_name(name)
        if name.startswith(HEAD_PREFIX):
            return "readout"
        fitting = [
            (prefix, part) for part, found in self.prefixes.items() for prefix in found if _lies_in(name, prefix)
        ]
        return max(fitting, key=lambda entry: len(entry[0]), default=("", self.rest))[1]

    def modules(self, part: Part) -> tuple[str, ...]:
        """Names of the modules that a part is made of; empty for the rest."""
        return self.prefixes.get(part, ())


def bare_name(name: str) -> str:
    """A parameter's or module's name in the plain network, without what wrappers put before or into it."""
    for wrapper in ("network.", "base_model.model."):
        name = name.removeprefix(wrapper)
    for wrapper in (".base_layer.", ".token_adapter.", ".original_module."):
        name = name.replace(wrapper, ".")
    return name


def _lies_in(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


@dataclass(frozen=True)
class Row:
    """A conversation as its family writes it, and as token ids in which the picture is one id.

    The picture stands before everything that is learned, so a place counted from the row's end stays where it is when
    the picture's token is expanded.
    """

    text: str
    token_ids: tuple[int, ...]


class NetworkInputs(Mapping[str, torch.Tensor]):
    """What a network's forward takes, by name: `input_ids`, `attention_mask` [B, T] and what the family needs beside.

    Rows are padded on one side; pictures come in the order of the rows, in whatever tensors the family makes of them.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]):
        self.tensors = dict(tensors)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def ends(self) -> torch.Tensor:
        """[B] int64: one past the last real position of each row, padded on whichever side."""
        mask = self.tensors["attention_mask"]
        return mask.shape[1] - mask.flip(1).argmax(1)

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None = None, **options: Any) -> NetworkInputs:
        """The same on a device; floating-point tensors in a number format, if one is given."""
        return NetworkInputs(
            {
                name: value.to(device=device, dtype=dtype if value.is_floating_point() else None, **options)
                for name, value in self.tensors.items()
            }
        )

    def pin_memory(self) -> NetworkInputs:
        """The same in memory that is copied to a GPU faster."""
        return NetworkInputs({name: value.pin_memory() for name, value in self.tensors.items()})


class GivesStatesAt:
    """A network below the head whose forward takes `states_at`, the flat positions [M] that are read: it gives [M, D].

    What nobody reads is not computed. All other networks give the states of all positions.
    """


@dataclass(frozen=True)
class Example:
    """What training samples look like to a network. picture: positions that each one's picture takes."""

    inputs: NetworkInputs
    picture: int


class Processor(Protocol):
    """Pictures and sentences to a network's inputs. Picklable: processes that read pictures get a copy."""

    @property
    def picture_positions(self) -> int:
        """Positions that a picture takes; where that depends on its size, those of a large square one."""

    @property
    def longest(self) -> int | None:
        """Positions that the network can take; None: not said."""

    def conversation(self, exchange: Exchange) -> str:
        """A question about one picture and its answer, or the answer's beginning, in the family's chat form.

        The picture is one token in it. Of an answer that goes on nothing stands behind its last word; a complete one is
        followed by what ends a turn.

        Raises:
            ArtQuantError: the chat form does not keep the answer as it is.
        """

    def tokenize(self, text: str) -> list[int]:
        """Token ids of such a text; the picture is one id, or as few as the text says."""

    def picture(self, image: Image.Image) -> Any:
        """An RGB picture prepared as far as it can be without a text, to be kept in memory or sent to a process."""

    def inputs(self, rows: Sequence[Row], pictures: Sequence[Any], padding_side: str = "right") -> NetworkInputs:
        """Rows with one prepared picture each -> all that the network's forward takes, on the CPU.

        Raises:
            ArtQuantError: a row does not end with the tokens that it should end with.
        """

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Text of one row of ids, without pictures."""

    def add_words(self, words: Sequence[str]) -> None:
        """Make words single tokens, in this order at the vocabulary's end; those that are there already stay."""

    def word_id(self, word: str) -> int | None:
        """The id of an added word; None: there is none."""

    @property
    def vocabulary_size(self) -> int:
        """Tokens, added words included."""

    @property
    def pad_token_id(self) -> int:
        """What fills up short rows."""

    @property
    def image_token_id(self) -> int:
        """What stands for the picture in a `Row`."""

    def save_pretrained(self, save_directory: Path | str) -> Any:
        """Write the files that `Family.processor` reads."""


@dataclass(frozen=True)
class WholeForm:
    """A published form with all weights.

    write: (network, processor, prompt, folder, number format, weights format) -> its files. says: the key of
    `Readout.published` by which its code reads scores. prompts: those that its code asks with; empty: it has its own.
    scale: between what its code's scores lie, whatever the model's; None: the model's. weights_format: as published.
    """

    write: Callable[[PreTrainedModel, Any, Prompt, Path, torch.dtype, WeightsFormat], None]
    says: str
    prompts: tuple[Prompt, ...] = ()
    scale: tuple[float, float] | None = None
    weights_format: WeightsFormat = "bin"


@dataclass(frozen=True)
class LoraForm:
    """A published form of LoRA runs.

    write: (run's folder, folder, number format or None: as stored, weights format). says: as of `WholeForm`.
    """

    write: Callable[[Path, Path, torch.dtype | None, WeightsFormat], None]
    says: str
    weights_format: WeightsFormat = "bin"


class Unpublished:
    """What a family need not write of which no published code reads scores."""

    forms: Mapping[str, WholeForm | LoraForm] = {}
    packs: bool = False
    idle_parameters: bool = True
    read_processor: Callable[[Path, Any], Processor] | None = None

    def published_config(self) -> None:
        """None: there is no best-known one."""

    def published_card(
        self, folder: Path, processor: Processor, values: Sequence[float] | None
    ) -> tuple[Prompt, Readout]:
        """Refused: such a folder does not say how it is asked and read."""
        raise CheckpointError(
            f"{folder}: does not say how scores are read (no artquant.json); train it, or name a folder written here"
        )

    def note_readout(self, config: PretrainedConfig, processor: Processor, prompt: Prompt, readout: Readout) -> None:
        """Nothing: nobody looks for it there."""


_Config = TypeVar("_Config", bound="PretrainedConfig")
_Processor = TypeVar("_Processor", bound=Processor)


class Family(Protocol[_Config, _Processor]):
    """One kind of network; an object without state. It is given its own kind of configurations and processors."""

    model_types: tuple[str, ...]  # of `config.json`
    forms: Mapping[str, WholeForm | LoraForm]  # published folders that it can write, beside our own
    idle_parameters: bool  # whether networks may hold parameters that no output depends on: ranks must look for them
    packs: bool  # whether prompts that share their beginning can be read in one pass, by a mask of every pair
    read_processor: Callable[[Path, Any], Processor] | None  # `processor` unchecked, a function on its own; None: none
    TinySettings: ClassVar[type]  # frozen dataclass: every setting of its small drawn networks

    def config(self, folder: Path, untested: bool = False) -> _Config:
        """The network's configuration.

        Raises:
            CheckpointError: it cannot be used: another model type, no vision, a package that is not there.
        """

    def published_config(self) -> _Config | None:
        """The shape of the best-known model of the family, for plans without its folder; None: there is none."""

    def load(self, folder: Path, config: _Config, loading: Loading) -> PreTrainedModel:
        """The network with the weights of a folder that holds all of them.

        Raises:
            CheckpointError: a file or tensor is missing, unreadable or unexpected.
        """

    def empty(self, config: _Config) -> PreTrainedModel:
        """The network without weights of its own, on the current device."""

    def processor(self, folder: Path, config: _Config) -> _Processor:
        """The processor that lies in a folder.

        Raises:
            CheckpointError: a file of it is missing or cannot be read.
        """

    def holds_processor(self, folder: Path) -> bool:
        """Whether a processor lies in a folder."""

    def parts(self, network: nn.Module) -> Parts:
        """Which parameters are whose."""

    def lora_targets(self, parts: Parts) -> str:
        """The linear layers of the decoder that get adapters where nothing else is said: a regular expression."""

    def target_fault(self, name: str, module: nn.Module) -> str | None:
        """Why a module that somebody named cannot get an adapter, with advice; None: nothing speaks against it."""

    def published_card(
        self, folder: Path, processor: _Processor, values: Sequence[float] | None
    ) -> tuple[Prompt, Readout]:
        """How a folder that was not written here is asked and read. values: of the rating words, instead of its own.

        Raises:
            CheckpointError: it does not say.
        """

    def note_readout(self, config: _Config, processor: _Processor, prompt: Prompt, readout: Readout) -> None:
        """Put into configuration and processor what others go by: published code to read scores, clients to ask."""

    def example(self, folder: Path, config: _Config, samples: int, length: int) -> Example:
        """Inputs of the shapes that training samples of a length have, a picture in each, for the plan.

        They are longer where the length does not hold a picture.
        """

    def write_tiny(self, settings: Any, out: Path, words: Sequence[str]) -> PreTrainedModel:
        """Write a small network with drawn weights and a tokenizer of its own, in which rating words are one token."""
