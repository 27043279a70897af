"""The Python interface: pictures in, scores or descriptions out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, Literal, overload

import torch
from PIL import Image
from transformers.cache_utils import Cache

from artquant.batches.samples import Conversation, encode_row, encode_scores
from artquant.config.load import convert
from artquant.config.requirements import USUAL_BATCH
from artquant.config.schema import Loading
from artquant.errors import ArtQuantError
from artquant.infer.answers import (
    DECIMALS,
    Answer,
    Begun,
    generate,
    generate_each,
    generate_together,
    score_places,
    with_answers,
    worded,
)
from artquant.infer.asked import Asked, Asking
from artquant.infer.device import choose_device
from artquant.infer.given import Names, Picture, Pictures, as_names, as_pictures
from artquant.infer.score import Score, compared, listed
from artquant.infer.trained import check_attributes, known_attributes
from artquant.models.familiar import watching
from artquant.models.family import NetworkInputs, Row
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import LoadedModel, load_model
from artquant.texts.prompt import IMAGE_TOKEN, Exchange, other_prompt


class Scorer:
    """Scores and describes pictures with one model, whose network must not change meanwhile unless `plain`.

    Example:
        >>> scorer = Scorer.from_pretrained("runs/demo/scores/model")
        >>> scorer("painting.jpg").score
        >>> [one.score for one in scorer(["a.jpg", Image.open("b.png"), array])]
    """

    def __init__(
        self,
        loaded: LoadedModel,
        device: str | torch.device = "cpu",
        score_range: tuple[float, float] | None = None,
        plain: bool = False,
    ):
        if not isinstance(loaded, LoadedModel):
            raise ArtQuantError("a folder or name is what Scorer.from_pretrained takes; Scorer takes a loaded model")
        self.loaded = loaded
        self.score_range = score_range
        self.device = torch.device(device)
        self.network = (loaded.network if loaded.stays else loaded.network.to(self.device)).eval()
        self.processor = loaded.processor
        self._rows: dict[str | None, Row] = {}  # prompts are the same for every picture: tokenised once
        self._asking = Asking(loaded, self.device, plain)
        self._asked: dict[str, Row] = {}
        self._told: dict[tuple[str, ...], Conversation] = {}

    @classmethod
    def from_pretrained(
        cls,
        folder: ModelFolder | Path | str,
        base: Path | str | None = None,
        device: str = "auto",
        prompt: str | None = None,
        weights: Sequence[float] | None = None,
        allow_other_base: bool = False,
        score_range: tuple[float, float] | None = None,
        plain: bool = False,
        **loading: Any,
    ) -> Scorer:
        """Load a model folder: one that we trained, or a published one in full or adapter form.

        Args:
            folder: the model folder, or one that was opened already.
            base: base model folder, for a published LoRA run, or for a full fine-tune saved without tokenizer.
            device: "auto" (the first GPU, else the CPU), "cpu", "cuda:1", ...
            prompt: name of the prompt; default is the model's own.
            weights: the rating words' scores, best first; default are the model's own.
            allow_other_base: put an adapter over a base that it was not trained over.
            score_range: a data set's lowest and highest score, onto which the model's range is mapped linearly; default
                are scores as the model gives them.
            plain: torch's own layers, and nothing read once for several pictures; slower, to compare with.
            loading: `dtype`, `attention`, `quantize`, ...: see `artquant.config.schema.Loading`.

        Raises:
            ArtQuantError: the folder is no usable model, or the device is not there.
        """
        chosen = choose_device(device)
        if not isinstance(folder, ModelFolder):
            folder = ModelFolder.open(folder, base, allow_other_base=allow_other_base)
        if score_range is not None and not -inf < score_range[0] < score_range[1] < inf:
            raise ArtQuantError(f"a range needs a lowest and a higher score, got {score_range[0]:g},{score_range[1]:g}")
        how = convert(Loading, loading, "")
        if how.quantize == "dynamic_int8" and (chosen.type != "cpu" or plain):
            raise ArtQuantError("quantize dynamic_int8 computes on the CPU, in layers of its own; name int8 on a GPU")
        scorer = cls(load_model(folder, how, prompt, weights), chosen, score_range, plain)
        if plain:
            scorer.network.precise()
        else:
            scorer.network.quicken(chosen, scorer.loaded.quantize == "dynamic_int8")
        return scorer

    def _row(self, attribute: str | None) -> Row:
        if attribute not in self._rows:
            self._rows[attribute] = encode_row(self.processor, self.loaded.prompt.scoring(attribute))
        return self._rows[attribute]

    def score_pictures(self, pictures: Sequence[Any], attributes: Sequence[str] = ()) -> list[Score]:
        """Scores of prepared pictures (`Processor.picture`); of the whole and of each attribute.

        Where family and attention allow it, all are read in one pass; of a model that was trained on answers with
        several scores, from one such answer.

        Args:
            attributes: names, as `LoadedModel.attributes` lists those that the model was trained on.

        Raises:
            ArtQuantError: two attributes have the same words, or one has none.
        """
        check_attributes(attributes)
        if self.loaded.familiar is None:
            return self._scored(pictures, attributes)
        with watching(self.network) as watch:
            scores = self._scored(pictures, attributes)
        found = compared(scores, self.loaded.familiar, watch)
        if found is None:
            return scores if len(pictures) == 1 else [self.score_pictures([one], attributes)[0] for one in pictures]
        return found

    def _scored(self, pictures: Sequence[Any], attributes: Sequence[str]) -> list[Score]:
        """Scores of the whole and of each attribute."""
        if attributes and self.loaded.one_text:
            told = self._conversation(tuple(attributes))
            inputs = self.processor.inputs([told.row] * len(pictures), pictures)
            starts = inputs.ends()[:, None] - len(told.row.token_ids) - 1
            each = self._scores(self._asking.begin(told.row, inputs, starts + torch.tensor([told.places])))
        else:
            each = self._score_rows([self._row(attribute) for attribute in (None, *attributes)], pictures)
        return [replace(total, attributes=dict(zip(attributes, others, strict=True))) for total, *others in each]

    def score_by(self, prompts: Sequence[str], pictures: Sequence[Any]) -> list[list[Score]]:
        """Scores of prepared pictures by the questions of other prompts, by their names: of each picture a list."""
        for prompt in prompts:
            if prompt not in self._asked:
                asked = other_prompt(prompt, self.loaded.prompt).scoring()
                self._asked[prompt] = encode_row(self.processor, asked)
        return self._score_rows([self._asked[prompt] for prompt in prompts], pictures)

    def _score_rows(self, rows: Sequence[Row], pictures: Sequence[Any]) -> list[list[Score]]:
        """Scores of each picture by each row; in one pass where family and attention allow it."""
        found = [self._scores(asked) for asked in self._asking.ask(rows, pictures)]
        return [[score for scores in each for score in scores] for each in zip(*found, strict=True)]

    def _conversation(self, attributes: tuple[str, ...]) -> Conversation:
        """The answer that holds the scores of the whole and of attributes."""
        if attributes not in self._told:
            prompt, readout = self.loaded.prompt, self.loaded.readout
            word = readout.word(readout.low)
            rounds = [(prompt.rating_several(attributes), prompt.several_rating_answer(word, attributes))]
            words = [word] * (1 + len(attributes))
            self._told[attributes] = encode_scores(self.processor, prompt, readout, rounds, words)
        return self._told[attributes]

    def _scores(self, asked: Asked) -> list[list[Score]]:
        """Scores at the ends [B, N] of each row."""
        rows, width = asked.inputs["input_ids"].shape
        positions = (asked.ends + width * torch.arange(rows)[:, None]).flatten().to(self.device)
        scores = self._read(asked.inputs, positions, asked.begun)
        count = asked.ends.shape[1]
        return [scores[start : start + count] for start in range(0, len(scores), count)]

    def _read(self, inputs: NetworkInputs, positions: torch.Tensor, begun: Cache | None = None) -> list[Score]:
        """Scores at flat positions, on the chosen range."""
        readout = self.loaded.readout
        scores = listed(self.network, readout, inputs, positions, self.loaded.name, begun)
        if self.score_range is None:
            return scores
        return [one.mapped((readout.low, readout.high), self.score_range) for one in scores]

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a path is also a sequence of paths
        self, images: Picture, batch_size: int = ..., attributes: Names = ..., *, unit: bool = ...
    ) -> Score: ...
    @overload
    def __call__(
        self, images: Sequence[Picture], batch_size: int = ..., attributes: Names = ..., *, unit: bool = ...
    ) -> list[Score]: ...
    @overload
    def __call__(
        self,
        images: Pictures,
        batch_size: int = ...,
        attributes: Names = ...,
        *,
        as_tensor: Literal[True],
        unit: bool = ...,
    ) -> torch.Tensor: ...
    def __call__(
        self,
        images: Pictures,
        batch_size: int = USUAL_BATCH,
        attributes: Names = (),
        *,
        unit: bool = False,
        as_tensor: bool = False,
    ) -> Score | list[Score] | torch.Tensor:
        """Scores of pictures of any size and mode: of one picture a score, of several a list in their order.

        Args:
            images: paths, PIL pictures, arrays or tensors, as `artquant.infer.given.as_pictures` takes them.
            attributes: a name or several, of those that the model was trained on; "trained": all of them.
            unit: scores in 0 to 1 instead of the range of the model (or of `score_range`).
            as_tensor: the scores alone, [N] on the scorer's device; with A attributes [N, 1 + A], the whole first.

        Raises:
            ArtQuantError: something is no picture; the model's card does not know an attribute; or as
                `score_pictures`, which scores any.
        """
        pictures, single = as_pictures(images)
        names = known_attributes(self.loaded, as_names(attributes))
        scores = [
            score
            for batch in _batches(pictures, batch_size)
            for score in self.score_pictures(self._prepared(batch), names)
        ]
        if unit:
            scores = [score.mapped(self.range, (0.0, 1.0)) for score in scores]
        if as_tensor:
            values = [[one.score for one in (score, *score.attributes.values())] for score in scores]
            table = torch.tensor(values, device=self.device).reshape(len(scores), 1 + len(names))
            return table if names else table[:, 0]
        return scores[0] if single else scores

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest score."""
        return self.score_range or (self.loaded.readout.low, self.loaded.readout.high)

    def _prepared(self, images: Sequence[Image.Image]) -> list[Any]:
        return [self.processor.picture(image) for image in images]

    @overload
    def describe(  # type: ignore[overload-overlap]
        self, images: Picture, level: int | None = ..., max_new_tokens: int = ..., batch_size: int = ...
    ) -> str: ...
    @overload
    def describe(
        self, images: Sequence[Picture], level: int | None = ..., max_new_tokens: int = ..., batch_size: int = ...
    ) -> list[str]: ...
    def describe(
        self, images: Pictures, level: int | None = None, max_new_tokens: int = 512, batch_size: int = 8
    ) -> str | list[str]:
        """Descriptions, the likeliest words; scores that are said stand in them as numbers.

        Args:
            images: as in a call; of one picture a text, of several a list.
            level: 1 perception, 2 perception and cognition, 3 perception, cognition and emotion; None: the fullest.
            max_new_tokens: where a description is cut off at the latest.
        """
        asked = self.loaded.prompt.describing(level)
        pictures, single = as_pictures(images)
        texts = [answer.text for answer in self._answers(pictures, asked, max_new_tokens, batch_size, DECIMALS)]
        return texts[0] if single else texts

    def answer(
        self,
        images: Sequence[Picture],
        question: str | None = None,
        decimals: int = DECIMALS,
        max_new_tokens: int = 512,
        batch_size: int = 8,
    ) -> list[Answer]:
        """What the model says to a question about each picture, with every score that it says on the way.

        Args:
            question: default is that of scoring. decimals: of the scores in the text.
        """
        prompt = self.loaded.prompt
        exchange = prompt.exchange(prompt.scored_question if question is None else question)
        return self._answers(as_pictures(images)[0], exchange, max_new_tokens, batch_size, decimals)

    def assess(
        self, images: Sequence[Picture], decimals: int = DECIMALS, batch_size: int = 8
    ) -> tuple[list[str], list[float | None]]:
        """Texts and scores of pictures, both with so many decimals, as ROC4MLLM's published call gives them.

        A text without a score has None (published: -1).
        """
        answers = self.answer(images, decimals=decimals, batch_size=batch_size)
        scores = [round(answer.scores[0].score, decimals) if answer.scores else None for answer in answers]
        return [answer.text for answer in answers], scores

    def analyse_pictures(self, pictures: Sequence[Any], max_new_tokens: int = 512) -> list[dict[str, str]]:
        """A text on each aspect that the prompt names, of prepared pictures (`Processor.picture`), the likeliest words.

        Raises:
            ArtQuantError: the prompt names none.
        """
        rows = [encode_row(self.processor, asked) for asked in self.loaded.prompt.analysing().values()]
        together = generate_together if self.loaded.family.packs else generate_each
        ids = together(self.loaded, self.device, rows, pictures, max_new_tokens)
        return [dict(zip(self.loaded.prompt.aspects, self._texts(each), strict=True)) for each in ids]

    def score_and_describe(
        self, images: Pictures, levels: Sequence[int] = (1, 2, 3), max_new_tokens: int = 512, batch_size: int = 8
    ) -> list[tuple[Score, dict[int, str]]]:
        """Score and descriptions of each picture, which is read once where family and prompt allow it.

        Args:
            images: as in a call. levels, max_new_tokens: as of `describe`, none and 0 are refused.
        """
        if not levels:
            raise ArtQuantError("levels: name one or more of 1 to 3")
        rows = [self.row(self.loaded.prompt.describing(level)) for level in levels]
        found = list[tuple[Score, dict[int, str]]]()
        for batch in _batches(as_pictures(images)[0], batch_size):
            read = self._read_once(self._prepared(batch), rows, max_new_tokens)
            if read is None:
                told = [self.describe(batch, level, max_new_tokens, batch_size) for level in levels]
                read = self.score_pictures(self._prepared(batch)), [list(texts) for texts in zip(*told, strict=True)]
            found += [(score, dict(zip(levels, texts, strict=True))) for score, texts in zip(*read, strict=True)]
        return found

    def _read_once(
        self, pictures: Sequence[Any], rows: Sequence[Row], max_new_tokens: int
    ) -> tuple[list[Score], list[list[str]]] | None:
        """Scores and answers to questions; None: the pictures cannot be read once for both."""
        if self.loaded.readout.several or not self.loaded.family.packs:  # a text's own scores are read where they stand
            return None
        asked = self._row(None)
        with watching(self.network) as watch:
            begun = Begun.read(self.loaded, self.device, [asked, *rows], pictures)
        if begun is None:
            return None
        each = [score for [score] in self._scores(begun.asked(asked, self.device))]
        scores = compared(each, self.loaded.familiar, watch)
        if scores is None:
            return None
        return scores, [self._texts(each) for each in begun.generate(self.loaded, self.device, rows, max_new_tokens)]

    def say(self, rows: Sequence[Row], pictures: Sequence[Any], max_new_tokens: int) -> list[str]:
        """Texts that answer B questions (`row`), each about its prepared picture, in one batch: the likeliest words.

        Blanks around a text are left out, and special tokens in it.
        """
        return self._texts(generate(self.loaded, self.device, rows, pictures, max_new_tokens)[1].tolist())

    def _texts(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return [self.processor.decode(line, skip_special_tokens=True).strip() for line in ids]

    def row(self, asked: Exchange) -> Row:
        """A question that the model can be asked, in tokens.

        Raises:
            ArtQuantError: it has no words, holds a picture, or is too long for the network.
        """
        if not asked.question.strip() or IMAGE_TOKEN in asked.question:
            raise ArtQuantError(f"a question needs words, and the picture is put before them; got {asked.question!r}")
        row = encode_row(self.processor, asked)
        length, longest = len(row.token_ids) - 1 + self.processor.picture_positions, self.processor.longest
        if longest is not None and length >= longest:
            raise ArtQuantError(f"picture and question take {length} positions, the network has {longest}; ask shorter")
        return row

    def _answers(
        self, images: Sequence[Image.Image], asked: Exchange, max_new_tokens: int, batch_size: int, decimals: int
    ) -> list[Answer]:
        row, answers = self.row(asked), list[Answer]()
        for batch in _batches(images, batch_size):
            rows = [row] * len(batch)
            inputs, ids = generate(self.loaded, self.device, rows, self._prepared(batch), max_new_tokens)
            places = score_places(self.loaded, ids)
            scores: dict[int, list[Score]] = defaultdict(list)
            if len(places):
                whole = with_answers(inputs, ids)
                width, begin = whole["input_ids"].shape[1], inputs["input_ids"].shape[1]
                read = self._read(whole, places[:, 0] * width + begin + places[:, 1] - 1)
                for (number, _), score in zip(places.tolist(), read, strict=True):
                    scores[number].append(score)
            answers += [worded(self.loaded, line, scores[number], decimals) for number, line in enumerate(ids.tolist())]
        return answers


def _batches(images: Sequence[Image.Image], size: int) -> Iterator[Sequence[Image.Image]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]
