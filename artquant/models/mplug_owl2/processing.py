"""Pictures and prompts to the network's inputs: tokenizer and image processor in one.

Shape legend: S pixels of a side, B prompts, T merged positions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import ProcessorMixin
from transformers.processing_utils import MultiModalData
from transformers.utils import CONFIG_NAME, PROCESSOR_NAME
from transformers.utils.hub import cached_file

from artquant.errors import ArtQuantError
from artquant.models.family import NetworkInputs, Row
from artquant.models.mplug_owl2.configuration import MPLUGOwl2Config
from artquant.models.mplug_owl2.image_processing import MPLUGOwl2ImageProcessor
from artquant.models.mplug_owl2.tokenization import NEXT_TURN, MPLUGOwl2Tokenizer
from artquant.texts.prompt import IMAGE_TOKEN, Exchange

# The published conversation form, for any number of turns and pictures; `MPLUGOwl2Processor.conversation` writes one.
_TEMPLATE = """\
{%- macro lines(content) -%}
{%- if content is string -%}{{ content }}{%- else -%}
{%- for part in content -%}
{{- '' if loop.first else '\n' -}}{{- IMAGE if part.type == 'image' else part.text -}}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- set opening = lines(messages[0].content) if messages and messages[0].role == 'system' else SYSTEM -%}
{{- opening + ' ' if opening else '' -}}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{- 'USER: ' + lines(message.content) -}}
{%- elif message.role == 'assistant' -%}
{{- ' ASSISTANT:' -}}{%- generation -%}{{- ' ' + lines(message.content) + eos_token -}}{%- endgeneration -%}
{%- elif message.role != 'system' or not loop.first -%}
{{- raise_exception('a conversation has turns of user and assistant, and a system message before them if any') -}}
{%- endif -%}
{%- endfor -%}
{{- ' ASSISTANT:' if add_generation_prompt else '' -}}
"""


def chat_template(system: str = "") -> str:
    """The conversation form as a chat template. system: sentences before a conversation that brings none."""
    written = json.dumps(system, ensure_ascii=False)  # Jinja reads strings as JSON does, but for surrogate pairs
    return _TEMPLATE.replace("IMAGE", json.dumps(IMAGE_TOKEN)).replace("SYSTEM", written)


class MPLUGOwl2Processor(ProcessorMixin):
    """Tokenizer and image processor in one.

    Called as every processor of transformers: `processor(images=..., text=..., padding=..., return_tensors="pt")`. The
    image token takes `image_sequence_length` positions, all of one id (-200 unless the network's configuration says
    otherwise). What this house calls itself (`conversation`, `tokenize`, `picture`, `inputs`) is the published code to
    the token and leaves special tokens in a text's middle as plain text.

    Args:
        image_sequence_length: positions that a picture takes (7B model: 65).
        chat_template: how conversations are written; by default as published, without a system message.
    """

    image_token = IMAGE_TOKEN

    def __init__(
        self,
        image_processor: MPLUGOwl2ImageProcessor,
        tokenizer: MPLUGOwl2Tokenizer,
        image_sequence_length: int = 65,
        chat_template: str | None = None,
    ):
        if not isinstance(tokenizer, MPLUGOwl2Tokenizer):
            raise TypeError(
                f"{type(tokenizer).__name__} has no pictures; MPLUGOwl2Tokenizer.from_pretrained(FOLDER) reads them"
            )
        super().__init__(image_processor, tokenizer, chat_template=chat_template or _chat_template())
        self.image_sequence_length = image_sequence_length

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the other arguments are given by name
        cls, pretrained_model_name_or_path: str | Path, config: MPLUGOwl2Config | None = None, **kwargs: Any
    ) -> MPLUGOwl2Processor:
        """Load from a model folder, a published one or one that we saved, or from a processor's alone.

        Args:
            config: the network's configuration; default is the folder's.

        Raises:
            ArtQuantError: neither the processor's file nor the network's says how many positions a picture takes.
        """
        found = config or _stored_config(pretrained_model_name_or_path, kwargs)
        if found is not None:
            kwargs.setdefault("image_token_id", found.image_token_id)
        facts, _ = cls.get_processor_dict(pretrained_model_name_or_path, **kwargs)
        if "image_sequence_length" not in facts | kwargs:
            if found is None:
                raise ArtQuantError(
                    f"{pretrained_model_name_or_path}: neither {PROCESSOR_NAME} (image_sequence_length) nor "
                    f"{CONFIG_NAME} says how many positions a picture takes; copy the model's configuration there"
                )
            kwargs["image_sequence_length"] = found.image_sequence_length
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: Any, processor_dict: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Always our own classes: published folders name others, which cut and tokenise differently."""
        own = {name: value for name, value in kwargs.items() if name != "image_sequence_length"}
        others = ("image_token_id", "backend", "use_fast")  # there is one way to read pictures
        pictures = {name: value for name, value in own.items() if name not in others}
        return [
            MPLUGOwl2ImageProcessor.from_pretrained(pretrained_model_name_or_path, **pictures),
            MPLUGOwl2Tokenizer.from_pretrained(pretrained_model_name_or_path, **own),
        ]

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """Save in transformers' form and, beside it, the files that the published code reads."""
        saved = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        self.image_processor.save_pretrained(save_directory)
        return saved

    @property
    def image_token_id(self) -> int:
        """The picture's id; outside of every vocabulary as published."""
        return self.tokenizer.image_token_id

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs: Any) -> str:
        """What stands in a text for a picture, whatever its size."""
        return self.image_token * self.image_sequence_length

    def _get_num_multimodal_tokens(self, image_sizes: Any = None, **kwargs: Any) -> MultiModalData:
        """What serving engines ask: positions of pictures of these sizes."""
        if image_sizes is None:
            return MultiModalData()
        count = len(image_sizes)
        return MultiModalData(num_image_tokens=[self.image_sequence_length] * count, num_image_patches=[1] * count)

    def _prepare_processor_kwargs(  # type: ignore[override]  # the others are flags
        self, chat_template: str, processor_kwargs: dict, kwargs: dict, **flags: bool
    ) -> dict[str, Any]:
        """Masks of an assistant's words: transformers asks for a tokenizer of another kind, ours knows its spans."""
        masked = flags.pop("return_assistant_tokens_mask", False)
        if masked and flags.get("continue_final_message"):
            raise ValueError("continue_final_message is not compatible with return_assistant_tokens_mask")
        prepared = super()._prepare_processor_kwargs(
            chat_template, processor_kwargs, kwargs, return_assistant_tokens_mask=False, **flags
        )
        return prepared | ({"return_offsets_mapping": True, "return_text_replacement_offsets": True} if masked else {})

    @property
    def pad_token_id(self) -> int:
        """Id that fills up shorter prompts."""
        return self.tokenizer.pad_token_id

    @property
    def picture_positions(self) -> int:
        """Positions that a picture takes, whatever its size."""
        return self.image_sequence_length

    @property
    def longest(self) -> int | None:
        """Positions that the network can take, as the tokenizer says."""
        return int(self.tokenizer.model_max_length)

    @property
    def vocabulary_size(self) -> int:
        """Tokens, added words included."""
        return len(self.tokenizer)

    def conversation(self, exchange: Exchange) -> str:
        """`SYSTEM USER: <|image|>\nQUESTION ASSISTANT: ANSWER</s>`, or the picture on a line behind the question."""
        eos, answer = self.tokenizer.eos_token, f" {exchange.answer}" if exchange.answer else ""
        rounds = [(question, f" {answer}{eos}") for question, answer in exchange.earlier]
        first, *others = (*rounds, (exchange.question, f"{answer}{eos if exchange.complete else ''}"))
        between = "" if exchange.adjoining else "\n"
        user = between.join([IMAGE_TOKEN, first[0]] if exchange.picture_first else [first[0], IMAGE_TOKEN])
        system = f"{exchange.system} " if exchange.system else ""
        turns = [(user, first[1]), *others]
        given = (exchange.question, exchange.answer, *(turn for turns in exchange.earlier for turn in turns))
        if any(f"{eos}{NEXT_TURN}" in turn for turn in given):
            raise ArtQuantError(f"a text holds {eos}{NEXT_TURN}, which would begin a turn of its own; take it out")
        return system + "".join(f"{NEXT_TURN}{asked} ASSISTANT:{told}" for asked, told in turns)

    def picture(self, image: Image.Image) -> torch.Tensor:
        """An RGB picture as the network takes it: [3, S, S], with views [views, 3, S, S]."""
        return self.image_processor.picture(image)

    def inputs(
        self, rows: Sequence[Row], pictures: Sequence[torch.Tensor], padding_side: str = "right"
    ) -> NetworkInputs:
        """Rows with one prepared picture each -> `input_ids`, `attention_mask`, `image_mask` [B, T], `pixel_values`."""
        padded = self.pad([self.expand(row.token_ids) for row in rows], padding_side)
        padded["image_mask"] = padded["input_ids"] == self.image_token_id
        return NetworkInputs(padded | {"pixel_values": torch.stack(list(pictures))})

    def add_words(self, words: Sequence[str]) -> None:
        """Make words single tokens, at the vocabulary's end and in this order; those that are there already stay."""
        self.tokenizer.add_words(words)

    def word_id(self, word: str) -> int | None:
        """The id of an added word; None: there is none."""
        return self.tokenizer.added_words.get(word)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, the beginning-of-text token first and one id for each image token."""
        return self.tokenizer.tokenize_prompt(text)

    def expand(self, ids: Sequence[int]) -> list[int]:
        """Repeat the picture's id for every position that it takes."""
        expanded = []
        for token in ids:
            expanded += [token] * self.image_sequence_length if token == self.image_token_id else [token]
        return expanded

    def pad(self, rows: Sequence[Sequence[int]], padding_side: str = "right") -> dict[str, torch.Tensor]:
        """Rows of ids of unequal length -> `input_ids` and `attention_mask`, both [B, T]."""
        length = max(len(row) for row in rows)
        input_ids = torch.full((len(rows), length), self.pad_token_id)
        attention_mask = torch.zeros(len(rows), length, dtype=torch.long)
        for index, row in enumerate(rows):
            place = slice(0, len(row)) if padding_side == "right" else slice(length - len(row), length)
            input_ids[index, place] = torch.tensor(row)
            attention_mask[index, place] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask}


def read_processor(folder: Path, config: MPLUGOwl2Config) -> MPLUGOwl2Processor:
    """The processor that lies in a folder; raises whatever its readers raise."""
    return MPLUGOwl2Processor.from_pretrained(folder, config=config, local_files_only=True)


_chat_template = chat_template  # the constructor has an argument of that name


def _stored_config(folder: str | Path, how: dict[str, Any]) -> MPLUGOwl2Config | None:
    """The network's configuration that lies beside a processor; None: there is none. how: where hub files are."""
    hub = {
        name: how[name] for name in ("cache_dir", "local_files_only", "revision", "subfolder", "token") if name in how
    }
    file = cached_file(str(folder), CONFIG_NAME, _raise_exceptions_for_missing_entries=False, **hub)
    return None if file is None else MPLUGOwl2Config.from_json_file(file)
