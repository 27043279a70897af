"""Training records for readouts whose answers hold places for scores ("[SCORE]"), several in one text (ROC4MLLM).

Each score comes with its "target": shares of values that are evenly spaced from the lowest to the highest score.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artquant.data.records import parse_training_record
from artquant.data.turns import media_tag
from artquant.prepare.annotation import Annotation, PrepareError
from artquant.prepare.records import Labelling, conversation, head, human_turn, known, votes
from artquant.texts.prompt import IMAGE_TOKEN, SUBJECT

if TYPE_CHECKING:
    from artquant.readouts import Readout


def place_records(
    annotations: Sequence[Annotation], labelling: Labelling, readout: Readout
) -> dict[str, list[dict[str, Any]]]:
    """The training records by file: scores, scores with those of the attributes, scores with comments.

    Args:
        annotations: Training pictures.
        labelling: With that readout.
        readout: One that may hold several scores in an answer.

    Raises:
        ArtQuantError: An annotation lacks what the method needs, or a text, conversation or target cannot be used;
            names its record.
    """
    made = labelling.score_probs(annotations).tolist()
    targets = [own_target(found, labelling) or probs for found, probs in zip(annotations, made, strict=True)]
    pairs = list(zip(annotations, targets, strict=True))
    return {
        "score.json": [_score_record(found, target, labelling, readout) for found, target in pairs],
        "attributes.json": _attribute_records(pairs, labelling, readout),
        "comments.json": [
            _comment_record(found, found.comment, target, labelling, readout)
            for found, target in pairs
            if found.comment is not None
        ],
    }


def own_target(annotation: Annotation, labelling: Labelling) -> list[float] | None:
    """The shares that a record brought, where they are kept and as many as there are values."""
    target = annotation.kept.get("target")
    kept = labelling.keep_targets and isinstance(target, list) and len(target) == len(labelling.values)
    return target if kept else None


def target_notes(annotations: Sequence[Annotation], labelling: Labelling) -> list[str]:
    """What became of the targets that training records brought, one sentence each."""
    brought = [annotation for annotation in annotations if "target" in annotation.kept]
    if not brought:
        return []
    if labelling.places is None:
        return [f'"target" of {len(brought)} training pictures is left out; --readout names what it is for']
    own = [(found.score, target) for found in brought if (target := own_target(found, labelling)) is not None]
    notes = []
    if own:
        means = np.array([target for _, target in own]) @ np.array(labelling.values)
        apart = np.abs(means - [score for score, _ in own]).max()
        notes.append(f'"target" of {len(own)} training pictures is kept; its mean is up to {apart:.2g} from the score')
    if len(own) < len(brought):
        notes.append(f'"target" of {len(brought) - len(own)} training pictures is made anew')
    return notes


def _score_record(
    annotation: Annotation, target: list[float], labelling: Labelling, readout: Readout
) -> dict[str, Any]:
    """About the whole picture; what was a training record is checked as one."""
    turns = _score_turns(annotation, labelling, readout)
    rest = {"target": target, "task_type": "score", "conversations": turns}
    record = {key: value for key, value in head(annotation).items() if key != "target"}
    record |= votes(annotation) | known(annotation) | rest
    if annotation.kept:
        ends = (labelling.levels.low, labelling.levels.high)
        found = parse_training_record(record, annotation.source, Path(), len(labelling.levels.words), ends)
        if found.faults:
            raise PrepareError(f"{annotation.source}: {found.faults[0].message}")
    return record


def _score_turns(annotation: Annotation, labelling: Labelling, readout: Readout) -> list[dict[str, Any]]:
    """A kept conversation that has the place for the score; else its question, or the prompt's, with a new answer."""
    question, word = human_turn(annotation), readout.word(annotation.score)
    if question is not None:
        turns = annotation.kept["conversations"]
        answers = [str(turn.get("value")) for turn in turns if isinstance(turn, dict) and turn.get("from") == "gpt"]
        places = sum(answer.count(word) for answer in answers)
        if places > 1:
            raise PrepareError(
                f"{annotation.source}: {places} places {word} for one score; take the others out of the answer"
            )
        if places == 1:
            return turns
        if len(answers) > 1:
            raise PrepareError(
                f"{annotation.source}: {len(answers)} rounds without a place for the score; write {word} where it is"
            )
    new = f"{IMAGE_TOKEN}\n{labelling.question(annotation.image)}"
    return conversation(question or new, labelling.prompt().rating_answer(word))


def _attribute_records(
    pairs: Sequence[tuple[Annotation, list[float]]], labelling: Labelling, readout: Readout
) -> list[dict[str, Any]]:
    """One of each picture with attributes: all its scores in one answer, the whole first."""
    pairs, prompt = [(found, target) for found, target in pairs if found.attributes], labelling.prompt()
    scores = [score for found, _ in pairs for score in found.attributes.values()]
    shares = iter(labelling.attribute_probs(scores).tolist())
    made = []
    for annotation, target in pairs:
        names, word = list(annotation.attributes), readout.word(annotation.score)
        for name in names:
            _check_text(name, f"the attribute's name {name!r}", annotation, readout)
        question = f"{IMAGE_TOKEN}\n{prompt.rating_several(names)}"
        record = {
            "id": f"{annotation.image}#attributes",
            "image": annotation.image,
            "gt_score": [annotation.score, *annotation.attributes.values()],
            "attribute": [None, *names],
            "target": [target, *(next(shares) for _ in names)],
            "task_type": "score",
            "conversations": conversation(question, prompt.several_rating_answer(word, names)),
        }
        made.append(record)
    return made


def _comment_record(
    annotation: Annotation, comment: str, target: list[float], labelling: Labelling, readout: Readout
) -> dict[str, Any]:
    """The score, then what was said."""
    _check_text(comment, "the comment", annotation, readout)
    prompt = labelling.prompt()
    answer = f"{prompt.rating_answer(readout.word(annotation.score))} {comment}"
    question = prompt.comment_question.replace(SUBJECT, labelling.subject)
    return {
        "id": f"{annotation.image}#comment",
        "image": annotation.image,
        "gt_score": annotation.score,
        **({} if annotation.std is None else {"std": annotation.std}),
        "target": target,
        "task_type": "score",
        "conversations": conversation(f"{IMAGE_TOKEN}\n{question}", answer),
    }


def _check_text(text: str, what: str, annotation: Annotation, readout: Readout) -> None:
    """Refuse what would count as the picture or a score."""
    taken = media_tag(text) or next((word for word in readout.new_words if word in text), None)
    if taken is not None:
        raise PrepareError(f"{annotation.source}: {what} holds {taken}; take it out")
