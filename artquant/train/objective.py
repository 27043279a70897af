"""The training objective: every term by itself, normalised over the whole optimizer step.

A term is a sum over its positions, samples or pairs divided by how many of them the step holds, over all micro-batches
and ranks. So the result does not depend on how a step is split, and a micro-batch may lack a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from artquant.batches.dataset import TASKS
from artquant.config.schema import LossConfig
from artquant.readouts import Readout
from artquant.readouts.losses import ScoreDistribution, outside_mass, pair_ranking_loss, token_cross_entropy

_SMALLEST_STD = 1e-3  # of a score, so that a preference between two certain ones stays finite


@dataclass(frozen=True)
class Objective:
    """Description and score losses of a batch (ArtQuant, equations 6 to 8), rank loss of its pairs (DeQA-Score).

    weights: of the terms in the total; published are 1.0 for descriptions and 0.05 for both score terms.
    """

    readout: Readout
    weights: LossConfig

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms: of each task, of the mass outside the rating words and the rank loss where wanted."""
        return (*TASKS, *(term for term in ("in_level", "rank") if self._weight(term) > 0))

    def _weight(self, term: str) -> float:
        weights = self.weights
        return {
            "description": weights.description,
            "score_text": weights.score_text,
            "score_distribution": weights.score_distribution,
            "in_level": weights.in_level,
            "rank": weights.rank,
        }[term]

    def counts(self, batches: Sequence[dict]) -> dict[str, int]:
        """How many positions, samples or pairs each term sums over, in several micro-batches."""
        of_tasks = [sum(batch["counts"][index] for batch in batches) for index in range(len(TASKS))]
        counts = dict(zip(TASKS, of_tasks, strict=True))
        counts |= {"in_level": counts["score_distribution"], "rank": sum(len(batch["pairs"]) for batch in batches)}
        return {term: counts[term] for term in self.terms}

    def term_sums(self, logits: torch.Tensor, batch: dict) -> dict[str, torch.Tensor]:
        """Sum of each term over this micro-batch, float32 scalars.

        Args:
            logits: [M, V] at the batch's `positions`.
            batch: see `artquant.batches.dataset`.
        """
        descriptions, texts, ratings = logits.split(list(batch["counts"]))
        description_ids, text_ids, _ = batch["token_ids"].split(list(batch["counts"]))
        sums = {
            "description": token_cross_entropy(descriptions, description_ids).sum(),
            "score_text": token_cross_entropy(texts, text_ids).sum(),
        }
        if len(ratings):
            sums["score_distribution"] = self.readout.loss(ratings, batch["level_probs"]).sum()
        else:
            sums["score_distribution"] = ratings.float().sum()  # zero, yet part of the graph
        if "in_level" in self.terms:
            token_ids = torch.tensor(self.readout.token_ids, device=logits.device)
            sums["in_level"] = outside_mass(ratings, token_ids).sum()
        if "rank" in self.terms:
            sums["rank"] = self._rank(ratings, batch["truth"], batch["pairs"]).sum()
        return sums

    def _rank(self, ratings: torch.Tensor, truth: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """The rank loss of each pair [P] from the logits [R, V] and true scores [R, 2] of the scored samples."""
        scores = self.readout.score(ratings)
        predicted, true = (
            tuple(ScoreDistribution(mean[side], std[side].clamp(min=_SMALLEST_STD)) for side in pairs.unbind(1))
            for mean, std in ((scores.score, scores.std.detach()), truth.unbind(1))
        )
        return pair_ranking_loss(
            predicted,
            true,
            gaussian_target=self.weights.rank_target == "gaussian",
            fixed_std=self.weights.rank_deviation == "fixed",
            binary_loss={"fidelity": "fidelity", "binary": "bce"}[self.weights.rank_kind],
        )

    def total(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Weighted sum of the normalised terms."""
        return sum(self._weight(term) * value for term, value in terms.items())
