"""The training objective: every term by itself, normalised over the whole optimizer step.

A term is a sum over its positions or samples divided by how many of them the step holds, over all micro-batches and
ranks. So the result does not depend on how a step is split, and a micro-batch may lack a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from artquant.config.schema import LossConfig
from artquant.data.dataset import TASKS
from artquant.losses import token_cross_entropy
from artquant.readouts import Readout


@dataclass(frozen=True)
class Objective:
    """Description and score losses of a batch (ArtQuant, equations 6 to 8).

    weights: of the terms in the total; published are 1.0 for descriptions and 0.05 for both score terms.
    """

    readout: Readout
    weights: LossConfig

    def term_sums(self, logits: torch.Tensor, batch: dict) -> dict[str, torch.Tensor]:
        """Sum of each term over this micro-batch, float32 scalars.

        Args:
            logits: [M, V] at the batch's `positions`.
            batch: see `artquant.data.dataset`.
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
        return sums

    def total(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Weighted sum of the normalised terms."""
        return (
            self.weights.description * terms["description"]
            + self.weights.score_text * terms["score_text"]
            + self.weights.score_distribution * terms["score_distribution"]
        )


def task_counts(batches: Sequence[dict]) -> list[int]:
    """Positions and samples of each task over several micro-batches, in the order of `TASKS`."""
    return [sum(batch["counts"][index] for batch in batches) for index in range(len(TASKS))]
