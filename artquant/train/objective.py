"""The training objective: every term by itself, normalised over the whole optimizer step.

A term is a sum over its positions, scores or pairs divided by how many of them the step holds, over all micro-batches
and ranks. So the result does not depend on how a step is split, and a micro-batch may lack a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from artquant.batches.batch import TEXT_TASKS, Batch, Scored
from artquant.config.schema import LossConfig
from artquant.errors import ArtQuantError
from artquant.readouts import Known, Readout, Seen
from artquant.readouts.losses import ScoreDistribution, pair_ranking_loss

_OF_SEVERAL = ("rank", "centred")  # terms that compare scores with each other
_SMALLEST_STD = 1e-3  # of a score, so that a preference between two certain ones stays finite


@dataclass(frozen=True)
class Objective:
    """Description and score losses of a batch (ArtQuant, equations 6 to 8), rank loss of its pairs (DeQA-Score).

    The centred term (ours) tells attributes of one picture apart: a common error of all of them does not count.

    readout: bound; it has terms of its own. config: weights of the terms in the total.

    Raises:
        ArtQuantError: the configuration names a term that the readout does not have.
    """

    readout: Readout
    config: LossConfig
    weights: Mapping[str, float] = field(init=False)  # of each term that is computed

    def __post_init__(self) -> None:
        config, own = self.config, dict(self.readout.loss_weights)
        unknown = next((name for name in config.score if name not in own), None)
        if unknown is not None:
            raise ArtQuantError(f"loss.score.{unknown}: readout {self.readout.kind} has the terms {', '.join(own)}")
        scores = {name: weight for name, weight in (own | config.score).items() if weight > 0}
        rank = {name: getattr(config, name) for name in _OF_SEVERAL if getattr(config, name) > 0}
        texts = {"description": config.description, "score_text": config.score_text}
        object.__setattr__(self, "weights", texts | scores | rank)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms: of the texts, of the readout, and those of several scores where wanted."""
        return tuple(self.weights)

    @property
    def _own_terms(self) -> tuple[str, ...]:
        return tuple(name for name in self.weights if name not in (*TEXT_TASKS, *_OF_SEVERAL))

    def counts(self, batches: Sequence[Batch]) -> dict[str, int]:
        """How many positions, scores or pairs each term sums over, in several micro-batches."""
        counts = {task: sum(batch.text.counts[index] for batch in batches) for index, task in enumerate(TEXT_TASKS)}
        counts |= dict.fromkeys(self._own_terms, sum(len(batch.scored) for batch in batches))
        counts["rank"] = sum(len(batch.scored.pairs) for batch in batches)
        if "centred" in self.weights:
            counts["centred"] = sum(int(_together(batch.scored).sum()) for batch in batches)
        return {term: counts[term] for term in self.terms}

    def sums(self, network: Callable[..., dict[str, torch.Tensor]], batch: Batch) -> dict[str, torch.Tensor]:
        """`term_sums` of what a network (a `ScoringNetwork`, perhaps wrapped) gives for a micro-batch."""
        outputs = network(batch.text.positions, batch.text.token_ids, batch.scored.positions, **batch.inputs)
        text_losses = outputs.pop("text_losses")
        return self.term_sums(text_losses, Seen(**outputs), batch)

    def term_sums(self, text_losses: torch.Tensor, seen: Seen, batch: Batch) -> dict[str, torch.Tensor]:
        """Sum of each term over this micro-batch, float32 scalars.

        Args:
            text_losses: [L] of the tokens of `batch.text`. seen: at the positions of `batch.scored`.
        """
        of_tasks = text_losses.split(list(batch.text.counts))
        sums = {task: losses.sum() for task, losses in zip(TEXT_TASKS, of_tasks, strict=True)}
        scored = batch.scored
        if len(scored):
            found = self.readout.losses(seen, Known(scored.targets, scored.truth), self._own_terms)
            sums |= {term: found[term].sum() for term in self._own_terms}
        else:  # zero, yet part of the graph
            nothing = seen.logits.float().sum() + (0.0 if seen.own is None else seen.own.float().sum())
            sums |= dict.fromkeys(self._own_terms, nothing)
        if "rank" in self.weights:
            sums["rank"] = self._rank(seen, scored).sum()
        if "centred" in self.weights:
            sums["centred"] = self._centred(seen, scored).sum()
        return sums

    def _centred(self, seen: Seen, scored: Scored) -> torch.Tensor:
        """Squared error of each attribute's score less the mean of those of its picture [M]; 0 of the others."""
        if not len(scored):
            return seen.logits.float().sum()
        same = _alike(scored)
        off = self.readout.read(seen).score - scored.truth[:, 0]
        means = (same.to(off.dtype) @ off) / same.sum(1).clamp(min=1)
        return torch.where(_together(scored), off - means, 0.0).square()

    def _rank(self, seen: Seen, scored: Scored) -> torch.Tensor:
        """The rank loss of each pair [P]."""
        if not len(scored):
            return seen.logits.float().sum()
        scores = self.readout.read(seen)
        return pair_ranking_loss(
            _sides(scores.score, scores.std.detach(), scored.pairs),
            _sides(scored.truth[:, 0], scored.truth[:, 1], scored.pairs),
            gaussian_target=self.config.rank_target == "gaussian",
            fixed_std=self.config.rank_deviation == "fixed",
            binary_loss={"fidelity": "fidelity", "binary": "bce"}[self.config.rank_kind],
        )

    def total(self, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Weighted sum of the normalised terms."""
        return torch.stack([self.weights[term] * value for term, value in terms.items()]).sum()


def _alike(scored: Scored) -> torch.Tensor:
    """[M, M] bool: whether the column's score is of an attribute, in the same row of the batch as the row's."""
    return (scored.samples[:, None] == scored.samples) & scored.of_attribute


def _together(scored: Scored) -> torch.Tensor:
    """[M] bool: the scores of attributes of which their row holds two or more."""
    return scored.of_attribute & (_alike(scored).sum(1) > 1)


def _sides(mean: torch.Tensor, std: torch.Tensor, pairs: torch.Tensor) -> tuple[ScoreDistribution, ScoreDistribution]:
    """The first and the second of each pair."""
    std = std.clamp(min=_SMALLEST_STD)
    first, second = (ScoreDistribution(mean[side], std[side]) for side in pairs.unbind(1))
    return first, second
