"""Text to tokens and back, as the published mPLUG-Owl2 code does it, in the form of transformers' tokenizers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from transformers import AddedToken, BatchEncoding
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

from artquant.errors import ArtQuantError
from artquant.models.mplug_owl2.configuration import IMAGE_TOKEN_ID
from artquant.texts.prompt import IMAGE_TOKEN

NEXT_TURN = "USER: "  # how a further round begins, right behind the end of the one before
TOKENIZER_MODEL = "tokenizer.model"
WORD_MARK = "\u2581"  # sentencepiece's sign for a blank


@dataclass(frozen=True)
class Piece:
    """A token of a text and the characters [start, end) that it stands for."""

    token_id: int
    start: int
    end: int


class MPLUGOwl2Tokenizer(SentencePieceBackend):
    """LLaMA's sentencepiece tokenizer with a token for the picture.

    What stands behind a picture begins anew, with a word mark, as in the published code, which tokenises the pieces
    around pictures one by one; behind another added token a text goes on in the middle of a line, but for `legacy`.
    Sentencepiece itself is used: the tokenizers library splits runs of spaces differently from the published code.

    Args:
        vocab_file: the sentencepiece model.
        image_token_id: the picture's id; inside or outside of the vocabulary.
        legacy: a word mark behind added tokens too, as older releases of transformers had it.
        pad_token: LLaMA's `<unk>` where none is named.
        add_bos_token, add_eos_token: what `add_special_tokens` puts around a text; by default the first alone.
        around: the same as one word, as it is stored: transformers leaves those two out.

    Raises:
        ArtQuantError: there is no sentencepiece model.
    """

    # Of `tokenizer.json` only the added tokens are read: folders that were written before this class have them there.
    vocab_files_names = {"vocab_file": TOKENIZER_MODEL, "tokenizer_file": "tokenizer.json"}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(
        self,
        vocab_file: str = TOKENIZER_MODEL,
        unk_token: str = "<unk>",
        bos_token: str = "<s>",
        eos_token: str = "</s>",
        pad_token: str | None = None,
        image_token_id: int = IMAGE_TOKEN_ID,
        legacy: bool = False,
        add_bos_token: bool | None = None,
        add_eos_token: bool | None = None,
        around: str = "bos",
        **kwargs: Any,
    ):
        if not Path(vocab_file or "").is_file():
            raise ArtQuantError(
                f"{vocab_file or TOKENIZER_MODEL}: no such file; the sentencepiece model belongs into the model folder"
            )
        image = AddedToken(IMAGE_TOKEN, normalized=False, special=True)
        kwargs.pop("auto_map", None)  # of a hub folder: where it is saved again there may be no code
        added = {number: token for number, token in kwargs.pop("added_tokens_decoder", {}).items() if token != image}
        before = "bos" in around if add_bos_token is None else add_bos_token
        after = "eos" in around if add_eos_token is None else add_eos_token
        around = "_".join(["bos"] * before + ["eos"] * after) or "none"
        specials = kwargs.pop("extra_special_tokens", None) or []
        kwargs["extra_special_tokens"] = [*(token for token in specials if str(token) != IMAGE_TOKEN), image]
        kwargs |= {"special_tokens_pattern": around, "around": around, "backend": "sentencepiece"}
        super().__init__(
            vocab_file=vocab_file,
            unk_token=unk_token,
            bos_token=bos_token,
            eos_token=eos_token,
            pad_token=pad_token or unk_token,
            image_token_id=image_token_id,
            legacy=legacy,
            added_tokens_decoder=added | {image_token_id: image},
            **kwargs,
        )
        self.image_token_id = image_token_id
        self._unmarked = self.sp_model  # of the base class: without a word mark at the beginning (but for `legacy`)
        self.sp_model = SentencePieceProcessor(model_file=vocab_file)

    def _update_total_vocab_size(self) -> None:
        """One past the last id: a picture's id may lie outside."""
        self.total_vocab_size = max(self.sp_model.vocab_size() - 1, *self._added_tokens_decoder) + 1

    def pieces(self, text: str, cut: Sequence[AddedToken], spans: bool = False) -> Iterator[Piece]:
        """A text's tokens in order. cut: tokens that are looked for first. spans: characters are wanted too."""
        start, anew = 0, True
        for found in _cutter(cut).finditer(text) if cut else ():
            yield from self._plain(text[start : found.start()], start, anew, spans)
            [(word, (first, last))] = [(w, found.span(i)) for i, w in enumerate(found.groups(), 1) if w is not None]
            yield Piece(self._added_tokens_encoder[word], first, last)
            start, anew = found.end(), self.legacy or word in (IMAGE_TOKEN, self.bos_token)
        yield from self._plain(text[start:], start, anew, spans)

    def _plain(self, text: str, start: int, anew: bool, spans: bool) -> Iterator[Piece]:
        """Tokens of a text without added ones. anew: it begins with a word mark."""
        if not text:
            return
        model, first = self.sp_model, None
        if not anew:
            # transformers 4.31 cut as if it began anew and took the mark off; where no piece is left, it had <unk>.
            marked = self.sp_model.id_to_piece(self.sp_model.encode(text)[0])
            first = self.sp_model.piece_to_id(marked[1:])
            if text[0].isspace() or marked == WORD_MARK or first == self.sp_model.unk_id():
                model, first = self._unmarked, None
        ids = model.encode(text)
        offsets = _offsets(model, text) if spans else [(0, 0)] * len(ids)
        for index, (token_id, (begin, end)) in enumerate(zip(ids, offsets, strict=True)):
            yield Piece(token_id if index or first is None else first, start + begin, start + end)

    @property
    def _marked(self) -> list[AddedToken]:
        """All that is cut out of a text unless `split_special_tokens` is given."""
        known = {token.content: token for token in self._added_tokens_decoder.values()}
        special = {token: AddedToken(token, normalized=False, special=True) for token in self.all_special_tokens}
        return list((special | known).values())

    @property
    def added_words(self) -> dict[str, int]:
        """Words beyond the sentencepiece model."""
        size = self.sp_model.vocab_size()
        return {word: token for word, token in self._added_tokens_encoder.items() if token >= size}

    def add_words(self, words: Sequence[str]) -> None:
        """Make words single tokens, at the end and in this order, that swallow white space on both sides."""
        for word in words:
            token, known = AddedToken(word, lstrip=True, rstrip=True, normalized=False), self.added_words.get(word)
            if known is None:
                self.add_tokens([token])
            else:
                self._added_tokens_decoder[known] = token

    def tokenize_prompt(self, text: str) -> list[int]:
        """Token ids as the published code has them: the beginning-of-text token, one id for each picture, added words.

        A closing `</s>` is the end-of-text token, and so are those of a text in which another turn stands right behind
        one; anywhere else it is plain text.
        """
        words = [self._added_tokens_decoder[self.image_token_id]]
        words += [self._added_tokens_decoder[token] for token in self.added_words.values()]
        end = [self.eos_token_id] if text.endswith(self.eos_token) else []
        if f"{self.eos_token}{NEXT_TURN}" in text:
            words.append(AddedToken(self.eos_token, normalized=False, special=True))
        ids = [piece.token_id for piece in self.pieces(text.removesuffix(self.eos_token), words)]
        return [self.bos_token_id, *ids, *end]

    def tokenize(  # type: ignore[override]  # the other arguments are given by name
        self, text: str, split_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[str]:
        """A text's tokens as strings; see `pieces`."""
        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        return self.convert_ids_to_tokens(
            [piece.token_id for piece in self.pieces(text, [] if split else self._marked)]
        )

    def get_vocab(self) -> dict[str, int]:
        """Tokens and their ids; a picture's is no part of it where it lies outside."""
        return {token: number for token, number in super().get_vocab().items() if number >= 0}

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens; bytes are put together."""
        return self._decode(self.convert_tokens_to_ids(list(tokens)))

    def _convert_id_to_token(self, index: int) -> str:
        """Ids without a token, of rows that a network has to spare, are empty."""
        return self.sp_model.id_to_piece(index) if 0 <= index < self.sp_model.vocab_size() else ""

    def _encode_plus(  # type: ignore[override]  # the other arguments are given by name
        self, text: Any, text_pair: Any = None, return_offsets_mapping: bool = False, **kwargs: Any
    ) -> BatchEncoding:
        with_mask = kwargs.pop("return_attention_mask", None) is not False
        encoded = super()._encode_plus(text, text_pair, return_attention_mask=True, **kwargs)
        mask = encoded.get("attention_mask") if with_mask else encoded.pop("attention_mask", None)
        texts = [text] if isinstance(text, str) else list(text)
        plain = all(isinstance(one, str) for one in texts) and not kwargs.get("is_split_into_words")
        if text_pair is not None or not plain:
            if return_offsets_mapping:
                raise ValueError("offsets are known of plain texts only, not of pairs, words or ids")
            return encoded
        single = isinstance(text, str) and kwargs.get("return_tensors") is None
        ids: list[list[int]] = [encoded["input_ids"]] if single else encoded["input_ids"]
        masks: Any = [mask] if single else mask
        lengths, real = [len(row) for row in ids], [int(sum(row)) for row in masks]
        found = [CharacterSpans(self, *row, kwargs) for row in zip(texts, lengths, real, strict=True)]
        if return_offsets_mapping:
            offsets = [spans.offsets for spans in found]
            encoded["offset_mapping"] = offsets[0] if single else offsets
        spans: Any = found  # the library's own class cannot be made from outside
        return BatchEncoding(encoded.data, encoding=spans, tensor_type=kwargs.get("return_tensors"))

    def _decode(  # type: ignore[override]  # the other arguments are given by name
        self,
        token_ids: int | Sequence[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        """The text of a row of ids: what `tokenize` would make the same ids of."""
        ids = [token_ids] if isinstance(token_ids, int) else [int(token) for token in token_ids]
        written, run, anew = "", list[int](), True
        specials = {token.content for token in self._marked if token.special}
        for token_id in [*ids, None]:
            word = None if token_id is None else self._added_tokens_decoder.get(token_id)
            if token_id is not None and word is None:
                if token_id >= 0 and token_id < self.sp_model.vocab_size():
                    run.append(token_id)
                continue
            if run:
                kept = not anew and self.sp_model.id_to_piece(run[0]).startswith(WORD_MARK)
                written += " " * kept + self.sp_model.decode(run)
                run, anew = [], False
            if word is not None:
                written += "" if skip_special_tokens and word.content in specials else word.content
                anew = word.content in (IMAGE_TOKEN, self.bos_token)
        clean = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return self.clean_up_tokenization(written) if clean else written

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        """Write the sentencepiece model, byte for byte as it was read."""
        name = TOKENIZER_MODEL if filename_prefix is None else f"{filename_prefix}-{TOKENIZER_MODEL}"
        file = Path(save_directory) / name
        file.write_bytes(self.sp_model.serialized_model_proto())
        return (str(file),)


def _offsets(model: SentencePieceProcessor, text: str) -> list[tuple[int, int]]:
    """The characters [start, end) of each token; those without any, word marks and first bytes, go with the next."""
    found, following = [], (len(text), len(text))
    for begin, end in reversed(model.encode(text, return_type="offset_mapping")["offsets"]):
        following = (begin, end) if end > begin else following
        found.append(following)
    return found[::-1]


def _cutter(tokens: Sequence[AddedToken]) -> re.Pattern[str]:
    """Finds tokens in a text, the longer of two first, with the white space that they swallow."""
    parts = []
    for token in sorted(tokens, key=lambda token: -len(token.content)):
        word = f"({re.escape(token.content)})"
        bounded = rf"(?<!\w){word}(?!\w)" if token.single_word else word
        blanks = r"\s*"
        parts.append(blanks * token.lstrip + bounded + blanks * token.rstrip)
    return re.compile("|".join(parts))


@dataclass(frozen=True)
class CharacterSpans:
    """Which characters of a text each token of its row stands for; worked out when that is asked for.

    What the fast tokenizers' encodings answer: masks of an assistant's words are made of it.

    Args:
        length: of the row. real: tokens in it that are no padding. how: what the row was encoded with.
    """

    tokenizer: MPLUGOwl2Tokenizer
    text: str
    length: int
    real: int
    how: dict[str, Any]
    n_sequences: int = 1

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        """[start, end) of each token; (0, 0) of padding and of what was put around the text."""
        tokenizer, how = self.tokenizer, self.how
        marked = [] if how.get("split_special_tokens", tokenizer.split_special_tokens) else tokenizer._marked
        found = [(piece.start, piece.end) for piece in tokenizer.pieces(self.text, marked, spans=True)]
        around = tokenizer.special_tokens_pattern if how.get("add_special_tokens", True) else "none"
        before, after = ("bos" in around, "eos" in around)
        kept = self.real - before - after
        found = found[:kept] if tokenizer.truncation_side == "right" else found[len(found) - kept :]
        row = [(0, 0)] * before + found + [(0, 0)] * after
        padding = [(0, 0)] * (self.length - self.real)
        side = how.get("padding_side") or tokenizer.padding_side
        return row + padding if side == "right" else padding + row

    def __getstate__(self) -> dict[str, Any]:
        """Other processes get the spans, not the tokenizer."""
        return {"offsets": self.offsets, "n_sequences": self.n_sequences}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def char_to_token(self, character: int, sequence_index: int = 0) -> int | None:
        """The position of the token that a character belongs to; None: it was cut off."""
        return next((place for place, (start, end) in enumerate(self.offsets) if start <= character < end), None)
