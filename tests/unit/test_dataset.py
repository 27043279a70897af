"""Records as samples, samples as batches, and the order in which they come."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from artquant.batches.batch import TEXT_TASKS, Fault
from artquant.batches.dataset import _PROMPT_BYTES, ArtDataset, Collator
from artquant.batches.order import EpochSampler, weighted_indices
from artquant.batches.samples import Sample, encode_rounds
from artquant.data.records import TrainingRecord
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE
from artquant.readouts import readout_of
from artquant.readouts.rating_levels import RatingLevels
from artquant.texts.prompt import PROMPTS

WORDS = ("excellent", "good", "fair", "poor", "bad")
WEIGHTS = (10.0, 7.5, 5.0, 3.5, 1.0)
PROBS = (0.1, 0.2, 0.4, 0.2, 0.1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(draw.integers(0, 256, (20 + number, 30, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def record(pictures: Path, number: int, **values) -> TrainingRecord:
    common = {"id": f"r{number}", "image": pictures / f"{number % 4}.png", "gt_score": None, "std": None, "level": None}
    common |= {"level_probs": None, "attribute": None, "source": f"score.json record {number + 1}"}
    return TrainingRecord(**common | values)


def score(pictures: Path, number: int, **values) -> TrainingRecord:
    text = {"task": "score", "question": "Rate the quality of this painting.", "answer": "ignored: made from the score"}
    return record(pictures, number, **text | {"gt_score": 6.0, "level_probs": PROBS} | values)


def description(pictures: Path, number: int, **values) -> TrainingRecord:
    text = {"task": "description", "question": "Describe this painting.", "answer": "The boats lie still."}
    return record(pictures, number, **text | values)


@pytest.fixture
def make(tiny_processor):
    """A data set of these records."""
    prompt, values = PROMPTS["artquant"], APDD_SCALE.values
    readout = readout_of({}, APDD_SCALE).bound(tiny_processor, prompt)

    def build(*records: TrainingRecord, max_length: int = 256, **options) -> ArtDataset:
        return ArtDataset(records, tiny_processor, prompt, readout, values, max_length, **options)

    return build


@pytest.fixture
def ids_of(tiny_processor):
    """A sample's token ids as the network reads them, its picture's among them; where its answer begins there."""

    def found(sample: Sample) -> tuple[list[int], int]:
        conversation = sample.conversation
        ids = tiny_processor.expand(conversation.row.token_ids)
        return ids, conversation.answers[0][0] + len(ids) - len(conversation.row.token_ids)

    return found


@pytest.fixture
def learned(tiny_processor, ids_of):
    """The text that is learned of a sample."""

    def text(sample: Sample) -> str:
        ids, start = ids_of(sample)
        return tiny_processor.decode(ids[start:]).strip()

    return text


class TestArtDataset:
    def test_score_sample(self, make, pictures, tiny_processor, learned):
        data = make(score(pictures, 0))
        item = data[0]
        sample = item.sample
        question = "Rate the quality of this painting."
        text = tiny_processor.conversation(PROMPTS["artquant"].exchange(question, "The quality of the painting is"))
        assert sample.conversation.row.token_ids == tuple(tiny_processor.tokenize(f"{text} fair.</s>"))
        assert sample.targets.tolist() == [list(PROBS)] and not sample.learns_places
        assert sample.truth.tolist() == [[6.0, pytest.approx(np.sqrt(np.dot(PROBS, (np.array(WEIGHTS) - 5.3) ** 2)))]]
        assert data.lengths() == [len("Rate the quality of this painting.ignored: made from the score")]
        assert sample.conversation.places == (len(tiny_processor.tokenize(text)),)
        assert learned(sample) == "The quality of the painting is fair.</s>"  # the likeliest of its own distribution
        assert item.source == "score.json record 1 (r0)" and item.error is None
        expected = tiny_processor.image_processor(Image.open(pictures / "0.png"), return_tensors="pt")["pixel_values"][
            0
        ]
        assert torch.equal(item.picture, expected)

    def test_description_sample(self, make, pictures, learned):
        sample = make(description(pictures, 1))[0].sample
        assert sample.conversation.places == () and sample.targets is None and sample.truth is None
        assert learned(sample) == "The boats lie still.</s>"

    def test_targets_are_made_where_the_record_has_none(self, make, pictures):
        records = [score(pictures, 0, level_probs=None, gt_score=4.2), score(pictures, 1)]
        data = make(*records, description(pictures, 2), score(pictures, 3, level_probs=None, gt_score=9.0))
        targets = [data[index].sample.targets for index in range(4)]
        assert targets[1].tolist() == [list(PROBS)] and targets[2] is None
        for target, expected in ((targets[0], 4.2), (targets[3], 9.0)):
            assert target.shape == (1, 5) and target[0] @ WEIGHTS == pytest.approx(expected, abs=1e-8)

    def test_distribution_without_a_score(self, make, pictures, learned):
        """Its expectation is the score, here 3.25."""
        sample = make(score(pictures, 0, gt_score=None, level_probs=(0, 0, 0, 0.9, 0.1)))[0].sample
        assert learned(sample) == "The quality of the painting is poor.</s>"
        np.testing.assert_allclose(sample.truth, [[3.25, 0.75]], atol=1e-12)

    def test_own_deviation_counts(self, make, pictures):
        assert make(score(pictures, 0, std=0.3))[0].sample.truth.tolist() == [[6.0, 0.3]]

    def test_pictures_are_kept_only_if_asked_for(self, make, pictures, monkeypatch):
        read = []
        import artquant.batches.dataset as module

        load = module.load_image
        monkeypatch.setattr(module, "load_image", lambda path, **options: read.append(path) or load(path, **options))
        records = [score(pictures, 0), description(pictures, 4)]  # both of picture 0
        for options, count in (({}, 4), ({"cache": True}, 1)):
            read.clear()
            data = make(*records, **options)
            pixels = [data[index].picture for index in (0, 1, 0, 1)]
            assert len(read) == count and all(torch.equal(pixels[0], other) for other in pixels)

    def test_picture_that_cannot_be_read(self, make, pictures, tmp_path):
        item = make(score(pictures, 7, image=tmp_path / "lost.png"))[0]
        assert item.picture.unique().numel() <= 3  # a blank picture, one colour in three channels
        assert "lost.png" in item.error and "score.json record 8 id 'r7'" in item.error

    def test_too_long(self, make, pictures, ids_of):
        records = [description(pictures, 0), description(pictures, 1, answer="calm " * 300)]
        with pytest.raises(ArtQuantError, match=r"score.json record 2 \(id 'r1'\): \d+ tokens .* than max_length 256"):
            make(*records)
        length = len(ids_of(make(records[0])[0].sample)[0])
        assert len(make(records[0], max_length=length)) == 1
        with pytest.raises(ArtQuantError, match="max_length"):
            make(records[0], max_length=length - 1)

    def test_too_long_among_many(self, make, pictures, monkeypatch):
        """The longest are encoded before training; one beyond that number arrives as a fault when its turn comes."""
        monkeypatch.setattr("artquant.batches.dataset._LONGEST", 1)
        long, longer = (description(pictures, number, answer="calm " * words) for number, words in ((3, 300), (4, 400)))
        few = [description(pictures, number) for number in range(3)]
        with pytest.raises(ArtQuantError, match=r"record 5 \(id 'r4'\): \d+ tokens"):
            make(*few, long, longer)
        monkeypatch.setattr("artquant.batches.dataset._LONGEST", 0)
        data = make(*few, long)
        assert data[0].error is None and isinstance(data[3], Fault)
        assert "score.json record 4 (id 'r3')" in data[3].message

    def test_nothing_is_encoded_beforehand_without_need(self, make, pictures, tiny_processor, monkeypatch):
        encoded = []
        tokenize = type(tiny_processor).tokenize
        monkeypatch.setattr(
            type(tiny_processor), "tokenize", lambda self, text: encoded.append(text) or tokenize(self, text)
        )
        make(*(description(pictures, number) for number in range(50)), max_length=2048)
        assert len(encoded) == 2  # the one record that stands for all with its question: before and with the answer

    @pytest.mark.parametrize("name", PROMPTS)
    def test_bytes_that_a_prompt_adds(self, tiny_processor, name):
        """Texts known to be short enough are not encoded beforehand: true of any tokenizer, a byte a token at worst."""
        prompt = PROMPTS[name]
        around = (
            tiny_processor.conversation(prompt.exchange("", prompt.rating_answer("excellent"), complete=True)) + "<s>"
        )
        assert len(around.encode()) <= _PROMPT_BYTES

    @settings(max_examples=60, deadline=None)
    @given(text=st.text(st.characters(codec="utf-8"), max_size=12).filter(lambda text: "<|image|>" not in text))
    def test_no_text_has_more_tokens_than_bytes(self, tiny_processor, text):
        def length(answer: str) -> int:
            encoded = encode_rounds(tiny_processor, PROMPTS["artquant"], [("Describe this painting.", answer)])
            return len(encoded.row.token_ids)

        assert length(f"A{text}") - length("A") <= len(text.encode())

    def test_every_question_is_tried(self, make, pictures):
        first, second = description(pictures, 0), description(pictures, 1, question="Tell me all. " + "calm " * 250)
        with pytest.raises(ArtQuantError, match=r"record 2 \(id 'r1'\)"):
            make(first, second)

    def test_score_outside_the_scale(self, make, pictures):
        bad = score(pictures, 1, level_probs=None, gt_score=11.0, source="my record set/score.json record 2")
        where = r"^my record set/score.json record 2 \(id 'r1'\): .*11.*between 1 and 10"
        with pytest.raises(ArtQuantError, match=where):
            make(score(pictures, 0, level_probs=None), bad)

    def test_rating_word_that_does_not_line_up(self, tiny_processor, pictures):
        readout = RatingLevels(WORDS, WEIGHTS, (1, 2, 3, 4, 5))
        with pytest.raises(ArtQuantError, match=r"score.json record 1 \(id 'r0'\): prompt 'artquant' does not line up"):
            ArtDataset([score(pictures, 0)], tiny_processor, PROMPTS["artquant"], readout, WEIGHTS, 256)


class TestCollator:
    def test_batch(self, make, pictures, tiny_processor, ids_of):
        """Each position's token is the one after it in its row; every learned token has its position, once."""
        long = description(pictures, 1, answer="Warm light falls across a quiet harbour.")
        data = make(score(pictures, 0, gt_score=9.0), long, score(pictures, 2, level_probs=(1.0, 0, 0, 0, 0)))
        batch = Collator(tiny_processor, 256)([data[index] for index in range(3)])
        samples = [data[index].sample for index in range(3)]
        expanded = [ids_of(sample) for sample in samples]
        input_ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        rows, width = input_ids.shape
        assert (rows, width) == (3, max(len(ids) for ids, _ in expanded))
        assert mask.sum(1).tolist() == batch.inputs.ends().tolist() == [len(ids) for ids, _ in expanded]
        for row, (ids, _) in enumerate(expanded):
            assert input_ids[row, : len(ids)].tolist() == ids
            assert not input_ids[row, len(ids) :].any()
        assert batch.inputs["pixel_values"].shape == (3, 3, 28, 28)
        assert batch.sources == tuple(f"score.json record {n + 1} (r{n})" for n in range(3))

        texts, scores = {task: [] for task in TEXT_TASKS}, []
        for row, (sample, (ids, start)) in enumerate(zip(samples, expanded, strict=True)):
            grown = len(ids) - len(sample.conversation.row.token_ids)
            for index in range(start, len(ids)):
                if index - grown in sample.conversation.places:
                    scores.append(row * width + index - 1)
                else:
                    texts["description" if sample.targets is None else "score_text"].append(row * width + index - 1)
        assert batch.text.counts == tuple(len(texts[task]) for task in TEXT_TASKS)
        assert batch.text.positions.tolist() == [place for task in TEXT_TASKS for place in texts[task]]
        assert batch.text.token_ids.tolist() == input_ids.flatten()[batch.text.positions + 1].tolist()
        assert batch.scored.positions.tolist() == scores and batch.scored.samples.tolist() == [0, 2]
        ratings = tiny_processor.decode(input_ids.flatten()[batch.scored.positions + 1])
        assert ratings.split() == ["fair", "excellent"]
        torch.testing.assert_close(batch.scored.targets, torch.tensor([PROBS, (1, 0, 0, 0, 0)]))

    @pytest.mark.parametrize("kind", [score, description])
    def test_one_task_alone(self, make, pictures, tiny_processor, kind):
        data = make(kind(pictures, 0), kind(pictures, 1))
        batch = Collator(tiny_processor, 256)([data[0], data[1]])
        assert sum(batch.text.counts) == len(batch.text.positions) == len(batch.text.token_ids) > 0
        assert (batch.text.counts[0] == 0) == (kind is score)
        assert len(batch.scored.targets) == len(batch.scored) == (2 if kind is score else 0)

    def test_unreadable_picture(self, make, pictures, tiny_processor, tmp_path):
        data = make(score(pictures, 0), score(pictures, 1, image=tmp_path / "lost.png"))
        collate = Collator(tiny_processor, 256)
        batch, whole = collate([data[0], data[1]]), collate([data[0]])
        assert batch.unreadable == (data[1].error,) and whole.unreadable == ()
        assert batch.sources == whole.sources and batch.text.counts == whole.text.counts
        assert batch.inputs.keys() == whole.inputs.keys()
        for one, other in ((batch.inputs, whole.inputs), (vars(batch.text), vars(whole.text))):
            for name in one.keys() - {"counts"}:
                assert torch.equal(one[name], other[name]), name
        for name, value in vars(whole.scored).items():
            assert torch.equal(vars(batch.scored)[name], value), name

    def test_no_readable_picture(self, make, pictures, tiny_processor, tmp_path):
        data = make(score(pictures, 0, image=tmp_path / "lost.png"), description(pictures, 1, image=tmp_path / "gone"))
        batch = Collator(tiny_processor, 256)([data[0], data[1]])
        assert len(batch.unreadable) == 2 and batch.text.counts == (0, 0) and len(batch.scored) == 0
        assert len(batch.inputs["input_ids"]) == len(batch.inputs["pixel_values"]) == 1
        assert batch.text.positions.shape == batch.text.token_ids.shape == (0,) and len(batch.scored.targets) == 0

    def test_sample_that_is_too_long_only_with_its_picture(self, make, pictures, tiny_processor, ids_of):
        """Where a picture's size decides, the length shows only in the batch."""
        data = make(score(pictures, 0), description(pictures, 1, answer="Warm light falls. " * 3))
        length = max(len(ids_of(data[index].sample)[0]) for index in range(2))
        assert not isinstance(Collator(tiny_processor, length)([data[0], data[1]]), Fault)
        fault = Collator(tiny_processor, length - 1)([data[0], data[1]])
        assert fault.message.startswith(f"score.json record 2 (r1): {length} tokens")

    def test_a_fault_takes_the_place_of_the_batch(self, make, pictures, tiny_processor):
        fault = Fault("record 7: wrong")
        assert Collator(tiny_processor, 256)([make(score(pictures, 0))[0], fault]) is fault


