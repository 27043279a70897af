"""Pictures and prompts to tensors, as the published mPLUG-Owl2 code does it.

Shape legend: I pictures, S pixels of a side, B prompts, T merged positions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sentencepiece import SentencePieceProcessor
from transformers import AddedToken, AutoTokenizer, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin
from transformers.image_processing_base import ImageProcessingMixin
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.processing_utils import ImagesKwargs

from artquant.errors import ArtQuantError
from artquant.models.family import NetworkInputs, Row
from artquant.models.mplug_owl2.configuration import IMAGE_TOKEN_ID, SCALES, MPLUGOwl2Config
from artquant.texts.prompt import IMAGE_TOKEN, Exchange

TOKENIZER_MODEL = "tokenizer.model"


def pad_to_square(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """The picture centred on a square of the given colour; an odd surplus goes to the right or bottom."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


class MPLUGOwl2ImageProcessor(ImageProcessingMixin):
    """Pad to a square with the mean colour, resize (bicubic, Pillow), scale to 0-1, normalise.

    Reads and writes the published `preprocessor_config.json`. Always works through Pillow, whatever else is installed,
    because other backends resize to slightly different values.

    Args:
        size: side of the result in pixels, as an integer or in transformers' dictionary form.
        crop_size: accepted because published files hold it; must equal `size`.
        image_mean, image_std: per channel, on the 0-1 scale.
        resample: Pillow's number of the resampling filter (3: bicubic).
        view_sizes: for `multi_image` models, the sides in pixels to which the square is reduced before it is brought to
            `size`, one per view (`low`, `mid`, `high`). The published code leaves the views to its user; ours show the
            layout, the forms and the detail of the same picture.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012
    valid_kwargs = ImagesKwargs

    def __init__(
        self,
        size: int | dict[str, int] = 448,
        crop_size: int | dict[str, int] | None = None,
        image_mean: Sequence[float] = OPENAI_CLIP_MEAN,
        image_std: Sequence[float] = OPENAI_CLIP_STD,
        resample: int = Image.Resampling.BICUBIC,
        view_sizes: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.size = _side(size)
        self.crop_size = self.size if crop_size is None else _side(crop_size)
        if self.crop_size != self.size:
            raise ValueError(f"preprocessor: crop_size {self.crop_size} must equal size {self.size}")
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.resample = int(resample)
        self.view_sizes = None if view_sizes is None else list(view_sizes)
        if self.view_sizes is not None and len(self.view_sizes) != len(SCALES):
            raise ValueError(f"preprocessor: view_sizes must hold {len(SCALES)} sizes, got {self.view_sizes}")

    def _normalise(self, square: Image.Image) -> torch.Tensor:
        pixels = np.asarray(square.resize((self.size, self.size), self.resample), dtype=np.float32)
        mean, std = np.array([self.image_mean, self.image_std], dtype=np.float32)
        values = (pixels * np.float32(1 / 255) - mean) / std
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))

    def _one(self, image: Image.Image) -> torch.Tensor:
        if not isinstance(image, Image.Image) or image.mode != "RGB":
            kind = image.mode if isinstance(image, Image.Image) else type(image).__name__
            raise ValueError(f"expected an RGB PIL image, got {kind}; artquant.data.images.load_image gives one")
        red, green, blue = (int(255 * mean) for mean in self.image_mean)
        square = pad_to_square(image, (red, green, blue))
        if self.view_sizes is None:
            return self._normalise(square)
        reduced = [(min(side, square.width),) * 2 for side in self.view_sizes]
        return torch.stack([self._normalise(square.resize(size, self.resample)) for size in reduced])

    def __call__(self, images: Image.Image | Sequence[Image.Image], return_tensors: str | None = "pt") -> BatchFeature:
        """RGB pictures of any size -> `pixel_values`, float32 [I, 3, S, S] (with views [I, 3 views, 3, S, S])."""
        if isinstance(images, Image.Image):
            images = [images]
        pixel_values = torch.stack([self._one(image) for image in images])
        return BatchFeature({"pixel_values": pixel_values}, tensor_type=return_tensors)


def _side(size: int | dict[str, int]) -> int:
    """Side in pixels from an integer, {"shortest_edge": n} or {"height": n, "width": n}."""
    sides = set(size.values()) if isinstance(size, dict) else {size}
    if len(sides) != 1:
        raise ValueError(f"preprocessor: only square sizes are known, got {size}")
    return int(sides.pop())


class MPLUGOwl2Processor(ProcessorMixin):
    """Tokenizer and image processor in one.

    Text is tokenised piece by piece around the image token, the beginning-of-text token only once, as in the published
    code: the pieces' ids are not those of the text as a whole. The image token then takes `image_sequence_length`
    positions, all of id -200. Words that were added to the vocabulary stand for themselves; white space on both sides
    of them is swallowed, and what follows begins without a word mark (`legacy: false`).
    """

    image_token = IMAGE_TOKEN
    image_token_id = IMAGE_TOKEN_ID

    def __init__(
        self,
        image_processor: MPLUGOwl2ImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        image_sequence_length: int = 65,
        **kwargs: Any,
    ):
        super().__init__(image_processor, tokenizer)
        vocabulary = Path(tokenizer.init_kwargs.get("vocab_file") or TOKENIZER_MODEL)
        if not vocabulary.is_file():
            raise ArtQuantError(f"{vocabulary}: no such file; the sentencepiece model belongs into the model folder")
        # sentencepiece itself: the tokenizers library splits runs of spaces differently from the published code.
        self.sentencepiece = SentencePieceProcessor(model_file=str(vocabulary))
        self._added = self._added_words()
        self.image_sequence_length = image_sequence_length

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the other arguments are given by name
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> MPLUGOwl2Processor:
        """Load from a model folder, a published one or one that we saved."""
        config = kwargs.pop("config", None) or MPLUGOwl2Config.from_pretrained(pretrained_model_name_or_path, **kwargs)
        return cls(
            MPLUGOwl2ImageProcessor.from_pretrained(pretrained_model_name_or_path, **kwargs),
            AutoTokenizer.from_pretrained(pretrained_model_name_or_path, config=config, **kwargs),
            image_sequence_length=config.image_sequence_length,
        )

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """Save in transformers' form and, beside it, the files that the published code reads."""
        saved = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        self.image_processor.save_pretrained(save_directory)
        (Path(save_directory) / TOKENIZER_MODEL).write_bytes(self.sentencepiece.serialized_model_proto())
        return saved

    @property
    def pad_token_id(self) -> int:
        """Id that fills up shorter prompts: the tokenizer's padding token, LLaMA's <unk> where it has none."""
        pad = self.tokenizer.pad_token_id
        return self.tokenizer.unk_token_id if pad is None else pad

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
        return max(self.sentencepiece.vocab_size(), *(found + 1 for found in self._added.values()), 0)

    def text(self, exchange: Exchange) -> str:
        """`SYSTEM USER: <|image|>\nQUESTION ASSISTANT: ANSWER</s>`, or the picture on a line behind the question."""
        question = exchange.question
        user = f"{IMAGE_TOKEN}\n{question}" if exchange.picture_first else f"{question}\n{IMAGE_TOKEN}"
        system = f"{exchange.system} " if exchange.system else ""
        answer = f" {exchange.answer}" if exchange.answer else ""
        return f"{system}USER: {user} ASSISTANT:{answer}{self.tokenizer.eos_token if exchange.complete else ''}"

    def picture(self, image: Image.Image) -> torch.Tensor:
        """An RGB picture as the network takes it: [3, S, S], with views [views, 3, S, S]."""
        return self.image_processor(image)["pixel_values"][0]

    def inputs(
        self, rows: Sequence[Row], pictures: Sequence[torch.Tensor], padding_side: str = "right"
    ) -> NetworkInputs:
        """Rows with one prepared picture each -> `input_ids`, `attention_mask` [B, T], `pixel_values` [B, 3, S, S]."""
        padded = self.pad([self.expand(row.token_ids) for row in rows], padding_side)
        return NetworkInputs(padded | {"pixel_values": torch.stack(list(pictures))})

    def add_words(self, words: Sequence[str]) -> None:
        """Make words single tokens, at the vocabulary's end and in this order; those that are there already stay."""
        self.tokenizer.add_tokens([AddedToken(word, lstrip=True, rstrip=True, normalized=False) for word in words])
        self._added = self._added_words()

    def word_id(self, word: str) -> int | None:
        """The id of an added word; None: there is none."""
        return self._added.get(word)

    def _added_words(self) -> dict[str, int]:
        """Words beyond the sentencepiece model."""
        size = self.sentencepiece.vocab_size()
        return {word: token for word, token in self.tokenizer.get_added_vocab().items() if token >= size}

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, the beginning-of-text token first and one -200 for each image token.

        A closing `</s>` is the end-of-text token; anywhere else it is plain text.
        """
        end = self.tokenizer.eos_token
        pieces = text.removesuffix(end).split(IMAGE_TOKEN)
        ids = [self.tokenizer.bos_token_id]
        for index, piece in enumerate(pieces):
            if index:
                ids.append(IMAGE_TOKEN_ID)
            ids += self._encode(piece)
        return [*ids, self.tokenizer.eos_token_id] if text.endswith(end) else ids

    def _encode(self, piece: str) -> list[int]:
        """Token ids of a text between image tokens; added words are cut out first."""
        if not self._added:
            return self.sentencepiece.encode(piece)
        cut = re.split("|".join(rf"\s*({re.escape(word)})\s*" for word in self._added), piece)
        parts = [part for part in cut if part is not None]
        ids = self.sentencepiece.encode(parts[0])
        for part in parts[1:]:
            ids += [self._added[part]] if part in self._added else self._without_mark(part)
        return ids

    def _without_mark(self, text: str) -> list[int]:
        """Token ids of a text that goes on in the middle of a line, without a word mark before it."""
        begin = self.sentencepiece.id_to_piece(self.sentencepiece.unk_id())
        return self.sentencepiece.encode(begin + text)[len(self.sentencepiece.encode(begin)) :] if text else []

    def expand(self, ids: Sequence[int]) -> list[int]:
        """Repeat each -200 for every position that a picture takes."""
        expanded = []
        for token in ids:
            expanded += [token] * self.image_sequence_length if token == IMAGE_TOKEN_ID else [token]
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

    def __call__(
        self,
        images: Image.Image | Sequence[Image.Image] | None = None,
        text: str | Sequence[str] | None = None,
        padding_side: str = "left",
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Prompts with image tokens and their RGB pictures, in order -> the model's inputs.

        Returns:
            `input_ids`, `attention_mask` [B, T] (with text), `pixel_values` [I, 3, S, S] (with images).
        """
        data: dict[str, Any] = {}
        if text is not None:
            texts = [text] if isinstance(text, str) else list(text)
            pictures = 0 if images is None else 1 if isinstance(images, Image.Image) else len(images)
            wanted = sum(prompt.count(IMAGE_TOKEN) for prompt in texts)
            if images is not None and pictures != wanted:
                raise ValueError(
                    f"the prompts hold {wanted} image tokens {IMAGE_TOKEN}, but there are {pictures} pictures"
                )
            data |= self.pad([self.expand(self.tokenize(prompt)) for prompt in texts], padding_side)
        if images is not None:
            data |= self.image_processor(images)
        return BatchFeature(data, tensor_type=return_tensors)

    def decode(self, token_ids: Sequence[int] | torch.Tensor, **kwargs: Any) -> str:
        """Text of one row of ids; image positions are left out."""
        ids = [int(token) for token in token_ids if int(token) != IMAGE_TOKEN_ID]
        return self.tokenizer.decode(ids, **kwargs)

    def batch_decode(self, sequences: Sequence[Sequence[int]] | torch.Tensor, **kwargs: Any) -> list[str]:
        """Text of several rows of ids; image positions are left out."""
        return [self.decode(row, **kwargs) for row in sequences]
