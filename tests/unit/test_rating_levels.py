"""Rating words as a scale."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden import seen_logits
from hypothesis import given, settings
from hypothesis import strategies as st

from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.labels.truth import Truths
from artquant.readouts import Known, Scores, readout_of, stored_readout
from artquant.readouts.rating_levels import RatingLevels
from artquant.texts.prompt import PROMPTS, Exchange

WORDS = ("excellent", "good", "fair", "poor", "bad")
WEIGHTS = (10.0, 7.5, 5.0, 3.5, 1.0)
IDS = (11, 3, 7, 5, 2)
LEVELS = RatingLevels(WORDS, WEIGHTS, IDS)
PUBLISHED = replace(LEVELS, word_rule="published")
VOCABULARY = 16

logit_rows = st.lists(st.floats(-80, 80, width=32), min_size=VOCABULARY, max_size=VOCABULARY)
quick = settings(max_examples=60, deadline=None)


class Encoder:
    """The context is one token; words are as many tokens as given."""

    def __init__(self, **words: list[int]):
        self.words = words

    def conversation(self, exchange: Exchange) -> str:
        return exchange.answer

    def tokenize(self, text: str) -> list[int]:
        word = text.rpartition(" ")[2]
        return [1, *self.words.get(word, [])]


def bound(encoder, words: tuple[str, ...], values: tuple[float, ...], prompt: str = "artquant", **options):
    return readout_of(options, RatingScale(words, values)).bound(encoder, PROMPTS[prompt])


def read(levels: RatingLevels, logits: torch.Tensor) -> Scores:
    return levels.read(seen_logits(logits))


class TestWords:
    def test_ids_come_from_the_prompt(self):
        encoder = Encoder(good=[4], bad=[9])
        levels = bound(encoder, ("good", "bad"), (2.0, 1.0), closed_set=False)
        assert (levels.token_ids, levels.weights, levels.closed_set) == ((4, 9), (2.0, 1.0), False)
        assert bound(encoder, ("good", "bad"), (2.0, 1.0)).closed_set and levels.place_ids == (4, 9)

    @pytest.mark.parametrize(("ids", "count"), [([4, 5], 2), ([], 0)])
    def test_word_that_is_not_one_token(self, ids, count):
        with pytest.raises(ArtQuantError, match=rf"the rating word 'good' takes {count} tokens .* choose another word"):
            bound(Encoder(bad=[9], good=ids), ("good", "bad"), (2.0, 1.0))

    def test_words_that_are_the_same_token(self):
        with pytest.raises(ArtQuantError, match="rating token_ids must differ"):
            bound(Encoder(bad=[9], good=[9]), ("good", "bad"), (2.0, 1.0))

    def test_with_a_trained_tokenizer(self, tiny_processor):
        ids = {name: bound(tiny_processor, WORDS, WEIGHTS, name).token_ids for name in PROMPTS}
        assert len(set(ids.values())) == 1
        pieces = [tiny_processor.tokenizer.sp_model.id_to_piece(token) for token in ids["artquant"]]
        assert pieces == [f"▁{word}" for word in WORDS]
        with pytest.raises(ArtQuantError, match="'sublime' takes"):
            bound(tiny_processor, ("sublime", "bad"), (2.0, 1.0))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"weights": (1, 2)}, "5 words, 2 weights, 5 ids"),
            ({"token_ids": (1, 2, 3)}, "5 words, 5 weights, 3 ids"),
            ({"words": ("good",), "weights": (1,), "token_ids": (1,)}, "1 words"),
            ({"words": ("good", *WORDS[1:])}, "words must differ"),
            ({"weights": (7.5, *WEIGHTS[1:])}, "weights must differ"),
            ({"token_ids": (3, *IDS[1:])}, "token_ids must differ"),
            ({"weights": (math.inf, *WEIGHTS[1:])}, "weights must be finite"),
            ({"weights": (math.nan, *WEIGHTS[1:])}, "weights must be finite"),
        ],
    )
    def test_scales_that_are_refused(self, change, message):
        with pytest.raises(ArtQuantError, match=message):
            replace(LEVELS, **change)

    def test_round_trip_through_json(self):
        values = json.loads(json.dumps(LEVELS.to_dict()))
        assert stored_readout(values) == LEVELS

    def test_published_rule_for_the_answer(self):
        scores = {0.5: "bad", 1: "bad", 1.01: "poor", 3.5: "poor", 3.51: "fair", 5: "fair", 7.5: "good"}
        assert {score: PUBLISHED.word(score) for score in scores} == scores
        assert PUBLISHED.word(7.6) == PUBLISHED.word(12) == "excellent"
        reverse = RatingLevels(WORDS[::-1], WEIGHTS[::-1], IDS[::-1], word_rule="published")
        assert {score: reverse.word(score) for score in scores} == scores

    def test_the_answer_is_the_likeliest_word_of_the_target(self):
        reverse = RatingLevels(WORDS[::-1], WEIGHTS[::-1], IDS[::-1])
        target = np.array([0.1, 0.3, 0.2, 0.3 + 1e-12, 0.1])  # good and poor alike: the better
        for score in (1.2, 6.0, 9.9):
            assert LEVELS.word(score, target) == reverse.word(score, target[::-1]) == "good"
        nearest = {0.5: "bad", 1.2: "bad", 4.5: "fair", 7.6: "good", 8.9: "excellent", 12: "excellent"}
        assert {score: LEVELS.word(score) for score in nearest} == nearest  # of its Gaussian


class TestScore:
    def test_closed_and_open_set(self):
        logits = torch.zeros(2, VOCABULARY)
        logits[1, list(IDS)] = torch.log(torch.tensor([8.0, 4.0, 2.0, 1.0, 1.0]))
        closed = read(LEVELS, logits)
        weights = np.array(WEIGHTS)
        for row, probs in enumerate(([0.2] * 5, [0.5, 0.25, 0.125, 0.0625, 0.0625])):
            mean = weights @ probs
            np.testing.assert_allclose(closed.columns["probs"][row], probs, rtol=1e-6)
            assert closed.score[row].item() == pytest.approx(mean, rel=1e-6)
            assert closed.std[row].item() == pytest.approx(math.sqrt((weights - mean) ** 2 @ probs), rel=1e-6)
        opened = read(replace(LEVELS, closed_set=False), logits)
        np.testing.assert_allclose(opened.columns["probs"][0], [1 / 16] * 5, rtol=1e-6)
        np.testing.assert_allclose(opened.columns["probs"][1], np.array([8, 4, 2, 1, 1]) / 27, rtol=1e-6)
        assert opened.score[1].item() == pytest.approx(weights @ np.array([8, 4, 2, 1, 1]) / 27, rel=1e-6)
        assert torch.equal(closed.columns["logits"], logits[:, list(IDS)])

    @pytest.mark.parametrize("closed_set", [True, False])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    def test_extreme_logits(self, closed_set, dtype):
        logits = torch.full((5, VOCABULARY), -3e4, dtype=dtype)
        logits[range(5), list(IDS)] = 3e4
        scores = read(replace(LEVELS, closed_set=closed_set), logits)
        assert scores.score.tolist() == list(WEIGHTS) and scores.std.tolist() == [0.0] * 5
        assert scores.score.dtype == torch.float32

    @quick
    @given(logit_rows)
    def test_closed_score_lies_on_the_scale(self, row):
        scores = read(LEVELS, torch.tensor([row]))
        assert min(WEIGHTS) - 1e-5 <= scores.score.item() <= max(WEIGHTS) + 1e-5
        assert 0 <= scores.std.item() <= (max(WEIGHTS) - min(WEIGHTS)) / 2 + 1e-5
        assert scores.columns["probs"].sum().item() == pytest.approx(1, abs=1e-5)

    @quick
    @given(logit_rows, st.floats(-50, 50), st.booleans())
    def test_a_shift_of_all_logits_changes_nothing(self, row, shift, closed_set):
        levels = replace(LEVELS, closed_set=closed_set)
        scores, shifted = (read(levels, torch.tensor([row]) + move) for move in (0, shift))
        assert shifted.score.item() == pytest.approx(scores.score.item(), abs=1e-3)
        assert shifted.std.item() == pytest.approx(scores.std.item(), abs=5e-3)

    @quick
    @given(logit_rows)
    def test_open_set_is_the_closed_one_times_the_mass_inside(self, row):
        logits = torch.tensor([row])
        closed, opened = (read(replace(LEVELS, closed_set=closed_set), logits) for closed_set in (True, False))
        inside = opened.columns["probs"].sum()
        assert 0 <= inside.item() <= 1 + 1e-5
        torch.testing.assert_close(opened.columns["probs"], closed.columns["probs"] * inside, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(opened.score, closed.score * inside, rtol=1e-4, atol=1e-5)

    @quick
    @given(st.permutations(range(5)), logit_rows)
    def test_order_of_the_words_does_not_matter(self, order, row):
        other = RatingLevels(*(tuple(values[index] for index in order) for values in (WORDS, WEIGHTS, IDS)))
        found, expected = (read(levels, torch.tensor([row])) for levels in (other, LEVELS))
        torch.testing.assert_close(found.score, expected.score, rtol=1e-5, atol=1e-5)

    def test_no_samples(self):
        scores = read(LEVELS, torch.zeros(0, VOCABULARY))
        assert scores.score.shape == (0,) and scores.columns["probs"].shape == (0, 5)


class TestTraining:
    def test_targets_have_the_score_as_expectation(self):
        scores = np.array([1.0, 1.3, 4.0, 6.2, 9.9, 10.0])
        targets = LEVELS.targets(Truths.of_means(scores))
        assert targets.shape == (6, 5)
        np.testing.assert_allclose(targets @ np.array(WEIGHTS), scores, rtol=0, atol=1e-8)
        with pytest.raises(ArtQuantError, match="between 1 and 10"):
            LEVELS.targets(Truths.of_means(np.array([5.0, 10.5])))

    def test_known_shares_are_the_target(self):
        """Where they are over the words; a record without them gets a target made from its mean."""
        shares = np.array([[0.1, 0.2, 0.4, 0.2, 0.1], [np.nan] * 5])
        targets = LEVELS.targets(Truths(np.array([9.0, 4.2]), np.full(2, np.nan), shares, np.array(WEIGHTS)))
        np.testing.assert_array_equal(targets[0], shares[0])
        assert targets[1] @ np.array(WEIGHTS) == pytest.approx(4.2, abs=1e-8)
        with_other_values = Truths(np.array([4.2]), np.full(1, np.nan), np.ones((1, 1)), np.ones(1))
        assert LEVELS.targets(with_other_values)[0] @ np.array(WEIGHTS) == pytest.approx(4.2, abs=1e-8)

    def test_losses_over_the_words_alone_and_the_vocabulary(self):
        seen = seen_logits(torch.zeros(1, VOCABULARY))
        known = Known(torch.tensor([[0.5, 0.5, 0, 0, 0]]), torch.tensor([[8.75, 1.25]]))
        found = LEVELS.losses(seen, known, ("score_distribution", "closed_distribution", "in_level"))
        assert found["score_distribution"].item() == pytest.approx(math.log(16 / 2), rel=1e-6)
        assert found["closed_distribution"].item() == pytest.approx(math.log(5 / 2), rel=1e-6)
        assert found["in_level"].item() == pytest.approx(11 / 16, rel=1e-6)
        assert LEVELS.losses(seen, known, ("in_level",)).keys() == {"in_level"}
        assert dict(LEVELS.loss_weights) == {"score_distribution": 0.05, "closed_distribution": 0.0, "in_level": 0.0}

    def test_other_scores_for_the_words(self):
        changed = LEVELS.with_values([5, 4, 3, 2, 1])
        assert changed == replace(LEVELS, weights=(5.0, 4.0, 3.0, 2.0, 1.0)) and (changed.low, changed.high) == (1, 5)
        with pytest.raises(ArtQuantError, match="5 words, 2 weights"):
            LEVELS.with_values([2, 1])
