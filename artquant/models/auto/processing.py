"""Pictures and sentences to tensors, through a folder's own chat template, tokenizer and image processor.

Shape legend: B rows, T positions (those of the picture included).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AddedToken, AutoImageProcessor, AutoProcessor, AutoTokenizer, PretrainedConfig, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import write_json, write_text
from artquant.models.family import NetworkInputs, Row
from artquant.texts.prompt import Exchange

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
TOKENIZER_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"
LARGE = 1024  # pixels a side of a large picture
PROBE = "An answer."  # shows what a template puts around one


def load_processor(folder: Path, config: PretrainedConfig) -> ProcessorMixin:
    """Transformers' own processor of a folder; raises whatever its readers raise."""
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    kind: Any = PROCESSOR_MAPPING.get(type(config), None)
    if kind is None or "video_processor" not in kind.get_attributes() or importlib.util.find_spec("torchvision"):
        return AutoProcessor.from_pretrained(folder, config=config, **local)
    # Video processors need torchvision. Nothing here reads videos, so their place stays empty.
    facts, _ = kind.get_processor_dict(folder, local_files_only=True)
    parts = {
        "image_processor": AutoImageProcessor.from_pretrained(folder, **local),
        "tokenizer": AutoTokenizer.from_pretrained(folder, **local),
        "video_processor": None,
    }
    return assembled(kind, parts, facts)


def assembled(kind: Any, parts: Mapping[str, Any], facts: dict[str, Any]) -> ProcessorMixin:
    """A processor of transformers whose video processor is missing. facts: what its constructor takes beside parts."""
    lacking: Any = type(kind.__name__, (_WithoutVideo, kind), {})
    processor = lacking.from_args_and_dict([parts[name] for name in kind.get_attributes()], facts)
    processor.__class__ = kind  # known by its name, so it can be pickled
    return processor


