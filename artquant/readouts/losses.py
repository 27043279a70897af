"""Losses as functions of tensors; all in float32 from log-softmax.

Shape legend: M positions or samples, V vocabulary, K rating words.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F


def token_cross_entropy(logits: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each position [M] from logits [M, V] and the tokens to be predicted there [M]."""
    return F.cross_entropy(logits.float(), token_ids, reduction="none")


def distribution_divergence(
    logits: torch.Tensor, targets: torch.Tensor, token_ids: torch.Tensor, closed_set: bool = False
) -> torch.Tensor:
    """KL(target || predicted) of each sample (ArtQuant, section 3.3; DeQA-Score, equation 7).

    Args:
        logits: [M, V] at the position that predicts the rating word.
        targets: [M, K], distribution over the rating words.
        token_ids: [K], the words' ids.
        closed_set: predict with the softmax over the K words alone; published is the softmax over the vocabulary.

    Returns:
        [M], float32; a target of zero contributes nothing.
    """
    level_logits = logits.index_select(-1, token_ids).float()
    normaliser = (level_logits if closed_set else logits.float()).logsumexp(-1, keepdim=True)
    targets = targets.float()
    return (torch.special.xlogy(targets, targets) - targets * (level_logits - normaliser)).sum(-1)


def outside_mass(logits: torch.Tensor, token_ids: torch.Tensor, floor: float = 0.01) -> torch.Tensor:
    """Probability of everything but the rating words at each sample [M], at least `floor` (DeQA-Score)."""
    level_logits = logits.index_select(-1, token_ids).float()
    inside = (level_logits - logits.float().logsumexp(-1, keepdim=True)).exp().sum(-1)
    return (1.0 - inside).clamp(min=floor)


@dataclass(frozen=True)
class ScoreDistribution:
    """Mean and standard deviation of M scores, both [M]."""

    mean: torch.Tensor
    std: torch.Tensor


def preference(first: ScoreDistribution, second: ScoreDistribution, fixed_std: bool = False) -> torch.Tensor:
    """Probability [M] that the first is the better one, both being Gaussian (Thurstone; DeQA-Score, equation 8).

    fixed_std takes both standard deviations as 1.
    """
    scale = 2.0 if fixed_std else (2.0 * (first.std**2 + second.std**2)).sqrt()
    return 0.5 * (1.0 + torch.erf((first.mean - second.mean) / scale))


def fidelity_loss(predicted: torch.Tensor, target: torch.Tensor, epsilon: float = 1e-8) -> torch.Tensor:
    """1 - sqrt(p t) - sqrt((1 - p)(1 - t)) of each pair [M] (FRank; DeQA-Score, equation 9)."""
    agreement = (predicted * target + epsilon).sqrt()
    disagreement = ((1.0 - predicted) * (1.0 - target) + epsilon).sqrt()
    return 1.0 - agreement - disagreement


def binary_fidelity_loss(predicted: torch.Tensor, first_is_better: torch.Tensor, epsilon: float = 1e-8) -> torch.Tensor:
    """The fidelity loss [M] of a known order: the term that vanishes is left out, not floored at sqrt(epsilon)."""
    return 1.0 - (torch.where(first_is_better, predicted, 1.0 - predicted) + epsilon).sqrt()


def pair_ranking_loss(
    predicted: tuple[ScoreDistribution, ScoreDistribution],
    truth: tuple[ScoreDistribution, ScoreDistribution],
    gaussian_target: bool = True,
    fixed_std: bool = True,
    binary_loss: str = "fidelity",
) -> torch.Tensor:
    """How far the predicted preference is from the true one, for each pair [M].

    Args:
        predicted, truth: items A and B.
        gaussian_target: the true preference from means and standard deviations; otherwise 1 or 0 by the larger mean.
        fixed_std: predicted standard deviations count as 1; otherwise they are used, but not trained.
        binary_loss: with 1 or 0 targets, "fidelity" or "bce".
    """
    if binary_loss not in ("fidelity", "bce"):
        raise ValueError(f"binary_loss must be fidelity or bce, got {binary_loss!r}")
    first, second = (ScoreDistribution(item.mean, item.std.detach()) for item in predicted)
    preferred = preference(first, second, fixed_std=fixed_std)
    if gaussian_target:
        return fidelity_loss(preferred, preference(*truth))
    first_is_better = truth[0].mean > truth[1].mean
    if binary_loss == "fidelity":
        return binary_fidelity_loss(preferred, first_is_better)
    return F.binary_cross_entropy(preferred, first_is_better.float(), reduction="none")
