"""Scores over 101 words (`readout: {kind: value_tokens}`)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artquant.config.schema import ConfigError
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.labels.truth import Truths
from artquant.models.mplug_owl2.configuration import MPLUGOwl2Config
from artquant.models.mplug_owl2.published import note_scale
from artquant.readouts import Known, Seen, readout_of, stored_readout
from artquant.readouts.value_tokens import WORDS, ValueTokens
from artquant.texts.prompt import get_prompt

IDS = tuple(range(5, 106))
HUNDRED = ValueTokens(token_ids=IDS)


def seen(logits):
    return Seen(logits, torch.zeros(len(logits), 0))


def known(readout, means):
    targets = torch.from_numpy(readout.targets(Truths.of_means(np.array(means)))).float()
    return Known(targets, torch.tensor([[mean, 1.0] for mean in means]))


def test_no_other_published_form_is_told_of_them(tiny_processor):
    """Their class has no key for them, and mPLUG-Owl2's code does not know them."""
    config = MPLUGOwl2Config()
    before = config.to_dict()
    note_scale(config, tiny_processor, get_prompt("artimuse", "image"), HUNDRED)
    assert HUNDRED.published() and config.to_dict() == before


def test_words():
    """As published: the letter b is left out."""
    assert len(set(WORDS)) == 101
    assert [WORDS[place] for place in (0, 25, 26, 50, 51, 75, 76, 100)] == [
        *("aa", "az", "ca", "cy", "da", "dy", "ea", "ey"),
    ]


@given(st.floats(0, 100))
def test_the_nearest_word(score):
    assert abs(WORDS.index(HUNDRED.word(score)) - score) <= 0.5
    [target] = HUNDRED.targets(Truths.of_means(np.array([score])))
    assert target.sum() == pytest.approx(1) and abs(target @ HUNDRED.values - score) <= 0.5 + 1e-9


def test_outside_of_the_range():
    with pytest.raises(ArtQuantError, match="score 101 lies outside 0 to 100"):
        HUNDRED.word(101)


@pytest.mark.parametrize("target", ["two-level", "gaussian"])
@given(mean=st.floats(1.5, 9.5))
def test_soft_targets_have_the_mean(target, mean):
    readout = readout_of({"kind": "value_tokens", "target": target}, RatingScale.even(1.0, 10.0))
    [moments] = readout.moments(readout.targets(Truths.of_means(np.array([mean]))))
    assert moments[0] == pytest.approx(mean, abs=1e-6)


def test_expectation_over_the_words_alone():
    logits = torch.randn(3, 120, generator=torch.Generator().manual_seed(0))
    scores = HUNDRED.read(seen(logits))
    probs = logits[:, list(IDS)].softmax(-1)
    torch.testing.assert_close(scores.score, probs @ torch.arange(101.0))
    changed = logits.clone()
    changed[:, :5] = 30
    torch.testing.assert_close(HUNDRED.read(seen(changed)).score, scores.score)
    assert scores.score.dtype == torch.float32 and scores.labels == WORDS


def test_losses():
    """Of one word the cross-entropy, over the vocabulary or the words."""
    logits = torch.randn(2, 120, generator=torch.Generator().manual_seed(1))
    found = HUNDRED.losses(seen(logits), known(HUNDRED, [76.2, 3.0]), ("value", "closed_value"))
    words = torch.tensor([76, 3])
    wanted = torch.nn.functional.cross_entropy(logits, words + 5, reduction="none")
    torch.testing.assert_close(found["value"], wanted)
    closed = torch.nn.functional.cross_entropy(logits[:, list(IDS)], words, reduction="none")
    torch.testing.assert_close(found["closed_value"], closed)


def test_stored():
    assert stored_readout(HUNDRED.to_dict()) == HUNDRED


@pytest.mark.parametrize("settings", [{"target": "gaussian", "sigma": 0.0}, {"sigma": 1.0}])
def test_sigma_goes_with_gaussian(settings):
    with pytest.raises(ConfigError, match="must be above 0 and goes with target: gaussian"):
        readout_of({"kind": "value_tokens", **settings}, RatingScale.even(0.0, 100.0))


def test_ids_that_repeat():
    with pytest.raises(ArtQuantError, match="101 values need as many different token ids, got 100"):
        ValueTokens(token_ids=(*IDS[:-1], IDS[0]))
