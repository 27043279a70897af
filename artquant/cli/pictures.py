"""`artquant score` and `artquant describe`: a few pictures, results on standard output."""

from __future__ import annotations

import argparse

from PIL.Image import Image

from artquant.cli.arguments import LONGEST_TEXT, given_loading, named_prompt, range_of
from artquant.cli.named_model import chosen_attributes, open_model, require_learned
from artquant.cli.terminal import complain, finish, say, say_json
from artquant.data.images import ImageError
from artquant.data.predictions import NotFinite
from artquant.errors import ArtQuantError
from artquant.infer.score import Score
from artquant.infer.scorer import Scorer
from artquant.listing.entries import entries
from artquant.listing.open_entry import EntryReader
from artquant.texts.attributes import attribute_phrase

_SHOWN = 10  # words of a distribution, on the terminal


def run(arguments: argparse.Namespace) -> int:
    """Score or describe every picture that can be read; status 2 if one cannot."""
    scorer = Scorer.from_pretrained(
        open_model(arguments),
        device=arguments.device or "auto",
        prompt=named_prompt(arguments),
        weights=arguments.weights,
        score_range=range_of(arguments.range, "--range"),
        **given_loading(arguments),
    )
    if arguments.command == "score":
        wanted = tuple(arguments.attribute) or ("trained" if arguments.attributes else ())
        arguments.attribute = chosen_attributes(scorer, wanted, arguments.model)
        _check_generating(scorer, arguments)
        require_learned(scorer, ("score",), arguments.model, arguments.attribute, arguments.anyway)
    elif arguments.question is None:
        tasks = ("score", "description") if arguments.level == "all" else ("description",)
        require_learned(scorer, tasks, arguments.model, anyway=arguments.anyway)
    if arguments.command == "score" and not (arguments.json or arguments.generate):
        low, high = scorer.range
        say(f"score, {low:g} to {high:g}, +- how undecided the model is (its deviation, not an error bar)")
    show = _describe if arguments.command == "describe" else _generate if arguments.generate else _score
    failures = 0
    with EntryReader(arguments.columns) as reader:
        for entry in entries(arguments.pictures, columns=arguments.columns, unique=False):
            try:
                failures += not show(scorer, entry.path, reader.read(entry), arguments)
            except ImageError as error:
                complain(f"artquant {arguments.command}: error: {error}")
                failures += 1
            except NotFinite as error:  # of this picture, perhaps: the others are scored
                complain(f"artquant {arguments.command}: error: {entry.name}: {error}")
                failures += 1
    return 2 if failures else 0


def _check_generating(scorer: Scorer, arguments: argparse.Namespace) -> None:
    """Refuse questions that are not asked, and generation where the text holds no places for scores."""
    if not arguments.generate:
        if arguments.question is not None:
            raise ArtQuantError("--question is asked with --generate only; add it")
        return
    readout = scorer.loaded.readout
    if not readout.several:
        raise ArtQuantError(
            f"{arguments.model}: readout {readout.kind} reads no scores in a text; leave out --generate"
        )
    if arguments.attribute:
        raise ArtQuantError("with --generate the question says what is scored; leave out --attribute")


def _generate(scorer: Scorer, path: str, image: Image, arguments: argparse.Namespace) -> bool:
    """Whether the model said a score."""
    [answer] = scorer.answer([image], arguments.question, max_new_tokens=arguments.max_new_tokens or LONGEST_TEXT)
    if arguments.json:
        say_json({"image": path, **answer.to_dict()}, flush=True)
    else:
        shown = f"{answer.scores[0].score:6.3f} +- {answer.scores[0].std:.3f}" if answer.scores else "no score"
        say(f"{shown}  {path}\n  {answer.text}", flush=True)
    if not answer.scores:
        complain(f"artquant score: error: {path}: the model said no score: {answer.text[:80]!r}")
    return bool(answer.scores)


def _score(scorer: Scorer, path: str, image: Image, arguments: argparse.Namespace) -> bool:
    [result] = scorer.score_pictures([scorer.processor.picture(image)], arguments.attribute)
    if arguments.json:
        several = {}
        if scorer.loaded.readout.several:
            names = [scorer.loaded.prompt.whole, *map(attribute_phrase, result.attributes)]
            several = {"scores": [one.score for one in (result, *result.attributes.values())], "names": names}
        say_json({"image": path, **result.to_dict(), **several}, flush=True)
        return True
    _say_score(path, result)
    width = max(map(len, result.attributes), default=0)
    for name, attribute in result.attributes.items():
        say(_line(attribute, f"  {name.ljust(width)}"))
    finish()
    return True


def _say_score(path: str, result: Score) -> None:
    say(_line(result, path))
    if result.unlike is not None and result.unlike > 1:
        say(f"  unlike the training pictures ({result.unlike:.1f} times the limit): the score may mean nothing")


def _line(result: Score, what: str) -> str:
    shares = dict(result.columns.get("probs", {}))
    if len(shares) > _SHOWN:  # the likeliest, in their order
        likely = sorted(shares, key=shares.__getitem__, reverse=True)[:_SHOWN]
        shares = {word: share for word, share in shares.items() if word in likely}
    words = "  ".join(f"{word} {share:.2f}" for word, share in shares.items())
    return f"{result.score:6.3f} +- {result.std:.3f}  {what}" + (f"  ({words})" if words else "")


def _describe(scorer: Scorer, path: str, image: Image, arguments: argparse.Namespace) -> bool:
    if arguments.question is not None and arguments.level is not None:
        raise ArtQuantError("--question asks for something else than a level; leave one of them out")
    prompt = scorer.loaded.prompt
    if arguments.level == "all":
        return _describe_all(scorer, path, image, arguments)
    level = arguments.level or len(prompt.description_questions)
    question = prompt.describing(level).question if arguments.question is None else arguments.question
    [answer] = scorer.answer([image], question, max_new_tokens=arguments.max_new_tokens or LONGEST_TEXT)
    if arguments.json:
        asked = {"level": level} if arguments.question is None else {"question": question}
        said = answer.to_dict()
        scores = {name: said[name] for name in ("scores", "names") if scorer.loaded.readout.several}
        say_json({"image": path, **asked, "description": answer.text, **scores}, flush=True)
    else:
        say(f"{path}\n  {answer.text}", flush=True)
    return True


def _describe_all(scorer: Scorer, path: str, image: Image, arguments: argparse.Namespace) -> bool:
    levels = range(1, len(scorer.loaded.prompt.description_questions) + 1)
    [(score, texts)] = scorer.score_and_describe([image], levels, arguments.max_new_tokens or LONGEST_TEXT)
    if arguments.json:
        said = {"descriptions": {str(level): text for level, text in texts.items()}}
        say_json({"image": path, **score.to_dict(), **said}, flush=True)
    else:
        _say_score(path, score)
        for level, text in texts.items():
            say(f"  {level}  {text}")
        finish()
    return True
