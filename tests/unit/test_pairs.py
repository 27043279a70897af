"""Pairs: which are drawn, how batches keep them together, and the rank loss in the objective."""

import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from golden import SCALES, GoldenProcessor, golden_model, scoring_network, see_batch, seen_logits, small_network
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from artquant.batches.batch import Batch, Learned, Scored
from artquant.batches.dataset import Collator, Item
from artquant.batches.pairs import PairSampler
from artquant.batches.samples import Conversation, Sample
from artquant.config.schema import ConfigError, DataConfig, LossConfig, StageConfig
from artquant.data.record_file import RecordColumns
from artquant.data.records import TrainingRecord
from artquant.errors import ArtQuantError
from artquant.models.family import NetworkInputs, Row
from artquant.readouts.rating_levels import RatingLevels
from artquant.train.objective import Objective

pytestmark = pytest.mark.usefixtures("one_thread")


def sampler(parts, scores, pictures=None, attributes=None, seed=0) -> PairSampler:
    """Every record with a picture of its own and about no attribute, if not told otherwise."""
    count = len(scores)
    pictures = np.arange(count) if pictures is None else np.asarray(pictures)
    attributes = np.full(count, -1) if attributes is None else np.asarray(attributes)
    return PairSampler(parts, seed, np.asarray(scores, dtype=float), pictures, attributes)


def units(sampled: PairSampler) -> tuple[list[tuple[int, int]], list[int]]:
    """An epoch's pairs, and what comes alone."""
    pairs: dict[int, list[int]] = {}
    alone = []
    for item in sampled:
        if isinstance(item, tuple):
            pairs.setdefault(item[1], []).append(item[0])
        else:
            alone.append(item)
    assert all(len(pair) == 2 for pair in pairs.values())
    return [tuple(pair) for pair in pairs.values()], alone


class TestPairSampler:
    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_pairs(self, data):
        """Each record that can be paired is in as many pairs as it comes in the epoch, at least; the rest is alone."""
        count = data.draw(st.integers(1, 24))
        some = st.lists(st.integers(0, data.draw(st.integers(0, 6))), min_size=count, max_size=count)
        scores = [value or np.nan for value in data.draw(some)]  # 0: a description
        pictures, attributes, sets = (data.draw(some) for _ in range(3))
        parts = [np.flatnonzero(np.equal(sets, number)).repeat(1 + number % 2) for number in range(7)]

        def fits(one: int, other: int) -> bool:
            same = sets[one] == sets[other] and attributes[one] == attributes[other]
            return same and scores[one] != scores[other] and pictures[one] != pictures[other]

        known = [index for index in range(count) if not np.isnan(scores[index])]
        expected = Counter(index for part in parts for index in part.tolist())
        can = {index for index in known if any(fits(index, other) for other in known)}
        if not can:
            with pytest.raises(ArtQuantError, match=r"no pairs can be made: .*pairs: false"):
                sampler(parts, scores, pictures, attributes)
            return
        sampled = sampler(parts, scores, pictures, attributes, seed=data.draw(st.integers(0, 99)))
        pairs, alone = units(sampled)
        assert all(fits(*pair) for pair in pairs)
        assert Counter(alone) == Counter({index: n for index, n in expected.items() if index not in can})
        assert len(pairs) == sampled.number_of_pairs == sum(expected[index] for index in can)
        taken = Counter(index for pair in pairs for index in pair)
        assert all(taken[index] >= expected[index] for index in can)
        assert len(sampled) == len(list(sampled)) == 2 * len(pairs) + len(alone)

    def test_an_epoch_is_a_function_of_seed_and_number(self):
        scores = np.arange(50) % 7
        sampled, again = (sampler([np.arange(50)], scores, seed=3) for _ in range(2))
        first = list(sampled)
        assert list(sampled) == first == list(again)
        again.set_epoch(1)
        second = list(again)
        assert second != first and sorted(units(again)[0]) != sorted(units(sampled)[0])
        sampled.set_epoch(1)
        assert list(sampled) == second
        assert list(sampler([np.arange(50)], scores, seed=4)) != first

    def test_partners_and_sides_are_drawn_evenly(self):
        """Over many epochs every possible pair comes equally often, either way round."""
        scores = [1, 1, 2, 3]
        sampled, counts = sampler([np.arange(4)], scores), Counter()
        for epoch in range(4000):
            sampled.set_epoch(epoch)
            counts.update(units(sampled)[0])
        # A record's partner is one of two (for the ties) or three; both records of a pair may have drawn the other.
        share = {frozenset(pair): 1 / 2 + 1 / 3 for pair in ((0, 2), (0, 3), (1, 2), (1, 3))} | {
            frozenset((2, 3)): 2 / 3
        }
        assert {frozenset(pair) for pair in counts} == share.keys()
        for pair, count in counts.items():
            assert count / 4000 == pytest.approx(share[frozenset(pair)] / 2, abs=0.04)

    def test_pairs_that_are_hard_to_draw(self):
        """One picture holds nearly all records: what drawing does not find is looked for."""
        scores, pictures = np.arange(2001), np.zeros(2001, dtype=int)
        pictures[700] = 1
        pairs, alone = units(sampler([np.arange(2001)], scores, pictures))
        assert not alone and len(pairs) == 2001
        assert all(700 in pair for pair in pairs)

    def test_scores_that_the_loss_cannot_tell_apart(self):
        with pytest.raises(ArtQuantError, match="no pairs"):
            sampler([np.arange(2)], [5.0, 5.0 + 1e-9])

    def test_a_million_records(self):
        count = 1_000_000
        scores = np.round(np.random.default_rng(0).uniform(1, 10, count), 1)
        tracemalloc.start()
        sampled = sampler([np.arange(count)], scores)
        number = sum(1 for _ in zip(sampled, range(1000), strict=False))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert number == 1000 and len(sampled) == 2 * count
        assert peak < 300 * 2**20

    @pytest.mark.parametrize("ranks", [1, 2, 3])
    @pytest.mark.parametrize("count", [41, 48, 2])
    @pytest.mark.parametrize("descriptions", [0, 8])
    def test_batches_of_every_rank_hold_whole_pairs(self, ranks, count, descriptions):
        """As accelerate cuts the epoch, its last batches filled up with the first ones'."""
        scores = [*range(1, count + 1), *[np.nan] * descriptions]
        sampled = sampler([np.arange(count), count + np.arange(descriptions)], scores)
        seen = set()
        for rank in range(ranks):
            for batch in BatchSamplerShard(BatchSampler(sampled, 6, drop_last=False), ranks, rank):
                numbers = [item[1] for item in batch if isinstance(item, tuple)]
                places = [place for place, item in enumerate(batch) if isinstance(item, tuple)]
                assert all(numbers[place] == numbers[place + 1] for place in range(0, len(numbers), 2))
                assert all(places[place] + 1 == places[place + 1] for place in range(0, len(numbers), 2))
                seen.update(numbers)
        assert seen == set(range(count))


