"""A total and its attributes that are learned in one sequence give the losses that they give one by one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from auto_models import settings
from golden import scoring_network
from PIL import Image

from artquant.batches.dataset import ArtDataset, Collator
from artquant.config.schema import Loading, LossConfig
from artquant.data.fields import RecordError
from artquant.data.records import AttributeScore, TrainingRecord, parse_training_record
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE
from artquant.models.internvl.family import InternVLFamily
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import load_network
from artquant.readouts import readout_of
from artquant.texts.prompt import PROMPTS, get_prompt
from artquant.train.objective import Objective

ATTRIBUTES = (AttributeScore("Color", 3.0), AttributeScore("Mood", 8.0, 0.7), AttributeScore("The overall", 5.5, 1.2))
TOTAL = TrainingRecord(
    id="a", image=Path("a.png"), task="score", question="Rate the quality of this painting.", answer="",
    gt_score=6.0, std=None, level_probs=(0.1, 0.3, 0.4, 0.1, 0.1), attribute=None, level=None, source="s.json record 1",
    attributes=ATTRIBUTES,
)  # fmt: skip
TEXT = replace(
    TOTAL, id="c", task="description", question="Describe this painting.", answer="Boats lie still in a harbour.",
    gt_score=None, level_probs=None, attributes=(),
)  # fmt: skip


class World:
    """A small network of a family with what makes batches for it; pictures of three shapes."""

    def __init__(self, folder, pictures, attention="sdpa", prompt="artquant"):
        self.loaded = load_network(ModelFolder.open(folder), Loading(attention=attention))
        self.prompt = get_prompt(prompt)
        self.readout = readout_of({}, APDD_SCALE).bound(self.loaded.processor, self.prompt)
        self.network = scoring_network(self.loaded.model).eval()
        self.pictures = [pictures / f"{number}.png" for number in range(3)]
        for path, size in zip(self.pictures, ((40, 40), (80, 40), (40, 90)), strict=True):
            Image.effect_noise(size, 80).convert("RGB").save(path)

    def batch(self, *records, max_length=500):
        processor = self.loaded.processor
        data = ArtDataset(records, processor, self.prompt, self.readout, APDD_SCALE.values, max_length)
        return Collator(processor, max_length)([data[index] for index in range(len(data))])

    def sums(self, *records, **config):
        batch, objective = self.batch(*records), Objective(self.readout, LossConfig(**config))
        return objective.sums(self.network, batch), objective.counts([batch])


@pytest.fixture(params=[("mplug_owl2", "sdpa"), ("mplug_owl2", "eager"), ("internvl", "sdpa")], ids="-".join)
def world(request, tiny_base, tmp_path):
    kind, attention = request.param
    folder = tiny_base
    if kind == "internvl":
        folder = tmp_path / "model"
        InternVLFamily().write_tiny(settings("internvl", max_positions=512), folder, APDD_SCALE.words)
    return World(folder, tmp_path, attention)


def apart(record):
    """The same scores as records of their own; targets as the attributes' spreads give them."""
    yield replace(record, attributes=())
    for one in record.attributes:
        yield replace(record, attribute=one.name, gt_score=one.mean, std=one.std, level_probs=None, attributes=())


def test_losses_are_those_of_records_of_their_own(world):
    records = [replace(TOTAL, image=path) for path in world.pictures]
    texts = [replace(TEXT, image=path) for path in world.pictures[:2]]
    plain = [replace(r, attributes=tuple(replace(one, std=None) for one in r.attributes)) for r in records]
    packed, counts = world.sums(plain[0], texts[0], plain[1], texts[1], plain[2])
    each, expected = world.sums(*texts, *(single for record in plain for single in apart(record)))
    assert counts["score_distribution"] == expected["score_distribution"] == 12
    for term in ("description", "score_distribution"):
        assert packed[term].item() == pytest.approx(each[term].item(), rel=1e-5), term
    # What the answers begin with is learned once.
    assert counts["score_text"] < expected["score_text"]


