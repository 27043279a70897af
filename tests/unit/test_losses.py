"""Losses as functions, and the objective over micro-batches."""

import math

import numpy as np
import pytest
import torch
from golden import GoldenProcessor, scoring_network, see_batch, small_network
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from artquant.batches.batch import Batch
from artquant.batches.dataset import Collator, Item
from artquant.batches.samples import Conversation, Sample
from artquant.config.schema import LossConfig
from artquant.errors import ArtQuantError
from artquant.models.family import Row
from artquant.readouts.losses import (
    ScoreDistribution,
    binary_fidelity_loss,
    distribution_divergence,
    fidelity_loss,
    outside_mass,
    pair_ranking_loss,
    preference,
    token_cross_entropy,
)
from artquant.readouts.rating_levels import RatingLevels
from artquant.train.objective import Objective

pytestmark = pytest.mark.usefixtures("one_thread")

IDS = torch.tensor([4, 1, 6, 2, 5])
VOCABULARY = 8
quick = settings(max_examples=60, deadline=None)

logits_MV = arrays.arrays(np.float32, (3, VOCABULARY), elements=st.floats(-50, 50, width=32)).map(torch.from_numpy)
probabilities = st.floats(0, 1, width=32)


@st.composite
def targets_MK(draw) -> torch.Tensor:
    mass = draw(arrays.arrays(np.float64, (3, 5), elements=st.floats(0, 1)))
    assume((mass.sum(1) > 0.1).all())
    return torch.from_numpy(mass / mass.sum(1, keepdims=True)).float()


class TestDivergence:
    @quick
    @given(logits_MV, targets_MK(), st.booleans())
    def test_is_never_negative(self, logits, targets, closed_set):
        divergence = distribution_divergence(logits, targets, IDS, closed_set)
        assert divergence.shape == (3,) and divergence.isfinite().all() and divergence.min() > -1e-5

    @quick
    @given(targets_MK(), st.floats(-30, 30))
    def test_is_zero_at_equality_alone(self, targets, shift):
        logits = torch.full((3, VOCABULARY), -1e4)
        logits[:, IDS] = targets.clamp(min=1e-30).log() + shift
        for closed_set in (True, False):
            assert distribution_divergence(logits, targets, IDS, closed_set).abs().max() < 1e-5
        logits[:, 4] += 1
        moved = targets[:, 0].clamp(1e-3, 1 - 1e-3) == targets[:, 0]
        assert (distribution_divergence(logits, targets, IDS)[moved] > 1e-5).all()

    @quick
    @given(logits_MV, targets_MK())
    def test_over_the_vocabulary_it_counts_the_mass_outside(self, logits, targets):
        """KL over the vocabulary = KL over the words - log of the mass on the words."""
        whole, closed = (distribution_divergence(logits, targets, IDS, closed_set) for closed_set in (False, True))
        inside = logits[:, IDS].logsumexp(-1) - logits.logsumexp(-1)
        torch.testing.assert_close(whole, closed - inside, rtol=1e-4, atol=1e-4)


@quick
@given(logits_MV, targets_MK(), st.sampled_from([torch.bfloat16, torch.float16]))
def test_everything_is_computed_in_float32(logits, targets, dtype):
    """Half-precision logits give the losses of the same numbers in float32, to the last bit."""
    half = logits.to(dtype)
    tokens = torch.tensor([0, 3, 7])
    for loss in (
        lambda logits: token_cross_entropy(logits, tokens),
        lambda logits: distribution_divergence(logits, targets, IDS),
        lambda logits: outside_mass(logits, IDS),
    ):
        assert loss(half).dtype == torch.float32
        assert torch.equal(loss(half), loss(half.float()))