LEVELS = RatingLevels(("good", "fair", "bad"), (10.0, 5.0, 1.0), (11, 12, 13))


def description() -> Sample:
    return Sample(Conversation(Row("", (1, -200, 20, 30, 31, 2)), ((3, 6),)))


def score(mean: float, std: float = 1.0) -> Sample:
    conversation = Conversation(Row("", (1, 21, -200, 22, 23, 12, 24, 2)), ((4, 8),), (5,))
    return Sample(conversation, targets=np.array([[0.2, 0.6, 0.2]]), truth=np.array([[mean, std]]))


# Two pairs, a description, a score alone, and a pair more.
ITEMS = [(score(7.0, 0.5), 0), (score(3.0, 0.5), 0), (score(2.0), 1), (score(2.5), 1), (description(), None)]
ITEMS += [(score(6.0), None), (score(9.0, 0.0), 2), (score(1.0, 0.0), 2)]


def collate(indices: list[int], unreadable: tuple[int, ...] = ()) -> Batch:
    """A batch of some of the items, each with its own picture."""
    pixels = torch.randn(len(ITEMS), 3, 28, 28, generator=torch.Generator().manual_seed(0))
    items = []
    for index in indices:
        sample, pair = ITEMS[index]
        items.append(Item(sample, pixels[index], str(index), "lost" if index in unreadable else None, pair))
    return Collator(GoldenProcessor(4), 64)(items)


class TestBatch:
    def test_pairs_are_places_among_the_scored(self):
        batch = collate(list(range(8)))
        assert batch.scored.pairs.tolist() == [[0, 1], [2, 3], [5, 6]]
        assert batch.scored.truth.tolist() == [[7, 0.5], [3, 0.5], [2, 1], [2.5, 1], [6, 1], [9, 0], [1, 0]]

    @pytest.mark.parametrize(
        ("unreadable", "expected"),
        [((0,), [[1, 2], [4, 5]]), ((1,), [[1, 2], [4, 5]]), ((1, 2), [[3, 4]]), ((4,), [[0, 1], [2, 3], [5, 6]])],
    )
    def test_a_picture_that_cannot_be_read_breaks_its_own_pair_alone(self, unreadable, expected):
        batch = collate(list(range(8)), unreadable)
        assert batch.scored.pairs.tolist() == expected
        kept = [number for number in range(8) if number not in unreadable]
        scored = [str(number) for number in kept if number != 4]
        truth = {tuple(map(float, row)) for row in batch.scored.truth.tolist()}
        assert truth == {tuple(ITEMS[int(number)][0].truth[0]) for number in scored}

    def test_halves_and_repeated_pairs(self):
        assert collate([1, 2, 3, 6]).scored.pairs.tolist() == [[1, 2]]
        assert collate([0, 1, 0, 1]).scored.pairs.tolist() == [[0, 1], [2, 3]]

    @pytest.mark.parametrize(("indices", "unreadable"), [([4], ()), ([0, 1], (0, 1)), ([5], ())])
    def test_no_pairs(self, indices, unreadable):
        scored = collate(indices, unreadable).scored
        assert scored.pairs.shape == (0, 2) and scored.truth.shape == (len(scored), 2)