def test_gradients_are_those_of_records_of_their_own(world):
    found = []
    record = replace(TOTAL, image=world.pictures[0], attributes=ATTRIBUTES[:1])
    for records in ([record], list(apart(record))):
        world.network.zero_grad()
        world.sums(*records)[0]["score_distribution"].backward()
        found.append(
            {name: value.grad.clone() for name, value in world.network.named_parameters() if value.grad is not None}
        )
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], atol=1e-5), name


def test_targets_have_the_attributes_own_spread(world):
    scored = world.batch(replace(TOTAL, image=world.pictures[0])).scored
    means = scored.targets @ torch.tensor(APDD_SCALE.values)
    assert means[1:].tolist() == pytest.approx([3.0, 8.0, 5.5], abs=1e-3)
    assert scored.truth[2:, 1].tolist() == pytest.approx([0.7, 1.2])
    assert scored.of_attribute.tolist() == [False, True, True, True]
    spread = world.readout.moments(scored.targets.numpy().astype(float))[:, 1]
    assert spread[2] < spread[3]  # 0.7 and 1.2


def test_the_centred_term_leaves_a_common_error_alone(world):
    records = [replace(TOTAL, image=path) for path in world.pictures[:2]]
    objective = Objective(world.readout, LossConfig(centred=0.5))
    batch = world.batch(*records)
    sums, counts = world.sums(*records, centred=0.5)
    score = world.readout.read(world.network.see(batch.inputs, batch.scored.positions)).score.reshape(2, 4)[:, 1:]
    truth = torch.tensor([one.mean for one in ATTRIBUTES])
    off = (score - score.mean(1, keepdim=True)) - (truth - truth.mean())
    assert counts["centred"] == 6
    assert sums["centred"].item() == pytest.approx(off.square().sum().item(), rel=1e-5)
    moved = replace(batch, scored=replace(batch.scored, truth=batch.scored.truth + 1.0))
    assert objective.sums(world.network, moved)["centred"].item() == pytest.approx(sums["centred"].item(), rel=1e-4)
    alone = world.sums(replace(records[0], attributes=ATTRIBUTES[:1]), centred=0.5)
    assert (alone[0]["centred"].item(), alone[1]["centred"]) == (0.0, 0)


def test_too_long_is_the_whole_sequence(tiny_base, tmp_path):
    world = World(tiny_base, tmp_path)
    record = replace(TOTAL, image=world.pictures[0])
    length = int(world.batch(record).inputs["input_ids"].shape[1])
    world.batch(record, max_length=length)
    with pytest.raises(ArtQuantError, match=r"s.json record 1 \(id 'a'\): .* more than max_length"):
        world.batch(record, max_length=length - 1)


def test_a_prompt_that_says_the_same_of_all_is_refused(tiny_base, tmp_path):
    world = World(tiny_base, tmp_path)
    world.prompt = replace(PROMPTS["artquant"], answer_prefix="It is", attribute_prefix="It is")
    world.readout = readout_of({}, APDD_SCALE).bound(world.loaded.processor, world.prompt)
    with pytest.raises(ArtQuantError, match="says the same of two of them"):
        world.batch(replace(TOTAL, image=world.pictures[0]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, 'no "attributes"'),
        ({"attributes": {"Color": "high"}}, "\"attributes\" of 'Color' must be a number"),
        ({"attributes": {"Color": 11}}, "outside 1 to 10"),
        ({"attributes": {"Color": 4}, "attribute_std": {"Mood": 1}}, "of 'Mood', which has no score"),
        ({"attributes": {"Color": 4}, "attribute_std": {"Color": -1}}, "negative"),
        ({"attributes": {"Color": 4}, "attribute": "Color"}, "no score of the whole"),
    ],
)
def test_attributes_at_fault(tmp_path, values, message):
    turns = [{"from": "human", "value": "Rate it.\n<|image|>"}, {"from": "gpt", "value": "It is good."}]
    item = {"id": "a", "image": "a.png", "gt_score": 6, "task_type": "score", "conversations": turns} | values
    with pytest.raises(RecordError) as caught:
        parse_training_record(item, "r.json record 1", tmp_path, 5, (1, 10), attributes=True).valid()
    assert message in str(caught.value)
    parse_training_record(item, "r.json record 1", tmp_path, 5, (1, 10)).valid()  # left alone where not asked for
