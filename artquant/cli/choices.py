"""`artquant eval --choices`: questions with choices, put to a model or answered already."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING

from artquant.cli.arguments import given_loading, refuse_given
from artquant.cli.terminal import complain, say, say_json
from artquant.config.schema import Loading
from artquant.errors import ArtQuantError

if TYPE_CHECKING:
    from artquant.evaluate.choices import ChoiceQuestion

_LOADING = tuple(field.name for field in fields(Loading))
_ASKING = ("base", "allow_other_base", "device", *_LOADING, "images", "batch_size", "workers", "skip_unreadable")
ONLY_HERE = ("by", "model", *_ASKING)  # of the command's settings
OF_SCORES = (
    *("config", "overrides", "predictions", "truth", "weights", "score_range", "predicted_range", "logistic", "fit"),
    *("threshold", "allow_missing", "allow_extra", "no_plot", "mark"),
)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate every model's answers in a file, or those of the model that is named; status 1 if pictures failed."""
    from artquant.evaluate.choices import (
        choices_record,
        evaluate_choices,
        format_choices,
        read_questions,
        stored_answers,
    )

    refuse_given(arguments, (*OF_SCORES, "protocol"), "is for scores; leave it out with --choices")
    refuse_given(arguments, ("sets", "descriptions"), "and --choices are two evaluations; leave one of them out")
    refuse_given(arguments, ("references", "training"), "goes with --descriptions, the files of texts")
    questions = read_questions(arguments.choices, arguments.by)
    resampling = {"bootstrap": arguments.bootstrap or 0, "seed": arguments.seed}
    status = 0
    if arguments.model is None:
        refuse_given(arguments, (*_ASKING, "out"), "goes with --model, the one to ask")
        evaluations = [
            evaluate_choices(name, questions, answers, **resampling)
            for name, answers in stored_answers(questions).items()
        ]
    else:
        name, texts, status = _ask(arguments, questions)
        evaluations = [evaluate_choices(name, questions, texts, whole=True, **resampling)]
    if arguments.json:
        say_json([choices_record(evaluation) for evaluation in evaluations], indent=1, ensure_ascii=False)
    else:
        say(format_choices(evaluations))
    return status


def _ask(arguments: argparse.Namespace, questions: list[ChoiceQuestion]) -> tuple[str, tuple[str, ...], int]:
    """The key of the model's answers, the answers, and status 1 if pictures could not be read."""
    if arguments.images is None or arguments.out is None:
        raise ArtQuantError("--model needs --images, the folder of the pictures, and --out, the file to write")

    from artquant.cli.named_model import open_model
    from artquant.evaluate.choices import ANSWER
    from artquant.infer.choices import answer_questions
    from artquant.infer.journal import origin_of
    from artquant.infer.scorer import Scorer

    folder = open_model(arguments)
    scorer = Scorer.from_pretrained(folder, device=arguments.device or "auto", **given_loading(arguments))
    name = ANSWER + arguments.model.resolve().name
    answered = answer_questions(
        scorer,
        questions,
        arguments.images,
        arguments.out,
        name,
        origin_of(folder),
        batch_size=8 if arguments.batch_size is None else arguments.batch_size,
        workers=arguments.workers,
        skip_unreadable=arguments.skip_unreadable,
        progress=not arguments.quiet,
    )
    for message in answered.skipped:
        complain(f"skipped: {message}")
    complain(f"{arguments.out}: {answered.asked} questions asked, {answered.done_before} were there")
    return name, answered.texts, 1 if answered.skipped else 0
