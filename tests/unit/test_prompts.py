"""The prompt's text and where its tokens lie."""

import json
import re

import pytest

from artquant.errors import ArtQuantError
from artquant.readouts import RatingLevels
from artquant.texts.prompt import PROMPTS, PUBLISHED_SYSTEM, SCORE_QUESTIONS, Prompt, get_prompt

WORDS = ("excellent", "good", "fair", "poor", "bad")
QUESTION = "Rate the quality of this painting."


class WordEncoder:
    """A token for each word, line break or image token; words matched by `merged` are one token even with a space."""

    def __init__(self, merged: str = "(?!)"):
        self.pattern = re.compile(rf"{merged}|<\|image\|>|\n|</s>|[^\s<.]+|\.")
        self.words: list[str] = []

    def tokenize(self, prompt: str) -> list[int]:
        found = self.pattern.findall(prompt)
        self.words += [word for word in found if word not in self.words]
        return [self.words.index(word) for word in found]


class TestText:
    def test_scoring(self):
        question = "How would you rate the quality of this painting?"
        prefix = "The quality of the painting is"
        expected = {
            "artquant": f"USER: <|image|>\n{question} ASSISTANT: {prefix}",
            "published-train": f"{PUBLISHED_SYSTEM} USER: <|image|>\n{question} ASSISTANT: {prefix}",
            "published-score": f"USER: {question}\n<|image|> ASSISTANT: {prefix}",
        }
        assert {name: prompt.score_context() for name, prompt in PROMPTS.items()} == expected

    def test_system_text(self):
        assert PUBLISHED_SYSTEM == (
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the user's questions."
        )

    def test_describing(self):
        prompt = get_prompt("artquant", "photograph")
        contexts = [prompt.description_context(level) for level in (1, 2, 3)]
        assert contexts[0] == "USER: <|image|>\nDescribe what you perceive in this photograph. ASSISTANT:"
        assert len(set(contexts)) == 3 and all("this photograph" in context for context in contexts)
        for level in (0, 4):
            with pytest.raises(ArtQuantError, match=f"levels are 1 to 3, got {level}"):
                prompt.description_context(level)

    def test_subject(self):
        prompt = get_prompt("published-score", "image")
        assert prompt.rating_answer("fair") == "The quality of the image is fair."
        assert "this image?" in prompt.score_context() and "{" not in prompt.score_context()

    def test_ten_questions(self):
        assert len(set(SCORE_QUESTIONS)) == 10 and all("{subject}" in question for question in SCORE_QUESTIONS)

    def test_attributes_share_the_question(self):
        prompt = get_prompt("artquant", "image")
        question = prompt.score_context().removesuffix(prompt.rating_prefix())
        assert prompt.score_context("Color") == f"{question}The color of the image is"
        assert prompt.rating_answer("fair", "The overall") == "The overall impression of the image is fair."
        assert prompt.rating_answer("fair", "Rule  of Thirds") == "The rule of thirds of the image is fair."

    def test_unknown_name(self):
        with pytest.raises(ArtQuantError, match="unknown prompt 'v1'; known are artquant, published-train"):
            get_prompt("v1")

    @pytest.mark.parametrize(
        "field", [{"system": "<|image|>"}, {"subject": "<|image|>"}, {"description_questions": ("a", "b <|image|>")}]
    )
    def test_image_token_in_the_wording(self, field):
        with pytest.raises(ArtQuantError, match=f"{next(iter(field))} must not hold"):
            Prompt("mine", **field)


class TestStored:
    @pytest.mark.parametrize("name", PROMPTS)
    def test_round_trip_through_json(self, name):
        prompt = get_prompt(name, "image")
        assert Prompt.from_dict(json.loads(json.dumps(prompt.to_dict()))) == prompt

    @pytest.mark.parametrize("change", [{"colour": "red"}, {"name": None}])
    def test_other_keys(self, change):
        values = PROMPTS["artquant"].to_dict() | change
        values = {key: value for key, value in values.items() if value is not None}
        with pytest.raises(ArtQuantError, match="stored prompt: expected the keys"):
            Prompt.from_dict(values)


class TestEncoding:
    @pytest.mark.parametrize("name", PROMPTS)
    @pytest.mark.parametrize("word", WORDS)
    def test_rating(self, tiny_processor, name, word):
        """The spans of a scoring conversation, for every prompt and word."""
        prompt = PROMPTS[name]
        readout = RatingLevels.from_encoder(tiny_processor, prompt, WORDS, (10, 7.5, 5, 3.5, 1))
        encoded = prompt.encode_rating(tiny_processor, QUESTION, word, readout.token_ids)
        ids = encoded.token_ids
        assert ids == tiny_processor.tokenize(f"{prompt.context(QUESTION)} The quality of the painting is {word}.</s>")
        learned = tiny_processor.decode(ids[encoded.answer_start :])
        assert learned.strip() == f"The quality of the painting is {word}.</s>"
        assert ids[encoded.rating_index] == readout.token_ids[WORDS.index(word)]
        # Training and scoring see the same ids before the rating word.
        question = "How would you rate the quality of this painting?"
        same = prompt.encode_rating(tiny_processor, question, word, readout.token_ids)
        assert same.token_ids[: same.rating_index] == tiny_processor.tokenize(prompt.score_context())

    @pytest.mark.parametrize("name", PROMPTS)
    @pytest.mark.parametrize("answer", ["Warm light falls.", "A\nB", "The end </s> is near", "é"])
    def test_description(self, tiny_processor, name, answer):
        encoded = PROMPTS[name].encode_description(tiny_processor, "Describe it.", answer)
        assert encoded.rating_index is None
        assert encoded.token_ids[: encoded.answer_start] == tiny_processor.tokenize(
            PROMPTS[name].context("Describe it.")
        )
        assert tiny_processor.decode(encoded.token_ids[encoded.answer_start :]).strip() == f"{answer}</s>"
        assert encoded.token_ids[-1] == 2

    def test_words_of_a_plain_encoder(self):
        encoder, prompt = WordEncoder(), PROMPTS["artquant"]
        ids = [encoder.tokenize(word)[0] for word in WORDS]
        encoded = prompt.encode_rating(encoder, QUESTION, "poor", ids)
        words = [encoder.words[token] for token in encoded.token_ids]
        assert words[encoded.answer_start :] == ["The", "quality", "of", "the", "painting", "is", "poor", ".", "</s>"]
        assert words[encoded.rating_index] == "poor"

    def test_question_and_answer_share_a_token(self):
        with pytest.raises(ArtQuantError, match=r"does not line up: the answer .* token of its own"):
            PROMPTS["artquant"].encode_description(WordEncoder("ASSISTANT: Warm"), "Describe it.", "Warm light.")

    def test_rating_word_shares_a_token_with_the_word_before(self):
        encoder = WordEncoder("is good")
        ids = [encoder.tokenize(word)[0] for word in WORDS]
        with pytest.raises(ArtQuantError, match=r"does not line up: the rating word .* token of its own"):
            PROMPTS["artquant"].encode_rating(encoder, QUESTION, "good", ids)

    def test_rating_word_shares_a_token_with_the_full_stop(self):
        encoder = WordEncoder(r"good\.")
        ids = [encoder.tokenize(word)[0] for word in WORDS]
        with pytest.raises(ArtQuantError, match="should be the rating word 'good', but is id"):
            PROMPTS["artquant"].encode_rating(encoder, QUESTION, "good", ids)
