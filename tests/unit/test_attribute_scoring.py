"""A picture's total and its attributes in one pass give what separate passes give."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from auto_models import settings
from golden import scoring_network
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from artquant.batches.packed import PackedPrompts
from artquant.batches.samples import encode_row
from artquant.config.schema import Loading
from artquant.demo.phrases import LEVELS
from artquant.errors import ArtQuantError
from artquant.infer.answers import generate_each, generate_together
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import APDD_SCALE
from artquant.models.internvl.family import InternVLFamily
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


def test_attention_without_masks_reads_one_by_one(tiny_base, monkeypatch):
    scorer = scorer_of(tiny_base)
    together = scorer(PICTURES, attributes=NAMES)
    monkeypatch.setattr("artquant.infer.asked.MASKING_ATTENTIONS", ("another",))
    for one, other in zip(scorer(PICTURES, attributes=NAMES), together, strict=True):
        assert tuple(one.attributes) == NAMES
        assert [one.attributes[name].score for name in NAMES] == pytest.approx(
            [other.attributes[name].score for name in NAMES], abs=1e-5
        )


def test_pictures_of_different_lengths(tmp_path):
    """InternVL cuts pictures into tiles: those that take as many positions go together, others one by one."""
    words = ("excellent", "good", "fair", "poor", "bad")
    InternVLFamily().write_tiny(settings("internvl", max_positions=512), tmp_path / "model", words)
    scorer = scorer_of(tmp_path / "model")
    assert scorer.loaded.family.packs
    sizes = ((40, 40), (80, 40), (80, 40), (40, 90))
    mixed = [Image.effect_noise(size, 80).convert("RGB") for size in sizes]
    asked = NAMES[:3]
    each = [scorer([picture], attributes=asked)[0] for picture in mixed]
    apart = [one.score for name in asked for one in alone(scorer, name)(mixed, 1)]
    assert [one.attributes[name].score for name in asked for one in each] == pytest.approx(apart, abs=1e-5)
    for size in (2, 4):
        for one, other in zip(scorer(mixed, size, asked), each, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
            assert [one.attributes[name].score for name in asked] == pytest.approx(
                [other.attributes[name].score for name in asked], abs=1e-5
            )


@pytest.mark.parametrize("kind", ["mplug_owl2", "internvl"])
def test_texts_that_are_written_together(tiny_base, tmp_path, kind):
    """On every family that packs, of pictures that take different numbers of positions: as one by one."""
    folder = tiny_base
    if kind == "internvl":
        folder = tmp_path / "model"
        InternVLFamily().write_tiny(settings("internvl", max_positions=512), folder, APDD_SCALE.words)
    scorer = scorer_of(folder, "artquant-aspects")
    rows = [encode_row(scorer.processor, asked) for asked in scorer.loaded.prompt.analysing().values()]
    sizes = ((40, 40), (80, 40), (40, 90))
    pictures = [scorer.processor.picture(Image.effect_noise(size, 80).convert("RGB")) for size in sizes]
    together = generate_together(scorer.loaded, scorer.device, rows, pictures, 8)
    assert together == generate_each(scorer.loaded, scorer.device, rows, pictures, 8)
    assert len({tuple(line) for texts in together for line in texts}) > 1


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