def objective(**options) -> Objective:
    own = {"score_distribution": 0.5, "in_level": 0.3}
    return Objective(
        LEVELS, LossConfig(**{"description": 1.0, "score_text": 0.05, "rank": 0.7, "score": own} | options)
    )


def step(network, batches: list[Batch], terms: Objective) -> tuple[dict[str, float], float, dict[str, torch.Tensor]]:
    """Terms, total and gradients of one optimizer step of several micro-batches."""
    counts = terms.counts(batches)
    network.zero_grad()
    found, total = dict.fromkeys(terms.terms, 0.0), 0.0
    for batch in batches:
        sums = terms.term_sums(*see_batch(scoring_network(network), batch), batch)
        shares = {term: value / counts[term] for term, value in sums.items()}
        loss = terms.total(shares)
        loss.backward()
        total += loss.item()
        found = {term: found[term] + shares[term].item() for term in found}
    return found, total, {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


OPTIONS = [
    {},
    {"rank_deviation": "predicted"},
    {"rank_target": "order"},
    {"rank_target": "order", "rank_kind": "binary", "rank_deviation": "predicted"},
]


class TestObjective:
    @pytest.mark.parametrize("options", OPTIONS)
    @pytest.mark.parametrize(
        "split", [[[0, 1, 4, 5], [2, 3, 6, 7]], [[0, 1], [2, 3], [4, 5], [6, 7]], [[4, 5], [*range(4), 6, 7]]]
    )
    def test_however_a_step_is_split(self, options, split):
        """Micro-batches without a pair, or without a score, included."""
        network, terms = small_network(), objective(**options)
        values, total, gradients = step(network, [collate(list(range(8)))], terms)
        split_values, split_total, split_gradients = step(network, [collate(part) for part in split], terms)
        assert values.keys() == set(terms.terms) == {*values} and values["rank"] > 0 and values["in_level"] > 0.01
        assert split_values == pytest.approx(values, rel=1e-5)
        assert split_total == pytest.approx(total, rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(split_gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)

    def test_a_lost_picture_takes_its_pair_alone(self):
        """The rank loss is then the mean over the other pairs."""
        network, terms = small_network(), objective()
        values, _, _ = step(network, [collate(list(range(8)), unreadable=(1,))], terms)
        without, _, _ = step(network, [collate([0, 2, 3, 4, 5, 6, 7])], terms)
        pairs, _, _ = step(network, [collate([2, 3, 6, 7])], terms)
        assert values == pytest.approx(without, rel=1e-5)
        assert values["rank"] == pytest.approx(pairs["rank"], rel=1e-5)

    @pytest.mark.parametrize("options", OPTIONS)
    @pytest.mark.parametrize("indices", [[4], [5]])
    def test_without_pairs_the_term_is_zero_and_in_the_graph(self, options, indices):
        network, batch, terms = small_network(), collate(indices), objective(**options)
        sums = terms.term_sums(*see_batch(scoring_network(network), batch), batch)
        assert sums["rank"].item() == 0 and sums["rank"].requires_grad
        sums["rank"].backward()
        assert all(not parameter.grad.any() for parameter in network.parameters() if parameter.grad is not None)

    @pytest.mark.parametrize("options", OPTIONS)
    @pytest.mark.parametrize("std", [0.0, 0.5])
    def test_certain_predictions_and_certain_scores(self, options, std):
        """Neither a prediction nor a truth without any deviation gives what is not finite; the wrong order costs."""
        words = torch.full((2, 40), -1e4)
        words[0, 11] = words[1, 13] = 1e4  # 10 and 1
        losses = []
        for truth in ([[9.0, std], [2.0, std]], [[2.0, std], [9.0, std]]):
            logits = words.clone().requires_grad_()
            places, none = torch.arange(2), torch.zeros(0, dtype=torch.int64)
            whole = torch.zeros(2, dtype=torch.bool)
            scored = Scored(places, places, torch.full((2, 3), 1 / 3), torch.tensor(truth), whole, places[None])
            batch = Batch(NetworkInputs({}), Learned(none, none, (0, 0)), scored, ("a", "b"))
            loss = objective(**options).term_sums(logits[:0, 0], seen_logits(logits), batch)["rank"]
            loss.backward()
            assert loss.isfinite() and logits.grad.isfinite().all()
            losses.append(loss.item())
        assert losses[0] < 0.01 and losses[1] > 0.9

    def test_terms_that_are_not_wanted_are_not_computed(self):
        terms = objective(rank=0.0, score={"score_distribution": 0.5})
        assert terms.terms == ("description", "score_text", "score_distribution")
        assert step(small_network(), [collate(list(range(8)))], terms)[0].keys() == set(terms.terms)

    @torch.no_grad()
    @pytest.mark.parametrize("scale", SCALES)
    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("contTrue_fidelity_fixTrue", {}),
            ("contTrue_fidelity_fixFalse", {"rank_deviation": "predicted"}),
            ("contFalse_fidelity_fixTrue", {"rank_target": "order"}),
            ("contFalse_bce_fixTrue", {"rank_target": "order", "rank_kind": "binary"}),
        ],
    )
    def test_published_total(self, scale, name, options):
        """rank + 0.05 (score A + score B) + 0.1 (outside A + outside B): a mean over all samples counts twice."""
        golden = golden_model(scale)
        items = [*golden.scores(), *golden.items("pairB", (2, 3), "pairB_level_probs")]
        moments = [(7.2, 0.6), (1.9, 0.4), (5.1, 0.5), (9.3, 0.3)]
        items = [
            replace(item, sample=replace(item.sample, truth=np.array([moment])), pair=pair)
            for item, moment, pair in zip(items, moments, (0, 1, 0, 1), strict=True)
        ]
        items = [items[index] for index in (0, 2, 1, 3)]
        own = {"score_distribution": 0.1, "in_level": 0.2}
        config = LossConfig(description=0.0, score_text=0.1, score=own, rank=1.0, **options)
        found = golden.loss(items, config).item()
        assert found == pytest.approx(golden.arrays[f"pair_loss_{name}"].item(), rel=1e-4)


