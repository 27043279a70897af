"""Questions with choices: how many answers are the right letter (UniPercept's benchmark).

Legend: N = number of questions, P = number of pictures that they are about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artquant.data.fields import Fields, RecordError, kind_of
from artquant.errors import ArtQuantError
from artquant.evaluate.metrics import Estimate
from artquant.evaluate.report import aligned, interval_text
from artquant.files.json_files import read_json

LETTERS = ("A", "B", "C", "D")
ANSWER = "answer_"  # what the keys of models' answers begin with
FAILED = "?"  # in the place of an answer: there is none
_ALONE = re.compile(r"([A-D])(?![^\W\d_])", re.IGNORECASE)  # a letter with no other behind it
_SHOWN = 10  # failed questions named on the terminal
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class ChoiceQuestion:
    """One question about one picture, its choices written into it."""

    image: str  # path within the image folder
    question: str
    answer: str  # the right letter, A to D
    categories: Mapping[str, str]  # by the fields that were asked for
    record: Mapping[str, Any]  # as it stands in the file
    source: str  # "FILE record N"

    @property
    def asked(self) -> tuple[str, str]:
        """What the answer depends on."""
        return self.image, self.question


@dataclass(frozen=True)
class ChoiceMetrics:
    """Of n questions; shares lie in [0, 1]."""

    n: int
    right: int
    accuracy: Estimate  # published: the first character, upper-cased, is the letter
    letter_alone: Estimate | None  # the same where that is a letter with no other behind it; None: texts are not known
    no_letter: int  # answers with another first character than A to D, failed ones among them
    failed: int  # without an answer


@dataclass(frozen=True)
class ChoiceEvaluation:
    """One model's answers."""

    name: str  # the key of its answers
    total: ChoiceMetrics
    by: dict[str, dict[str, ChoiceMetrics]]  # field -> category -> figures
    failed: tuple[str, ...]  # which questions have no answer


def read_questions(path: Path, by: Sequence[str] = ()) -> list[ChoiceQuestion]:
    """Read a JSON list of records `{"image", "question", "answer", ...}`, the answer A, B, C or D (or a to d).

    Args:
        by: further fields that every record must have, text or a whole number: what it is counted under.

    Raises:
        ArtQuantError: unreadable file, no list, or a record that is not so; names file and record.
    """
    items = read_json(path)
    if not isinstance(items, list) or not items:
        what = "an empty one" if isinstance(items, list) else kind_of(items)
        raise RecordError(f"{path}: expected a list of records with image, question and answer, got {what}")
    found = []
    for number, item in enumerate(items, start=1):
        fields = Fields(item, f"{path} record {number}")
        image, question, answer = (fields.text(name) for name in ("image", "question", "answer"))
        if answer and answer.upper() not in LETTERS:
            fields.fault("answer", f'"answer" must be one of the letters A to D, got {answer[:50]!r}; correct it')
        categories = {name: _category(fields, name) for name in by}
        fields.refuse()
        found.append(ChoiceQuestion(image, question, answer.upper(), categories, item, fields.source))
    return found


def _category(fields: Fields, name: str) -> str:
    value = fields.item.get(name)
    return str(value) if isinstance(value, int) else fields.text(name)


def stored_answers(questions: Sequence[ChoiceQuestion]) -> dict[str, list[str]]:
    """The answers that the records hold, [N] each, by their keys: all that begin with "answer_" and are no category.

    Raises:
        ArtQuantError: there are none, or a record has not the same ones as the others, or no text; names it.
    """
    names = dict.fromkeys(
        key for one in questions for key in one.record if key.startswith(ANSWER) and key not in one.categories
    )
    if not names:
        raise RecordError(f'{questions[0].source}: no key "{ANSWER}NAME"; name an answered file, or a model to ask')
    for one in questions:
        for name in names:
            if not isinstance(one.record.get(name), str):
                reason = f'no text as "{name}", which other records have; ask that model again (failed: "{FAILED}")'
                raise RecordError(f"{one.source}: {reason}")
    return {name: [one.record[name] for one in questions] for name in names}


def chosen_letter(answer: str) -> str:
    """What the published code takes an answer for: its first character, upper-cased; "?" where it has none."""
    return answer.strip()[:1].upper() or FAILED