@pytest.mark.parametrize("scale", [1.0, 1e4, 3e38])
def test_gradients_stay_finite(scale):
    """With logits of any size, and targets that hold zeros."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.rand(4, VOCABULARY, generator=generator) * 2 - 1) * scale
    targets = torch.tensor([[0, 0, 1.0, 0, 0], [0.2] * 5, [0.5, 0, 0, 0, 0.5], [1, 0, 0, 0, 0]])
    for loss in (
        lambda logits: token_cross_entropy(logits, torch.tensor([0, 3, 7, 2])),
        lambda logits: distribution_divergence(logits, targets, IDS),
        lambda logits: distribution_divergence(logits, targets, IDS, closed_set=True),
        lambda logits: outside_mass(logits, IDS),
    ):
        variable = logits.clone().requires_grad_()
        loss(variable).mean().backward()
        assert variable.grad.isfinite().all()


def test_token_cross_entropy():
    logits = torch.tensor([[0.0, 0, 0, 0], [math.log(3), 0, 0, 0]])
    found = token_cross_entropy(logits, torch.tensor([2, 0]))
    np.testing.assert_allclose(found, [math.log(4), math.log(2)], rtol=1e-6)


def test_outside_mass():
    logits = torch.zeros(3, VOCABULARY)
    logits[1, IDS], logits[2, IDS] = 1e4, -1e4
    np.testing.assert_allclose(outside_mass(logits, IDS), [3 / 8, 0.01, 1.0], rtol=1e-6)
    np.testing.assert_allclose(outside_mass(logits, IDS, floor=0.5), [0.5, 0.5, 1.0], rtol=1e-6)


def distribution(*moments: tuple[float, float]) -> ScoreDistribution:
    means, stds = zip(*moments, strict=True)
    return ScoreDistribution(torch.tensor(means), torch.tensor(stds))


class TestPairs:
    def test_preference_of_gaussians(self):
        """P(A > B) = Phi((m_A - m_B) / sqrt(s_A^2 + s_B^2))."""
        first, second = distribution((7.0, 0.6), (5.0, 1.0)), distribution((6.0, 0.8), (5.0, 2.0))
        np.testing.assert_allclose(preference(first, second), [0.8413447, 0.5], rtol=1e-6)
        np.testing.assert_allclose(preference(first, second, fixed_std=True), [0.7602499, 0.5], rtol=1e-6)

    @quick
    @given(*[st.tuples(st.floats(1, 10), st.floats(0.05, 3))] * 2, st.booleans())
    def test_preferences_of_a_pair_sum_to_one(self, first, second, fixed_std):
        first, second = distribution(first), distribution(second)
        both = preference(first, second, fixed_std) + preference(second, first, fixed_std)
        assert both.item() == pytest.approx(1, abs=1e-6)

    @quick
    @given(probabilities, probabilities)
    def test_fidelity_lies_between_zero_and_one(self, predicted, target):
        loss = fidelity_loss(torch.tensor(predicted), torch.tensor(target)).item()
        assert -2e-4 <= loss <= 1
        assert fidelity_loss(torch.tensor(predicted), torch.tensor(predicted)).item() == pytest.approx(0, abs=2e-4)

    @quick
    @given(probabilities)
    def test_binary_fidelity(self, predicted):
        """Zero when sure and right; the known order is symmetric."""
        p = torch.tensor(predicted)
        right, wrong = binary_fidelity_loss(p, torch.tensor(True)), binary_fidelity_loss(p, torch.tensor(False))
        assert right.item() == pytest.approx(1 - math.sqrt(predicted + 1e-8), abs=1e-6)
        assert wrong.item() == pytest.approx(binary_fidelity_loss(1 - p, torch.tensor(True)).item(), abs=1e-6)

    @pytest.mark.parametrize("gaussian_target", [True, False])
    @pytest.mark.parametrize("binary_loss", ["fidelity", "bce"])
    @pytest.mark.parametrize("fixed_std", [True, False])
    def test_the_right_order_costs_less(self, gaussian_target, binary_loss, fixed_std):
        better, worse = distribution((8.0, 0.5), (8.0, 0.5)), distribution((3.0, 0.5), (3.0, 0.5))
        options = (gaussian_target, fixed_std, binary_loss)
        right = pair_ranking_loss((better, worse), (better, worse), *options)
        wrong = pair_ranking_loss((worse, better), (better, worse), *options)
        assert right.shape == (2,) and (right < 0.05).all() and (wrong > 0.9).all()

    def test_means_learn_and_deviations_do_not(self):
        mean, std = torch.tensor([6.0], requires_grad=True), torch.tensor([0.7], requires_grad=True)
        item, other = ScoreDistribution(mean, std), distribution((5.0, 1.0))
        truth = (distribution((4.0, 0.5)), distribution((8.0, 0.5)))
        pair_ranking_loss((item, other), truth, fixed_std=False).backward()
        assert mean.grad.abs().item() > 0 and std.grad is None

    @pytest.mark.parametrize("mean", [-1e3, 1e3])
    def test_gradients_of_sure_predictions_stay_finite(self, mean):
        variable = torch.tensor([mean], requires_grad=True)
        item, other = ScoreDistribution(variable, torch.tensor([0.1])), distribution((5.0, 0.1))
        for options in ({}, {"gaussian_target": False}, {"gaussian_target": False, "binary_loss": "bce"}):
            [gradient] = torch.autograd.grad(pair_ranking_loss((item, other), (other, item), **options), variable)
            assert gradient.isfinite().all()

    def test_unknown_loss(self):
        with pytest.raises(ValueError, match="must be fidelity or bce, got 'mse'"):
            pair_ranking_loss((distribution((1.0, 1.0)),) * 2, (distribution((1.0, 1.0)),) * 2, binary_loss="mse")


LEVELS = RatingLevels(("good", "fair", "bad"), (10.0, 5.0, 1.0), (11, 12, 13))
OBJECTIVE = Objective(LEVELS, LossConfig(description=1.0, score_text=0.05, score={"score_distribution": 0.5}))
TASKS = ("description", "score_text", "score_distribution")
PICTURE = 4  # positions


def description(*answer: int) -> Sample:
    return Sample(Conversation(Row("", (1, -200, 20, *answer)), ((3, 3 + len(answer)),)))


def score(word: int, *probs: float) -> Sample:
    conversation = Conversation(Row("", (1, 21, -200, 22, 23, word, 24, 2)), ((4, 8),), (5,))
    targets = np.array([probs])
    return Sample(conversation, targets=targets, truth=LEVELS.moments(targets))


SAMPLES = (
    *(description(30, 31, 2), score(12, 0.2, 0.7, 0.1), description(33, 2), score(11, 1.0, 0.0, 0.0)),
    *(score(13, 0.1, 0.1, 0.8), description(30, 31, 32, 33, 34, 35, 2)),
)


def collate(indices: range | list[int]) -> Batch:
    """A batch of some of the samples, each with its own picture."""
    pixels = torch.randn(len(SAMPLES), 3, 28, 28, generator=torch.Generator().manual_seed(0))
    return Collator(GoldenProcessor(PICTURE), 64)([Item(SAMPLES[i], pixels[i], str(i)) for i in indices])


def step(network: torch.nn.Module, batches: list[Batch]) -> tuple[dict[str, float], float, dict[str, torch.Tensor]]:
    """Terms, total and gradients of one optimizer step of several micro-batches."""
    counts = OBJECTIVE.counts(batches)
    network.zero_grad()
    terms, total = dict.fromkeys(TASKS, 0.0), 0.0
    for batch in batches:
        sums = OBJECTIVE.term_sums(*see_batch(scoring_network(network), batch), batch)
        shares = {task: sums[task] / counts[task] for task in TASKS}
        loss = OBJECTIVE.total(shares)
        loss.backward()
        total += loss.item()
        terms = {task: terms[task] + shares[task].item() for task in TASKS}
    return terms, total, {name: parameter.grad for name, parameter in network.named_parameters()}


class TestObjective:
    def test_terms_are_means_over_their_positions(self):
        """Recomputed row by row from all logits and the definition of each term."""
        network, batch = small_network(), collate(range(len(SAMPLES)))
        terms, total, _ = step(network, [batch])
        with torch.no_grad():
            logits = network(**batch.inputs).logits
        values = {task: [] for task in TASKS}
        for row, sample in enumerate(SAMPLES):
            ids, places = sample.conversation.row.token_ids, sample.conversation.places
            for index in range(sample.conversation.answers[0][0], len(ids)):
                log_probs = logits[row, index + PICTURE - 2].log_softmax(-1)
                if index in places:
                    target = torch.from_numpy(sample.targets[0])
                    divergence = (target.xlogy(target) - target * log_probs[list(LEVELS.token_ids)]).sum()
                    values["score_distribution"].append(divergence.item())
                else:
                    task = "score_text" if places else "description"
                    values[task].append(-log_probs[ids[index]].item())
        assert [len(values[task]) for task in TASKS] == [*batch.text.counts, len(batch.scored)] == [12, 9, 3]
        means = {task: sum(value) / len(value) for task, value in values.items()}
        assert terms == pytest.approx(means, rel=1e-5)
        expected = means["description"] + 0.05 * means["score_text"] + 0.5 * means["score_distribution"]
        assert total == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("split", [[[0, 1, 2], [3, 4, 5]], [[0], [1], [2], [3], [4], [5]], [[0, 2, 5], [1, 3, 4]]])
    def test_however_a_step_is_split(self, split):
        """Micro-batches that lack a task included."""
        network = small_network()
        terms, total, gradients = step(network, [collate(range(len(SAMPLES)))])
        split_terms, split_total, split_gradients = step(network, [collate(part) for part in split])
        assert split_terms == pytest.approx(terms, rel=1e-5)
        assert split_total == pytest.approx(total, rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(split_gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)

    @pytest.mark.parametrize(("indices", "absent"), [([0, 2], TASKS[1:]), ([1, 3], TASKS[:1])])
    def test_a_task_that_is_absent_is_zero_and_in_the_graph(self, indices, absent):
        network, batch = small_network(), collate(indices)
        sums = OBJECTIVE.term_sums(*see_batch(scoring_network(network), batch), batch)
        for task in TASKS:
            assert sums[task].requires_grad and sums[task].dtype == torch.float32
            assert (sums[task].item() == 0) == (task in absent)
        for task in absent:
            sums[task].backward(retain_graph=True)
        assert all(not parameter.grad.any() for parameter in network.parameters() if parameter.grad is not None)

    def test_terms_are_those_of_texts_readout_and_pairs(self):
        assert OBJECTIVE.terms == TASKS  # a weight of 0 is left out, those of the texts are not
        assert dict(Objective(LEVELS, LossConfig(description=0.0)).weights) == {
            **{"description": 0.0, "score_text": 0.05, "score_distribution": 0.05}
        }
        config = LossConfig(rank=0.5, score={"score_distribution": 0.0, "in_level": 0.1})
        assert Objective(LEVELS, config).terms == ("description", "score_text", "in_level", "rank")
        with pytest.raises(
            ArtQuantError, match=r"loss\.score\.score_l1: readout rating_levels has the terms score_dist"
        ):
            Objective(LEVELS, LossConfig(score={"score_l1": 1.0}))
