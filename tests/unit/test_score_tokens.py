"""Score tokens: values that are regressed beside a word that says where a score stands."""

import json
import math

import numpy as np
import pytest
import torch
from golden import seen_logits
from hypothesis import given, settings
from hypothesis import strategies as st

from artquant.config.schema import ConfigError
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE, RatingScale
from artquant.labels.truth import Truths
from artquant.readouts import Known, Scores, readout_of, stored_readout
from artquant.readouts.score_tokens import ScoreTokens
from artquant.texts.prompt import PROMPTS, Exchange

VOCABULARY = 16
IDS = (11, 3, 7, 5, 2)
TOKENS = ScoreTokens(5, 1.0, 10.0, 1.0, position_id=13, token_ids=IDS)
VALUES = np.array([1, 3.25, 5.5, 7.75, 10])

quick = settings(max_examples=60, deadline=None)
logit_rows = st.lists(st.floats(-60, 60, width=32), min_size=VOCABULARY, max_size=VOCABULARY)
counts = st.integers(2, 40)


def made(**settings) -> ScoreTokens:
    return readout_of({"kind": "score_tokens"} | settings, APDD_SCALE)


class TestSettings:
    def test_defaults(self):
        """ROC4MLLM's ten tokens; the targets' deviation is one for a range of nine."""
        readout = made()
        assert (readout.tokens, readout.low, readout.high, readout.sigma) == (10, 1.0, 10.0, 1.0)
        assert readout.new_words == ("[SCORE]", *(f"[IMG{number}]" for number in range(10)))
        assert (readout.width, readout.place_ids, readout.head(16)) == (10, (), None)
        assert readout.learns_word and readout.several and readout.word(3.7) == "[SCORE]"
        assert dict(readout.loss_weights) == {
            "score_l1": 1.0,
            "score_ce": 0.0,
            "score_emd": 0.0,
            "score_emd_batch": 0.0,
        }
        np.testing.assert_allclose(readout.values, np.arange(1, 11))

    def test_range_of_its_own(self):
        readout = made(tokens=3, low=0, high=12, sigma=0.5)
        assert readout.values.tolist() == [0, 6, 12] and readout.sigma == 0.5

    @pytest.mark.parametrize(
        ("settings", "key", "reason"),
        [
            ({"tokens": 1}, "readout.tokens", "must be from 2 to 1000, got 1"),
            ({"tokens": 1001}, "readout.tokens", "must be from 2 to 1000, got 1001"),
            ({"sigma": 0}, "readout.sigma", "must be above 0, got 0"),
            ({"low": 10, "high": 1}, "readout.high", "must be above low, got 10 to 1"),
            ({"low": 1.5}, "readout.low", "scores of 1 to 10 .* leave the range of the tokens, 1.5 to 10; widen it"),
            ({"high": 9}, "readout.high", "scores of 1 to 10 .* leave the range of the tokens, 1 to 9; widen it"),
            ({"token": 5}, "readout.token", "did you mean tokens"),
            ({"closed_set": True}, "readout.closed_set", "no such key"),
        ],
    )
    def test_that_are_refused(self, settings, key, reason):
        with pytest.raises(ConfigError, match=reason) as caught:
            made(**settings)
        assert caught.value.key == key and "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("kind", "advice"),
        [
            ("score_token", "did you mean score_tokens"),
            ("x", "rating_levels, score_tokens"),
            (["x"], "rating_levels, score_tokens"),
            (None, "rating_levels, score_tokens"),
        ],
    )
    def test_unknown_kind(self, kind, advice):
        with pytest.raises(ConfigError, match=rf"readout\.kind: no readout .*; .*{advice}"):
            readout_of({"kind": kind}, APDD_SCALE)

    def test_other_values(self):
        with pytest.raises(ArtQuantError, match=r"score_tokens has no rating words .*leave weights out"):
            TOKENS.with_values([5, 4, 3, 2, 1])

    def test_published_form(self):
        """There and back; another readout's is none of its."""
        tokens = ScoreTokens(5, 1.0, 10.0, 1.0, position_id=3, token_ids=(4, 5, 6, 7, 8))
        assert ScoreTokens.from_published(tokens.published(), str, None) == tokens
        assert ScoreTokens.from_published({"level_ids": [1, 2]}, str, None) is None


class Encoder:
    """Knows some words; each is one token, all before it another, unless it `merges` with what stands before it."""

    def __init__(self, words: tuple[str, ...], merges: bool = False):
        self.ids, self.merges = {word: 20 + number for number, word in enumerate(words)}, merges
        self.vocabulary_size = 20 + len(words)

    def conversation(self, exchange: Exchange) -> str:
        return exchange.answer

    def tokenize(self, text: str) -> list[int]:
        _, _, word = text.rpartition(" ")
        if word not in self.ids:
            return [1]
        return [9] if self.merges else [1, self.ids[word]]

    def word_id(self, word: str) -> int | None:
        return self.ids.get(word)