class _WithoutVideo:
    """Lets a missing video processor pass an internal check of transformers."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        empty = argument_name == "video_processor" and argument is None
        return None if empty else super().check_argument_for_proper_class(argument_name, argument)  # type: ignore[misc]


class AutoChatProcessor:
    """A processor of transformers with the chat template of its folder.

    longest: positions that the network can take; None: not said.

    Raises:
        ArtQuantError: there is no chat template, or it cannot hold a picture, a question and an answer.
    """

    def __init__(self, processor: Any, longest: int | None = None):
        self.processor, self.tokenizer, self.longest = processor, processor.tokenizer, longest
        template = processor.chat_template or self.tokenizer.chat_template
        processor.chat_template = template.get("default") if isinstance(template, dict) else template
        if processor.chat_template is None:
            raise ArtQuantError(f"no chat template; put the instruction-tuned model's there ({TEMPLATE_FILE})")
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.pad_token_id: int = self.tokenizer.pad_token_id  # fills up short rows
        self.image_token: str = processor.image_token
        self.image_token_id: int = self.tokenizer.convert_tokens_to_ids(self.image_token)
        _, found, behind = self._render(Exchange("A question?"), PROBE).rpartition(PROBE)
        if not found:
            raise ArtQuantError("the chat template changes answers or leaves them out; take the model's own")
        self.end: str = behind.rstrip() or self.tokenizer.eos_token or ""

    @cached_property
    def picture_positions(self) -> int:
        """Positions that a picture takes; where that depends on its size, those of a square one of 1024 pixels."""
        text = self.conversation(Exchange("A question?"))
        row = Row(text, tuple(self.tokenize(text)))
        inputs = self.inputs([row], [Image.new("RGB", (LARGE, LARGE))])
        return int(inputs["attention_mask"].sum()) - len(row.token_ids) + 1

    @property
    def vocabulary_size(self) -> int:
        """Tokens, added words included; the network may have more rows."""
        return len(self.tokenizer)

    def conversation(self, exchange: Exchange) -> str:
        """A question about one picture and its answer, or the answer's beginning, in the folder's chat form.

        Raises:
            ArtQuantError: the chat form does not keep question, answer or the picture's place as they are.
        """
        answer, question, picture = exchange.answer, exchange.question.strip(), self.image_token
        text = self._render(exchange, answer, continue_final_message=True) if answer else self._opening(exchange)
        fault = None
        kept = (question, *(turn.strip() for turns in exchange.earlier for turn in turns))
        # Of several rounds the picture stands in the first.
        first, behind = exchange.earlier[0] if exchange.earlier else (question, None)
        opening = text if behind is None else text[: text.find(behind.strip())]
        if not text.endswith(answer) or any(turn not in text for turn in kept):
            fault = f"changes {answer!r} or {question!r}; leave out what it strips"
        elif text.count(picture) != 1:
            fault = f"puts {text.count(picture)} {picture} for one picture; take that of the model with vision"
        elif (opening.find(picture) < opening.rfind(first.strip())) != exchange.picture_first:
            fault = (
                "has a place of its own for the picture; choose a prompt with the picture on the question's other side"
            )
        elif exchange.adjoining and f"{picture}{question}" not in text:
            fault = "puts something between picture and question; choose a prompt that leaves room for it"
        if fault is not None:
            raise ArtQuantError(f"the chat template {fault}")
        return text + self.end if exchange.complete else text

    def _opening(self, exchange: Exchange) -> str:
        """Everything before an answer: what opens a turn, unless answers stand behind more than that and white space.

        Templates of models that think open a block of thoughts, and put an empty one before an answer without thoughts.
        """
        opened = self._render(exchange, add_generation_prompt=True)
        before = self._render(exchange, PROBE, continue_final_message=True).removesuffix(PROBE)
        return opened if before.startswith(opened) and not before[len(opened) :].strip() else before

    def _render(self, exchange: Exchange, answer: str | None = None, **how: bool) -> str:
        told = [*(turn for turns in exchange.earlier for turn in turns), exchange.question]
        told += [] if answer is None else [answer]
        turns = [
            (role, [{"type": "text", "text": turn}])
            for role, turn in zip(cycle(("user", "assistant")), told, strict=False)
        ]
        turns[0][1].insert(0 if exchange.picture_first else 1, {"type": "image"})
        if exchange.system:
            turns.insert(0, ("system", [{"type": "text", "text": exchange.system}]))
        messages = [{"role": role, "content": content, "adjoining": exchange.adjoining} for role, content in turns]
        try:
            return self.processor.apply_chat_template(messages, tokenize=False, **how)
        except Exception as error:  # templates are programs with errors of their own
            raise ArtQuantError(f"the chat template cannot write this conversation: {one_line(error)}") from error

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, with the beginning-of-text token that the tokenizer puts where the template does not."""
        return self.tokenizer(text, add_special_tokens=self._unbegun(text)).input_ids

    def _unbegun(self, text: str) -> bool:
        return self.tokenizer.bos_token is None or not text.startswith(self.tokenizer.bos_token)

    def picture(self, image: Image.Image) -> Image.Image:
        """The picture as it is: how it is cut may depend on its row."""
        return image

    def inputs(
        self, rows: Sequence[Row], pictures: Sequence[Image.Image], padding_side: str = "right"
    ) -> NetworkInputs:
        """Rows with one RGB picture each -> `input_ids`, `attention_mask` [B, T] and what else the processor gives.

        Raises:
            ArtQuantError: a picture cannot be used, or a row does not end with the tokens behind its picture.
        """
        try:
            made = self.processor(
                text=[row.text for row in rows],
                images=[[picture] for picture in pictures],
                padding=True,
                padding_side=padding_side,
                add_special_tokens=self._unbegun(rows[0].text),
                return_tensors="pt",
            )
        except Exception as error:  # every processor has errors of its own
            sizes = ", ".join(sorted({f"{picture.width}x{picture.height}" for picture in pictures}))
            raise ArtQuantError(
                f"{type(self.processor).__name__} cannot take pictures of {sizes} pixels: {one_line(error)}"
            ) from error
        tensors = {name: value for name, value in made.items() if name != "labels" and torch.is_tensor(value)}
        for row, ids, mask in zip(rows, tensors["input_ids"], tensors["attention_mask"], strict=True):
            # The first token behind the picture may melt with what the family puts around one.
            tail = list(row.token_ids[len(row.token_ids) - row.token_ids[::-1].index(self.image_token_id) + 1 :])
            end = ids[mask.bool()][-len(tail) :].tolist()
            if tail and end != tail:
                raise ArtQuantError(
                    f"{type(self.processor).__name__} changes what stands behind the picture, so scores have no known "
                    f"place: {self.tokenizer.decode(tail)!r} becomes {self.tokenizer.decode(end)!r}; take another model"
                )
        return NetworkInputs(tensors)

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Text of one row of ids, without pictures."""
        pictures = {self.image_token_id, *self.processor.image_token_ids}
        ids = [int(token) for token in token_ids if int(token) not in pictures]
        return self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def add_words(self, words: Sequence[str]) -> None:
        """Make words single tokens, the blank before them included; the network's rows are the caller's."""
        self.tokenizer.add_tokens([AddedToken(word, lstrip=True, rstrip=True, normalized=False) for word in words])

    def word_id(self, word: str) -> int | None:
        """The id of an added word; None: there is none."""
        return self.tokenizer.get_added_vocab().get(word)

    def save_pretrained(self, save_directory: Path | str) -> None:
        """Write tokenizer, chat template, image processor and what the processor's constructor takes."""
        folder, facts = Path(save_directory), self.processor.to_dict()
        if facts.get("video_processor", True) is not None:
            self.processor.save_pretrained(folder)
            return
        self.tokenizer.save_pretrained(folder)
        write_text(folder / TEMPLATE_FILE, self.processor.chat_template)
        self.processor.image_processor.save_pretrained(folder)  # where torchvision is, video processors begin with it
        write_json(folder / PROCESSOR_FILES[0], {name: fact for name, fact in facts.items() if fact is not None})


def read_processor(folder: Path, config: PretrainedConfig) -> AutoChatProcessor:
    """The processor that lies in a folder; raises whatever transformers' readers raise."""
    longest = config.get_text_config().to_dict().get("max_position_embeddings")
    return AutoChatProcessor(load_processor(folder, config), longest)
