"""Validation while training: how well held-out pictures are scored, and the loss of each task on held-out records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from artquant.batches.batch import Fault
from artquant.batches.dataset import ArtDataset, Collator
from artquant.data.records import ImageRecord
from artquant.errors import ArtQuantError
from artquant.evaluate.metrics import evaluate_scores
from artquant.evaluate.within import within_pictures
from artquant.infer.read_pictures import Pictures, Read
from artquant.infer.scorer import Scorer
from artquant.listing.entry import Entry
from artquant.listing.open_entry import EntryReader
from artquant.models.family import Processor
from artquant.models.weights import LoadedModel
from artquant.train.interruption import ignore_stop_signal
from artquant.train.objective import Objective

Gather = Callable[[Any], list[Any]]  # a value of this rank -> the values of all ranks, on every rank


class _Scored(Dataset):
    """Pictures by their place in a list."""

    def __init__(self, records: Sequence[ImageRecord], processor: Processor):
        self._pictures = Pictures(EntryReader(), processor)
        self._entries = [Entry(one.id, str(one.image), str(one.image), source=one.source) for one in records]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Read:
        return self._pictures[self._entries[index]]


@dataclass
class Validation:
    """What a stage is validated on.

    Args:
        model: the network as scoring takes it, with prompt and readout.
        scored: pictures with their human scores; empty: none.
        held_out: training records that are not trained on, encoded; None: none.
        objective: the training objective, whose terms are reported.
        batch_size: pictures or records per forward pass and rank. max_length: of a record, in positions.
        workers: processes that read pictures.
        attributes: A of them, to be scored beside the whole. rated: [N, A], people's scores of them, NaN for none.
    """

    model: LoadedModel
    scored: Sequence[ImageRecord]
    held_out: ArtDataset | None
    objective: Objective
    batch_size: int
    max_length: int
    workers: int = 0
    attributes: tuple[str, ...] = ()
    rated: np.ndarray | None = None

    def run(self, rank: int, ranks: int, device: torch.device, gather: Gather) -> dict[str, float]:
        """Figures over all ranks, the same on each; called on every rank at the same step.

        Returns:
            SRCC and PLCC of the scored pictures, `attributes_SRCC` (mean over attributes) and `within_SRCC` (mean over
            pictures) of their attributes, `loss_TERM` of the held-out records for the terms that they hold.

        Raises:
            ArtQuantError: a picture cannot be read.
        """
        network = self.model.network
        training = network.training
        network.eval()
        try:
            with torch.no_grad(), network.precisely():
                figures = self._correlations(rank, ranks, device, gather) if self.scored else {}
                if self.held_out is not None:
                    figures |= self._losses(self.held_out, rank, ranks, device, gather)
        finally:
            network.train(training)
        return figures

    def _correlations(self, rank: int, ranks: int, device: torch.device, gather: Gather) -> dict[str, float]:
        pictures = _Scored(self.scored, self.model.processor)
        scorer = Scorer(self.model, device, plain=True)
        mine: dict[int, list[float]] = {}
        for indices, batch in self._batches(pictures, list, rank, ranks):
            unreadable = next((error for _, _, error, _ in batch if error is not None), None)
            if unreadable is not None:
                raise ArtQuantError(unreadable)
            found = scorer.score_pictures([picture for _, picture, *_ in batch], self.attributes)
            each = [[one.score, *(one.attributes[name].score for name in self.attributes)] for one in found]
            mine.update(zip(indices, each, strict=False))
        scores = {index: score for part in gather(mine) for index, score in part.items()}
        predicted, *others = np.array([scores[index] for index in range(len(self.scored))]).T
        truth = np.array([record.gt_score for record in self.scored], dtype=np.float64)
        if np.ptp(predicted) == 0:  # a network that has learned nothing yet
            return {"SRCC": 0.0, "PLCC": 0.0}
        metrics = evaluate_scores(predicted, truth, bootstrap=0)
        figures = {"SRCC": metrics.SRCC.value, "PLCC": metrics.PLCC.value}
        if self.rated is None or not others:
            return figures
        within = within_pictures(np.stack(others, axis=1), self.rated, predicted, bootstrap=0)
        if within is None:
            return figures
        return figures | {"attributes_SRCC": within.over_pictures.value, "within_SRCC": within.SRCC.value}

    def _losses(
        self, held_out: ArtDataset, rank: int, ranks: int, device: torch.device, gather: Gather
    ) -> dict[str, float]:
        sums, counts = dict.fromkeys(self.objective.terms, 0.0), dict.fromkeys(self.objective.terms, 0)
        collate = Collator(self.model.processor, self.max_length)
        for indices, batch in self._batches(held_out, collate, rank, ranks):
            if isinstance(batch, Fault) or batch.unreadable:
                raise ArtQuantError(batch.message if isinstance(batch, Fault) else batch.unreadable[0])
            sums_here = self.objective.sums(self.model.network, batch.to(device))
            if indices:  # a batch without indices only keeps the ranks together
                found = self.objective.counts([batch])
                for term, value in sums_here.items():
                    sums[term] += float(value)
                    counts[term] += found[term]
        parts = gather((sums, counts))
        figures = {}
        for term in self.objective.terms:
            count = sum(part_counts[term] for _, part_counts in parts)
            if count:
                figures[f"loss_{term}"] = sum(part_sums[term] for part_sums, _ in parts) / count
        return figures

    def _batches(
        self, dataset: _Scored | ArtDataset, collate: Callable, rank: int, ranks: int
    ) -> Iterator[tuple[list[int], Any]]:
        """This rank's batches with their indices; as many on every rank, the last perhaps a repetition without any."""
        mine = list(range(rank, len(dataset), ranks))
        batches = [mine[start : start + self.batch_size] for start in range(0, len(mine), self.batch_size)]
        most = math.ceil(math.ceil(len(dataset) / ranks) / self.batch_size)
        fillers = most - len(batches)
        loader = DataLoader(
            dataset,
            batch_sampler=[*batches, *[[0]] * fillers],
            num_workers=self.workers,
            collate_fn=collate,
            worker_init_fn=ignore_stop_signal,
            generator=torch.Generator(),  # its own: training's random numbers are not to depend on validation
        )
        return zip([*batches, *[[]] * fillers], loader, strict=True)


class EarlyStopping:
    """The best validation so far, and whether to go on.

    Args:
        patience: validations without a gain after which training stops; None: never.
        minimum_gain: in SRCC, below which a validation does not count as better.
    """

    def __init__(self, patience: int | None, minimum_gain: float = 0.0):
        self.patience = patience
        self.minimum_gain = minimum_gain
        self.best: float | None = None
        self.best_step = 0
        self.without_gain = 0

    def note(self, value: float, step: int) -> bool:
        """Take in a validation; returns whether it is the best so far."""
        if self.best is None or value > self.best + self.minimum_gain:
            self.best, self.best_step, self.without_gain = value, step, 0
            return True
        self.without_gain += 1
        return False

    @property
    def stops(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.without_gain >= self.patience

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"best": self.best, "best_step": self.best_step, "without_gain": self.without_gain}

    def restore(self, state: dict[str, Any]) -> None:
        """The reverse of `state`."""
        self.best, self.best_step, self.without_gain = state["best"], state["best_step"], state["without_gain"]