class TestBinding:
    def test_ids_of_the_added_words(self):
        readout = made(tokens=3)
        bound = readout.bound(Encoder(readout.new_words), PROMPTS["artquant"])
        assert (bound.position_id, bound.token_ids, bound.place_ids) == (20, (21, 22, 23), (20,))

    def test_words_that_are_not_there(self):
        """A model trained with other tokens, or without any."""
        message = r"5 score tokens do not fit this vocabulary, which has no \[IMG3\], \[IMG4\]; name as many tokens as"
        with pytest.raises(ArtQuantError, match=message):
            made(tokens=5).bound(Encoder(made(tokens=3).new_words), PROMPTS["artquant"])

    def test_with_a_trained_tokenizer_that_lacks_them(self, tiny_processor):
        with pytest.raises(ArtQuantError, match=r"has no \[SCORE\], \[IMG0\]"):
            made().bound(tiny_processor, PROMPTS["artquant"])

    def test_position_token_that_does_not_stand_alone(self):
        readout = made(tokens=2)
        with pytest.raises(ArtQuantError, match=r"'\[SCORE\]' changes the tokens before it"):
            readout.bound(Encoder(readout.new_words, merges=True), PROMPTS["artquant"])

    @pytest.mark.parametrize("readout", [TOKENS, made(tokens=4, sigma=0.3)])
    def test_round_trip_through_a_card(self, readout):
        assert stored_readout(json.loads(json.dumps(readout.to_dict()))) == readout

    def test_ids_that_do_not_fit(self):
        for ids in ((1, 2), (1, 2, 2)):
            with pytest.raises(ArtQuantError, match="3 score tokens need as many ids"):
                ScoreTokens(3, 1.0, 10.0, 1.0, position_id=0, token_ids=ids)


@st.composite
def shared(draw) -> Truths:
    """Scores of which the votes on each value of a scale are known."""
    values = np.array(draw(st.lists(st.integers(10, 100), min_size=2, max_size=7, unique=True))) / 10
    rows = draw(st.lists(st.lists(st.integers(0, 9), min_size=len(values), max_size=len(values)), max_size=4))
    shares = np.array([row for row in rows if any(row)], dtype=float).reshape(-1, len(values))
    shares /= shares.sum(1, keepdims=True)
    nothing = np.full(len(shares), np.nan)
    return Truths(nothing, nothing, shares, values)


class TestTargets:
    @quick
    @given(shared(), counts)
    def test_known_shares_keep_their_mean(self, truths, tokens):
        readout = made(tokens=tokens)
        targets = readout.targets(truths)
        assert targets.shape == (len(truths), tokens) and (targets >= 0).all()
        np.testing.assert_allclose(targets.sum(1), 1, rtol=0, atol=1e-9)
        np.testing.assert_allclose(targets @ readout.values, truths.means(), rtol=0, atol=1e-9)

    @quick
    @given(st.lists(st.floats(1, 10), min_size=1, max_size=5), counts, st.floats(0.2, 4))
    def test_a_mean_is_met(self, means, tokens, sigma):
        readout = made(tokens=tokens, sigma=sigma)
        targets = readout.targets(Truths.of_means(np.array(means)))
        np.testing.assert_allclose(targets.sum(1), 1, rtol=0, atol=1e-9)
        np.testing.assert_allclose(readout.moments(targets)[:, 0], means, rtol=0, atol=1e-8)

    def test_each_share_goes_to_the_two_tokens_around_its_value(self):
        truths = Truths(*np.full((2, 1), np.nan), np.array([[0.5, 0.5]]), np.array([10.0, 4.0]))
        np.testing.assert_allclose(TOKENS.targets(truths), [[0, 0.5 * 2 / 3, 0.5 / 3, 0, 0.5]], atol=1e-12)

    def test_records_of_both_kinds(self):
        shares = np.array([[np.nan] * 2, [0.25, 0.75]])
        truths = Truths(np.array([4.2, np.nan]), np.full(2, np.nan), shares, np.array([10.0, 1.0]))
        targets = TOKENS.targets(truths)
        np.testing.assert_allclose(targets @ VALUES, [4.2, 3.25], atol=1e-9)
        np.testing.assert_allclose(targets[1], [0.75, 0, 0, 0, 0.25], atol=1e-12)

    def test_moments(self):
        np.testing.assert_allclose(TOKENS.moments(np.array([[0.5, 0, 0, 0, 0.5]])), [[5.5, 4.5]])

    def test_score_outside_the_range(self):
        with pytest.raises(ArtQuantError, match=r"score 1 is 10\.5: .* between 1 and 10"):
            TOKENS.targets(Truths.of_means(np.array([5.0, 10.5])))