def stage(**settings) -> StageConfig:
    return StageConfig("scores", (DataConfig("score.json", "images"),), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 5}, "batch_size: must be even with pairs: true, got 5"),
        ({"order": "in_order"}, "order: in_order would break up pairs"),
        ({"group_by_length": True}, "group_by_length: would break up pairs"),
    ],
)
def test_settings_that_break_up_pairs(settings, message):
    stage(**settings)
    with pytest.raises(ConfigError, match=message):
        stage(pairs=True, **settings)


def test_rank_settings_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"loss\.rank: has no effect without pairs; set pairs: true"):
        stage(loss=LossConfig(rank=1.0))
    assert stage(pairs=True, loss=LossConfig(rank=1.0)).pairs
    with pytest.raises(ConfigError, match=r"rank_kind: binary .*rank_target: order"):
        LossConfig(rank=1.0, rank_kind="binary")
    with pytest.raises(ConfigError, match=r"score\.in_level: must be 0 or more"):
        LossConfig(score={"in_level": -1.0})


def test_columns_tell_pictures_and_attributes(tmp_path):
    """Through several sets: the same number for the same picture, an attribute's place among all of them."""

    def record(name: str, attribute: str | None, std: float | None = None) -> TrainingRecord:
        text = {"question": "Rate it.", "answer": "Good.", "level_probs": None, "level": None, "source": "a.json"}
        return TrainingRecord(
            id=f"{name}{attribute}",
            image=tmp_path / name,
            task="score",
            gt_score=5.0,
            std=std,
            attribute=attribute,
            **text,
        )

    one = RecordColumns.of([record("a", None, 0.5), record("a", "Color"), record("b", "Mood")], 5)
    other = RecordColumns.of([record("b", "Mood"), record("c", "Light"), record("a", None)], 5)
    joined = RecordColumns.joined([one, other])
    assert joined.attributes == ("Color", "Mood", "Light")
    assert joined.attribute.tolist() == [-1, 0, 1, 1, 2, -1]
    names = ["a", "a", "b", "b", "c", "a"]
    assert [[x == y for y in names] for x in names] == (joined.pictures[:, None] == joined.pictures).tolist()
    np.testing.assert_array_equal(joined.std, [0.5, *[np.nan] * 5])


def test_moments_of_targets():
    targets = np.array([[0.2, 0.6, 0.2], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(LEVELS.moments(targets), [[5.2, 2.85657], [5.0, 0.0]], rtol=1e-5)
