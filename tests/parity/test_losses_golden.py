"""Readout and pair losses against the published code's, on the golden networks (fixtures: see tests/golden.py).

Measured: largest relative deviation 9e-7.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden import SCALES, golden_model, loss_weights

from artquant.readouts.losses import ScoreDistribution, outside_mass, pair_ranking_loss

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=SCALES)
def golden(request):
    return golden_model(request.param)


@torch.no_grad()
@pytest.mark.parametrize("closed_set", [True, False])
def test_scores_and_deviations(golden, closed_set):
    scores = replace(golden.readout, closed_set=closed_set).read(golden.seen(golden.scores()))
    found = torch.stack([scores.score, scores.std])
    np.testing.assert_allclose(found, golden.arrays[f"get_score_closed{closed_set}"], rtol=1e-4, atol=0)


@torch.no_grad()
def test_mass_outside_the_rating_words(golden):
    mass = outside_mass(golden.seen(golden.scores()).logits, torch.tensor(golden.readout.token_ids)).mean()
    for closed_set in (True, False):  # the published value does not depend on it
        assert mass.item() == pytest.approx(golden.arrays[f"get_score_losses_closed{closed_set}"][1], rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("gaussian_target", "binary_loss", "fixed_std"),
    [(True, "fidelity", True), (True, "fidelity", False), (False, "fidelity", True), (False, "bce", True)],
)
def test_pair_loss(golden, gaussian_target, binary_loss, fixed_std):
    items = (golden.scores(), golden.items("pairB", (2, 3), "pairB_level_probs"))
    token_ids = torch.tensor(golden.readout.token_ids)
    predicted, within, outside = [], 0.0, 0.0
    for item in items:
        seen = golden.seen(item)
        scores = golden.readout.read(seen)
        predicted.append(ScoreDistribution(scores.score, scores.std))
        within += golden.loss(item, loss_weights(score_text=1.0, score_distribution=1.0))
        outside += outside_mass(seen.logits, token_ids).mean()
    truth = (
        ScoreDistribution(torch.tensor([7.2, 1.9]), torch.tensor([0.6, 0.4])),
        ScoreDistribution(torch.tensor([5.1, 9.3]), torch.tensor([0.5, 0.3])),
    )
    rank = pair_ranking_loss(tuple(predicted), truth, gaussian_target, fixed_std, binary_loss).mean()
    expected = golden.arrays[f"pair_loss_cont{gaussian_target}_{binary_loss}_fix{fixed_std}"].item()
    assert (rank + 0.05 * within + 0.1 * outside).item() == pytest.approx(expected, rel=1e-4)