def read(logits: torch.Tensor) -> Scores:
    return TOKENS.read(seen_logits(logits))


class TestReading:
    @quick
    @given(logit_rows)
    def test_is_the_expectation_over_the_tokens(self, row):
        scores = read(torch.tensor([row]))
        chosen = np.array([row[token] for token in IDS], dtype=np.float64)
        probs = np.exp(chosen - chosen.max())
        probs /= probs.sum()
        mean = probs @ VALUES
        np.testing.assert_allclose(scores.columns["probs"][0], probs, rtol=1e-4, atol=1e-6)
        assert scores.score.item() == pytest.approx(mean, abs=1e-4)
        assert scores.std.item() == pytest.approx(math.sqrt(probs @ (VALUES - mean) ** 2), abs=5e-3)
        assert scores.labels == ("1", "3.25", "5.5", "7.75", "10")

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
    def test_extreme_logits(self, dtype):
        logits = torch.full((5, VOCABULARY), -3e4, dtype=dtype)
        logits[range(5), list(IDS)] = 3e4
        scores = read(logits)
        assert scores.score.tolist() == VALUES.tolist() and scores.std.tolist() == [0.0] * 5
        assert scores.score.dtype == torch.float32

    @quick
    @given(logit_rows, st.floats(-30, 30))
    def test_other_tokens_do_not_count(self, row, elsewhere):
        logits = torch.tensor([row])
        others = [token for token in range(VOCABULARY) if token not in IDS]
        changed = logits.clone()
        changed[:, others] = elsewhere
        assert torch.equal(read(changed).score, read(logits).score)

    def test_no_scores(self):
        scores = read(torch.zeros(0, VOCABULARY))
        assert scores.score.shape == (0,) and scores.columns["probs"].shape == (0, 5)


class TestLosses:
    @quick
    @given(st.lists(logit_rows, min_size=1, max_size=3), st.floats(1, 10))
    def test_against_plain_formulas(self, rows, mean):
        logits = torch.tensor(rows)
        targets = TOKENS.targets(Truths.of_means(np.full(len(rows), mean)))
        known = Known(torch.from_numpy(targets).float(), torch.tensor([[mean, 1.0]] * len(rows)))
        found = TOKENS.losses(seen_logits(logits), known, tuple(TOKENS.loss_weights))
        chosen = logits[:, list(IDS)].double().numpy()
        logs = chosen - np.logaddexp.reduce(chosen, axis=1, keepdims=True)
        apart = np.abs(np.exp(logs) @ VALUES - mean)
        expected = {
            "score_l1": np.where(apart < 1, apart**2 / 2, apart - 0.5),
            "score_ce": -(targets * logs).sum(1),
            "score_emd": np.sqrt((np.cumsum(np.exp(logs) - targets, axis=1) ** 2).mean(1)),
            "score_emd_batch": np.full(len(rows), np.sqrt((np.cumsum(np.exp(logs) - targets, axis=1) ** 2).mean())),
        }
        assert found.keys() == expected.keys()
        for term, values in expected.items():
            assert found[term].dtype == torch.float32
            np.testing.assert_allclose(found[term], values, rtol=1e-4, atol=1e-4, err_msg=term)

    def test_only_those_that_are_asked_for(self):
        known = Known(torch.full((1, 5), 0.2), torch.tensor([[5.5, 1.0]]))
        assert TOKENS.losses(seen_logits(torch.zeros(1, VOCABULARY)), known, ("score_emd",)).keys() == {"score_emd"}

    @pytest.mark.parametrize("scale", [0.0, 1.0, 1e4, 3e38])
    def test_gradients_stay_finite(self, scale):
        """With logits of any size, and where prediction and target are the same."""
        logits = torch.rand(4, VOCABULARY, generator=torch.Generator().manual_seed(0)) * scale
        known = Known(
            torch.tensor([[0.2] * 5, [1.0, 0, 0, 0, 0], [0, 0, 1.0, 0, 0], [0.2] * 5]), torch.full((4, 2), 5.5)
        )
        for term in TOKENS.loss_weights:
            variable = logits.clone().requires_grad_()
            TOKENS.losses(seen_logits(variable), known, (term,))[term].sum().backward()
            assert variable.grad.isfinite().all(), term


def test_scale_of_its_own():
    readout = readout_of({"kind": "score_tokens", "tokens": 3}, RatingScale(("good", "bad"), (5.0, 2.0)))
    assert (readout.low, readout.high, readout.sigma) == (2.0, 5.0, pytest.approx(1 / 3))
