"""Records as tokens: where the answer begins and where scores stand, none, one or several of them."""

import re

import numpy as np
import pytest
import torch
from golden import scoring_network, see_batch
from hypothesis import given, settings
from hypothesis import strategies as st

from artquant.batches.batch import Batch
from artquant.batches.dataset import Collator, Item
from artquant.batches.samples import Sample, encode_rounds, encode_row, encode_scores
from artquant.config.schema import Loading, LossConfig
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE
from artquant.labels.truth import Truths
from artquant.models.model_folder import ModelFolder
from artquant.models.vocabulary import add_new_words
from artquant.models.weights import load_network
from artquant.readouts import readout_of
from artquant.readouts.rating_levels import RatingLevels
from artquant.texts.prompt import PROMPTS, Exchange
from artquant.train.objective import Objective

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ("excellent", "good", "fair", "poor", "bad")
PROMPT = PROMPTS["artquant"]
QUESTION = "Rate the quality of this painting."
WORD = "[SCORE]"


class WordEncoder:
    """A token for each word, line break or image token; words matched by `merged` are one token even with a space."""

    def __init__(self, merged: str = "(?!)"):
        self.pattern = re.compile(rf"{merged}|<\|image\|>|\n|</s>|[^\s<.]+|\.")
        self.words: list[str] = []

    def conversation(self, exchange: Exchange) -> str:
        answer = f" {exchange.answer}" if exchange.answer else ""
        return f"USER: <|image|>\n{exchange.question} ASSISTANT:{answer}{'</s>' if exchange.complete else ''}"

    def tokenize(self, text: str) -> list[int]:
        found = self.pattern.findall(text)
        self.words += [word for word in found if word not in self.words]
        return [self.words.index(word) for word in found]


def encode_rating(encoder, prompt, readout, question: str, word: str):
    return encode_scores(
        encoder, prompt, readout, [(question, prompt.rating_answer(word))], [word], len(prompt.rating_prefix())
    )


class TestOneScore:
    @pytest.mark.parametrize("name", PROMPTS)
    @pytest.mark.parametrize("word", WORDS)
    def test_rating(self, tiny_processor, name, word):
        """The spans of a scoring conversation, for every prompt and word."""
        prompt = PROMPTS[name]
        readout = readout_of({}, APDD_SCALE).bound(tiny_processor, prompt)
        encoded = encode_rating(tiny_processor, prompt, readout, QUESTION, word)
        ids, [place] = encoded.row.token_ids, encoded.places
        context = tiny_processor.conversation(prompt.exchange(QUESTION))
        answer = f"The quality of the painting is {word}."
        if name == "roc4mllm":
            answer = f"The aesthetic rate of the image is {word}."
        elif name == "artimuse" or name.startswith("unipercept"):
            answer = word
        assert list(ids) == tiny_processor.tokenize(f"{context} {answer}</s>")
        learned = tiny_processor.decode(ids[encoded.answers[0][0] :])
        assert learned.strip() == f"{answer}</s>"
        assert ids[place] == readout.token_ids[WORDS.index(word)]
        # Training and scoring see the same ids before the rating word.
        question = prompt.scoring().question
        same = encode_rating(tiny_processor, prompt, readout, question, word)
        scoring = encode_row(tiny_processor, prompt.scoring())
        assert same.row.token_ids[: same.places[0]] == scoring.token_ids

    def test_words_of_a_plain_encoder(self):
        encoder = WordEncoder()
        readout = levels(encoder)
        encoded = encode_rating(encoder, PROMPT, readout, QUESTION, "poor")
        words = [encoder.words[token] for token in encoded.row.token_ids]
        assert words[encoded.answers[0][0] :] == ["The", "quality", "of", "the", "painting", "is", "poor", ".", "</s>"]
        assert [words[place] for place in encoded.places] == ["poor"]

    def test_rating_word_shares_a_token_with_the_word_before(self):
        encoder = WordEncoder("is good")
        readout = levels(encoder)
        with pytest.raises(ArtQuantError, match=r"does not line up: the rating word .* token of its own"):
            encode_rating(encoder, PROMPT, readout, QUESTION, "good")

    def test_rating_word_shares_a_token_with_the_full_stop(self):
        encoder = WordEncoder(r"good\.")
        readout = levels(encoder)
        with pytest.raises(ArtQuantError, match="should be the rating word 'good', but is id"):
            encode_rating(encoder, PROMPT, readout, QUESTION, "good")


def levels(encoder: WordEncoder) -> RatingLevels:
    return RatingLevels(WORDS, APDD_SCALE.values, [encoder.tokenize(word)[0] for word in WORDS])


class TestDescription:
    @pytest.mark.parametrize("name", PROMPTS)
    @pytest.mark.parametrize("answer", ["Warm light falls.", "A\nB", "The end </s> is near", "é"])
    def test_description(self, tiny_processor, name, answer):
        encoded = encode_rounds(tiny_processor, PROMPTS[name], [("Describe it.", answer)])
        ids = encoded.row.token_ids
        assert encoded.places == ()
        context = encode_row(tiny_processor, PROMPTS[name].exchange("Describe it."))
        assert ids[: encoded.answers[0][0]] == context.token_ids
        assert tiny_processor.decode(ids[encoded.answers[0][0] :]).strip() == f"{answer}</s>"
        assert ids[-1] == 2

    def test_question_and_answer_share_a_token(self):
        with pytest.raises(ArtQuantError, match=r"does not line up: the answer .* token of its own"):
            encode_rounds(WordEncoder("ASSISTANT: Warm"), PROMPT, [("Describe it.", "Warm light.")])


