"""A picture's total and its attributes in one pass give what separate passes give."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden import scoring_network
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from artquant.config.schema import Loading
from artquant.demo.phrases import LEVELS
from artquant.errors import ArtQuantError
from artquant.infer.packed import PackedPrompts
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import APDD_SCALE
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import LoadedModel, load_network
from artquant.readouts import readout_of
from artquant.texts.attributes import APDD_ATTRIBUTES
from artquant.texts.prompt import get_prompt

NAMES = tuple(attribute.name for attribute in APDD_ATTRIBUTES)
PICTURES = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (30, 40, 3), np.uint8)) for i in range(3)]


def scorer_of(folder, prompt="artquant", attention="sdpa") -> Scorer:
    loaded = load_network(ModelFolder.open(folder), Loading(attention=attention))
    chosen = get_prompt(prompt)
    readout = readout_of({}, APDD_SCALE).bound(loaded.processor, chosen)
    network = scoring_network(loaded.model)
    return Scorer(LoadedModel(network, loaded.processor, loaded.family, chosen, readout, ("Color",)))


def alone(scorer: Scorer, attribute: str) -> Scorer:
    """A scorer whose only question is about the attribute."""
    prompt = scorer.loaded.prompt
    return Scorer(replace(scorer.loaded, prompt=replace(prompt, answer_prefix=prompt.rating_prefix(attribute))))


@pytest.mark.parametrize(
    ("prompt", "attention"), [("artquant", "sdpa"), ("artquant", "eager"), ("published-score", "sdpa")]
)
def test_one_pass_equals_separate_passes(tiny_base, prompt, attention):
    scorer = scorer_of(tiny_base, prompt, attention)
    together = scorer(PICTURES, attributes=NAMES)
    for total, expected in zip(together, scorer(PICTURES), strict=True):
        assert tuple(total.attributes) == NAMES
        assert list(total.logits.values()) == pytest.approx(list(expected.logits.values()), abs=1e-5)
    for name in NAMES:
        for score, expected in zip(together, alone(scorer, name)(PICTURES), strict=True):
            assert list(score.attributes[name].logits.values()) == pytest.approx(
                list(expected.logits.values()), abs=1e-5
            )
    assert len({round(score.score, 6) for score in together[0].attributes.values()}) > 5  # and they do differ


def test_the_order_of_attributes_changes_nothing(tiny_base):
    scorer = scorer_of(tiny_base)
    forward, backward = scorer(PICTURES, attributes=NAMES), scorer(PICTURES, attributes=NAMES[::-1])
    for one, other in zip(forward, backward, strict=True):
        for name in NAMES:
            assert one.attributes[name].score == pytest.approx(other.attributes[name].score, abs=1e-5)


def test_the_picture_is_encoded_once(tiny_base):
    scorer = scorer_of(tiny_base)
    calls = []
    scorer.network.plain.model.vision_model.register_forward_hook(
        lambda module, inputs, output: calls.append(len(inputs[0]))
    )
    scorer(PICTURES, attributes=NAMES)
    assert calls == [len(PICTURES)]


def test_attention_without_masks_is_refused(tiny_base):
    scorer = scorer_of(tiny_base)
    scorer.network.config._attn_implementation_internal = "flash_attention_2"
    with pytest.raises(ArtQuantError, match="attention eager or sdpa, not flash_attention_2"):
        scorer(PICTURES, attributes=NAMES)
    scorer.network.config._attn_implementation_internal = "sdpa"


def test_attributes_of_equal_words_are_refused(tiny_base):
    with pytest.raises(ArtQuantError, match="same words"):
        scorer_of(tiny_base)(PICTURES, attributes=["Color", "color"])


def test_aspects_are_those_of_the_descriptions():
    aspects = dict(zip(("perception", "cognition", "emotion"), LEVELS, strict=True))
    for attribute in APDD_ATTRIBUTES:
        assert attribute.name in aspects[attribute.aspect]


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=5), st.integers(0, 4))
def test_each_prompt_sees_itself_alone(endings, beginning):
    prompts = [[9] * beginning + [10 + number, *ending] for number, ending in enumerate(endings)]
    packed = PackedPrompts.from_prompts(prompts)
    for prompt, last in zip(prompts, packed.last.tolist(), strict=True):
        seen = packed.visible[last].nonzero().flatten()
        assert packed.input_ids[seen].tolist() == prompt
        assert packed.position_ids[seen].tolist() == list(range(len(prompt)))
        assert torch.equal(packed.visible[last], packed.visible[last] & (torch.arange(len(packed.input_ids)) <= last))
