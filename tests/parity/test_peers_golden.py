"""Small copies of what ROC4MLLM's and ArtiMuse's published code makes of logits: scores, losses, totals."""

import json

import numpy as np
import pytest
import torch

from artquant.labels.truth import Truths
from artquant.readouts import Known, Seen
from artquant.readouts.score_tokens import ScoreTokens
from artquant.readouts.value_tokens import ValueTokens

TERMS = ("score_l1", "score_ce", "score_emd_batch")
TOKENS = ScoreTokens(10, 1.0, 10.0, 1.0, position_id=10, token_ids=tuple(range(10)))


@pytest.fixture(scope="module")
def roc4mllm(fixture_folder):
    return json.loads((fixture_folder / "golden_roc4mllm.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["single", "multi", "comment", "turns"])
def test_score_tokens(roc4mllm, name):
    """From the ten logits; the published target is taken as it is."""
    batch = roc4mllm["batches"][name]
    logits = torch.tensor(batch["logits"])
    seen = Seen(logits, torch.zeros(len(logits), 0))
    means, shares = np.array(batch["gt_score"]), np.array(batch["target"])
    targets = TOKENS.targets(Truths(means, np.full(len(means), np.nan), shares, TOKENS.values))
    np.testing.assert_allclose(targets, shares, rtol=0, atol=1e-6)
    np.testing.assert_allclose(TOKENS.read(seen).score, batch["score"], rtol=0, atol=2e-5)
    truth = torch.from_numpy(np.stack([means, means], axis=1)).float()
    found = TOKENS.losses(seen, Known(torch.from_numpy(targets).float(), truth), TERMS)
    values = [found[term].mean().item() for term in TERMS]
    assert values == pytest.approx([batch["losses"][term] for term in TERMS], rel=1e-4, abs=3e-5)
    for weights, total in zip(roc4mllm["weightings"], batch["totals"], strict=True):
        assert batch["text_loss"] + np.dot(weights, values) == pytest.approx(total, rel=1e-4, abs=3e-5)


def test_value_tokens(fixture_folder):
    golden = json.loads((fixture_folder / "golden_artimuse.json").read_text(encoding="utf-8"))
    logits = torch.tensor(golden["logits"])
    scores = ValueTokens(token_ids=tuple(range(101))).read(Seen(logits, torch.zeros(2, 0)))
    np.testing.assert_allclose(scores.score, golden["score"], rtol=0, atol=1e-3)