@pytest.fixture(scope="module")
def loaded(tiny_base):
    """A network with score tokens, and their readout."""
    readout = readout_of({"kind": "score_tokens", "tokens": 4}, APDD_SCALE)
    network = load_network(ModelFolder.open(tiny_base), Loading())
    add_new_words(network.model, network.processor, readout.new_words)
    return network, readout.bound(network.processor, PROMPT)


def encode(loaded, answer: str, scores: int):
    network, readout = loaded
    return encode_scores(network.processor, PROMPT, readout, [("Describe it.", answer)], [WORD] * scores)


class TestSeveralScores:
    @settings(max_examples=40, deadline=None)
    @given(parts=st.lists(st.sampled_from(["Warm light falls", "calm.\n", "a", "It is", ""]), min_size=1, max_size=5))
    def test_places(self, loaded, parts):
        """As many as there are, in order, wherever they stand; the position token is learned at each."""
        answer = f" {WORD} ".join(["Light", *parts])
        encoded = encode(loaded, answer, len(parts))
        ids, [place_id] = encoded.row.token_ids, loaded[1].place_ids
        assert [ids[place] for place in encoded.places] == [place_id] * len(parts)
        assert list(encoded.places) == [index for index, token in enumerate(ids) if token == place_id]
        assert all(place >= encoded.answers[0][0] for place in encoded.places)

    def test_an_answer_that_is_its_score(self, loaded):
        assert encode(loaded, WORD, 1).places == (encode(loaded, WORD, 1).answers[0][0],)

    @pytest.mark.parametrize(
        ("answer", "scores", "message"),
        [
            ("Light [SCORE].", 2, r"2 true scores, but the answer has 1 places for a score \(\[SCORE\]\)"),
            ("Light.", 1, r"1 true scores, but the answer has 0 places"),
            ("Light [SCORE], mood [SCORE].", 1, "more places for a score than the 1 true scores; add the others"),
        ],
    )
    def test_as_many_places_as_scores(self, loaded, answer, scores, message):
        with pytest.raises(ArtQuantError, match=message) as caught:
            encode(loaded, answer, scores)
        assert "\n" not in str(caught.value)


ANSWERS = (
    ("Warm light falls across a quiet harbour.", ()),
    ("The light is [SCORE].", (4.2,)),
    ("The light is [SCORE], the mood [SCORE] and all of it [SCORE].", (1.0, 9.5, 6.3)),
    ("It is calm: [SCORE], [SCORE].", (7.7, 3.1)),
)


def sample(loaded, answer: str, scores: tuple[float, ...]) -> Sample:
    conversation = encode(loaded, answer, len(scores))
    if not scores:
        return Sample(conversation)
    targets = loaded[1].targets(Truths.of_means(np.array(scores)))
    return Sample(conversation, True, targets, np.array([(score, 1.0) for score in scores]))


@pytest.fixture(scope="module")
def items(loaded):
    pixels = torch.randn(len(ANSWERS), 3, 28, 28, generator=torch.Generator().manual_seed(0))
    return [Item(sample(loaded, *entry), pixels[row], str(row)) for row, entry in enumerate(ANSWERS)]


class TestBatch:
    """Rows without a score, with one and with several."""

    def batch(self, loaded, items: list[Item]) -> Batch:
        return Collator(loaded[0].processor, 256)(items)

    def test_scores_belong_to_their_rows(self, loaded, items):
        scored = self.batch(loaded, items).scored
        assert scored.samples.tolist() == [1, 2, 2, 2, 3, 3]
        expected = [score for _, scores in ANSWERS for score in scores]
        torch.testing.assert_close(scored.truth[:, 0], torch.tensor(expected))
        assert scored.targets.shape == (6, 4) and scored.pairs.shape == (0, 2)

    def test_positions_predict_what_is_learned(self, loaded, items):
        batch, place_id = self.batch(loaded, items), loaded[1].place_ids[0]
        ids = batch.inputs["input_ids"].flatten()
        assert ids[batch.scored.positions + 1].tolist() == [place_id] * 6
        assert torch.equal(ids[batch.text.positions + 1], batch.text.token_ids)
        assert (batch.text.token_ids == place_id).sum() == 6  # learned as a word too
        assert sum(batch.text.counts) == len(batch.text.positions)

    @pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 0, 2, 1], [2, 1]])
    def test_together_as_one_by_one(self, loaded, items, order):
        """Every term's sum, and with it every loss."""
        network, readout = loaded
        config = LossConfig(score={"score_l1": 1.0, "score_ce": 1.0, "score_emd": 1.0})
        objective, around = Objective(readout, config), scoring_network(network.model)

        def sums(chosen: list[Item]) -> dict[str, torch.Tensor]:
            batch = self.batch(loaded, chosen)
            with torch.no_grad():
                return objective.term_sums(*see_batch(around, batch), batch)

        together, alone = sums([items[row] for row in order]), [sums([items[row]]) for row in order]
        assert together.keys() == set(objective.terms) and min(together.values()) >= 0
        for term, value in together.items():
            apart = sum(found[term].item() for found in alone)
            assert value.item() == pytest.approx(apart, rel=1e-6, abs=1e-6), term