def orders(sampler: EpochSampler, epochs: int = 3) -> list[list[int]]:
    found = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        found.append(list(sampler))
    return found


class TestEpochSampler:
    PARTS = (range(40), [40, 41, 40, 41], range(42, 60))

    def test_every_index_once_per_epoch_in_another_order(self):
        sampler = EpochSampler(self.PARTS, seed=3)
        found = orders(sampler)
        assert len(sampler) == 62
        for order in found:
            assert Counter(order) == Counter(index for part in self.PARTS for index in part)
        assert len({tuple(order) for order in found}) == 3
        # Mixed: the first part does not come first.
        assert max(order.index(59) for order in found) > 0 and any(set(order[:40]) != set(range(40)) for order in found)

    def test_depends_on_seed_and_epoch_alone(self):
        sampler = EpochSampler(self.PARTS, seed=3)
        again = EpochSampler(self.PARTS, seed=3)
        again.set_epoch(2)
        assert list(again) == list(again) == orders(sampler)[2]
        assert orders(EpochSampler(self.PARTS, seed=4)) != orders(sampler)

    def test_in_order(self):
        found = orders(EpochSampler(self.PARTS, seed=3, in_order=True))
        for order in found:
            assert set(order[:40]) == set(range(40)) and set(order[44:]) == set(range(42, 60))
            assert sorted(order[40:44]) == [40, 40, 41, 41]
        assert len({tuple(order[:40]) for order in found}) == 3

    def test_grouped_by_length(self):
        """Groups of a step's size hold similar lengths, in shuffled order with the longest sample in the first."""
        draw = np.random.default_rng(0)
        lengths = draw.integers(50, 1000, 203).tolist()
        sampler = EpochSampler([range(203)], seed=1, lengths=lengths, group_size=8)
        for order in orders(sampler):
            assert sorted(order) == list(range(203))
            groups = [[lengths[index] for index in order[start : start + 8]] for start in range(0, 200, 8)]
            assert max(groups[0]) == max(lengths)
            assert np.mean([max(group) - min(group) for group in groups]) < 60  # about 870 if not grouped
            means = [np.mean(group) for group in groups[1:]]
            assert means != sorted(means) and means != sorted(means, reverse=True)

    def test_longest_comes_first_also_of_a_sampled_set(self):
        lengths = [*range(1, 65), 1000]  # the longest record is not among the sampled ones
        sampler = EpochSampler([range(64)], seed=1, lengths=lengths, group_size=8)
        for order in orders(sampler):
            assert 63 in order[:8]

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(0, 12), max_size=3), st.integers(0, 99), st.booleans(), st.integers(1, 5))
    def test_nothing_is_lost(self, sizes, seed, grouped, group_size):
        starts = np.cumsum([0, *sizes])
        parts = [range(start, start + size) for start, size in zip(starts, sizes, strict=False)]
        lengths = [index % 7 + 1 for index in range(sum(sizes))] if grouped else None
        sampler = EpochSampler(parts, seed, lengths=lengths, group_size=group_size)
        assert sorted(sampler) == list(range(sum(sizes))) and len(sampler) == sum(sizes)


class TestWeightedIndices:
    def test_whole_parts_repeat_and_fractions_sample(self):
        whole = list(range(10, 30))
        assert weighted_indices(10, 20, 1.0, seed=0).tolist() == whole
        assert weighted_indices(10, 20, 2.0, seed=0).tolist() == whole * 2
        for weight, count in ((0.5, 10), (1.25, 25), (2.3, 46)):
            found = Counter(weighted_indices(10, 20, weight, seed=0).tolist())
            assert found.total() == count and set(found) <= set(whole)
            assert set(found.values()) <= {int(weight), int(weight) + 1}

    def test_a_small_fraction_gives_at_least_one(self):
        [index] = weighted_indices(5, 3, 0.01, seed=0)
        assert index in (5, 6, 7)

    def test_depends_on_the_seed(self):
        draws = {tuple(weighted_indices(0, 100, 0.2, seed)) for seed in range(5)}
        assert len(draws) == 5 and tuple(weighted_indices(0, 100, 0.2, 1)) in draws