def evaluate_choices(
    name: str,
    questions: Sequence[ChoiceQuestion],
    answers: Sequence[str],
    whole: bool = False,
    bootstrap: int = 0,
    seed: int = 0,
) -> ChoiceEvaluation:
    """Shares of right letters, over all questions and by each of their fields.

    Args:
        answers: [N] texts, or their first characters alone; "?" counts as wrong, as published.
        whole: they are texts even if none is longer than a character.
        bootstrap: number of resamples of *pictures* for intervals of 95 %, as questions about one picture are not
            independent; 0: Wilson's intervals, which take every question for itself.
        seed: of the resampling.

    Raises:
        ArtQuantError: the number of resamples is negative.
    """
    if bootstrap < 0:
        raise ArtQuantError(f"the number of resamples must be 0 or more, got {bootstrap}")
    letters = np.array([chosen_letter(answer) for answer in answers])
    whole = whole or any(len(answer.strip()) > 1 for answer in answers)
    alone = np.array([bool(_ALONE.match(answer.strip())) for answer in answers])
    right = letters == np.array([one.answer for one in questions])
    numbers: dict[str, int] = {}
    pictures = np.array([numbers.setdefault(one.image, len(numbers)) for one in questions])

    def metrics(chosen: np.ndarray) -> ChoiceMetrics:
        def share(hits: np.ndarray) -> Estimate:
            return _share(hits[chosen], pictures[chosen], bootstrap, seed)

        return ChoiceMetrics(
            n=int(chosen.sum()),
            right=int(right[chosen].sum()),
            accuracy=share(right),
            letter_alone=share(right & alone) if whole else None,
            no_letter=int((~np.isin(letters[chosen], LETTERS)).sum()),
            failed=int((letters[chosen] == FAILED).sum()),
        )

    by: dict[str, dict[str, ChoiceMetrics]] = {}
    for field in questions[0].categories:
        categories = np.array([one.categories[field] for one in questions])
        by[field] = {str(category): metrics(categories == category) for category in dict.fromkeys(categories)}
    failed = tuple(one.source for one, letter in zip(questions, letters, strict=True) if letter == FAILED)
    return ChoiceEvaluation(name, metrics(np.ones(len(questions), dtype=bool)), by, failed)


def _share(hits: np.ndarray, pictures: np.ndarray, resamples: int, seed: int) -> Estimate:
    """The share of hits [N]; pictures: [N] numbers. Of one picture alone there is no interval by resampling."""
    from scipy.stats import binomtest, bootstrap

    value = float(hits.mean())
    if not resamples:
        interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(_CONFIDENCE, method="wilson")
        return Estimate(value, float(interval.low), float(interval.high))
    _, places = np.unique(pictures, return_inverse=True)
    counts_P = np.bincount(places)
    if len(counts_P) < 2:
        return Estimate(value)
    found = bootstrap(
        (np.bincount(places, weights=hits), counts_P),
        lambda right, count, axis: right.sum(axis=axis) / count.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 1_000_000 // len(counts_P)),
        confidence_level=_CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(found.low), float(found.high))


def choices_record(evaluation: ChoiceEvaluation) -> dict[str, Any]:
    """As plain values, for JSON; what is not known is null."""
    by = {field: {name: asdict(one) for name, one in found.items()} for field, found in evaluation.by.items()}
    return {"answers": evaluation.name, **asdict(evaluation.total), "by": by, "failed_questions": evaluation.failed}


def format_choices(evaluations: Sequence[ChoiceEvaluation]) -> str:
    """Plain text: a row for each model and, below, for each category, then the questions without an answer."""
    rows = [["answers", "n", "right", "accuracy", "95 %", "letter alone", "no letter", "failed"]]
    for item in evaluations:
        rows.append(_row(item.name, item.total))
        for field, found in item.by.items():
            rows += [_row(f"  {field}: {category}", one) for category, one in found.items()]
    lines = aligned(rows)
    for item in evaluations:
        if item.failed:
            more = ", ..." if len(item.failed) > _SHOWN else ""
            named = ", ".join(item.failed[:_SHOWN])
            lines.append(f"{item.name}: {len(item.failed)} without an answer, counted as wrong: {named}{more}")
    return "\n".join(lines)


def _row(label: str, found: ChoiceMetrics) -> list[str]:
    accuracy, alone = found.accuracy, found.letter_alone
    shares = [f"{accuracy.value:.4f}", interval_text(accuracy.low, accuracy.high)]
    shares.append("-" if alone is None else f"{alone.value:.4f}")
    return [label, str(found.n), str(found.right), *shares, str(found.no_letter), str(found.failed)]
