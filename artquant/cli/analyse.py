"""`artquant analyse`: scores with a text on each aspect, of a few pictures or a list."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from artquant.cli.arguments import given_loading, named_prompt, range_of
from artquant.cli.infer import report
from artquant.cli.named_model import open_model, require_learned
from artquant.cli.terminal import complain, say, say_json
from artquant.data.images import ImageError, load_image
from artquant.errors import ArtQuantError, visible
from artquant.files.json_files import write_text
from artquant.infer.journal import origin_of
from artquant.infer.score_files import LOOKED_THROUGH, run_inference
from artquant.infer.scorer import Scorer
from artquant.listing.collection import Collection


def run(arguments: argparse.Namespace) -> int:
    """Analyse every picture that can be read; status 2 (of a list 1) if one cannot."""
    _check(arguments)
    collection = None if arguments.records is None else Collection((arguments.records,), arguments.images)
    total = None if collection is None else collection.count(LOOKED_THROUGH)
    folder = open_model(arguments)
    scorer = Scorer.from_pretrained(
        folder,
        device=arguments.device or "auto",
        prompt=named_prompt(arguments),
        weights=arguments.weights,
        score_range=range_of(arguments.range, "--range"),
        **given_loading(arguments),
    )
    scorer.loaded.prompt.analysing()  # says so if there is nothing to write about
    require_learned(scorer, ("score", "description"), folder.path, anyway=arguments.anyway)
    if collection is None:
        return _pictures(scorer, arguments)
    summary = run_inference(
        scorer,
        collection,
        arguments.out,
        origin=origin_of(folder),
        batch_size=arguments.batch_size or 4,
        workers=arguments.workers,
        skip_unreadable=arguments.skip_unreadable,
        progress=not arguments.quiet,
        total=total,
        analyse=arguments.max_new_tokens,
    )
    return report(summary, arguments.out)


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.records is None) == (not arguments.pictures):
        raise ArtQuantError("name pictures, or a list of them with --records and --out")
    if (arguments.records is None) != (arguments.out is None):
        raise ArtQuantError("--records and --out go together: the list, and the file that is written")
    if arguments.records is not None and arguments.published is not None:
        raise ArtQuantError("--published writes a file for each picture that is named; leave it out with --records")


def _pictures(scorer: Scorer, arguments: argparse.Namespace) -> int:
    failures = 0
    for path in arguments.pictures:
        try:
            picture = scorer.processor.picture(load_image(path))
        except ImageError as error:
            complain(f"artquant analyse: error: {error}")
            failures += 1
            continue
        [score] = scorer.score_pictures([picture])
        [texts] = scorer.analyse_pictures([picture], arguments.max_new_tokens)
        if arguments.published is not None:
            out = _published(arguments, path, {"Aesthetic Score": score.score, "Aesthetic Attributes": texts})
            say(out, flush=True)
        elif arguments.json:
            values = {"image": str(path), "score": score.score, "std": score.std, "texts": texts}
            say_json(values, ensure_ascii=False, flush=True)
        else:
            say(f"{score.score:6.3f} +- {score.std or 0:.3f}  {visible(path)}")
            say(*(f"  {aspect}: {text}" for aspect, text in texts.items()), flush=True)
    return 2 if failures else 0


def _published(arguments: argparse.Namespace, picture: Path, values: dict[str, Any]) -> Path:
    """The file that the published script writes about a picture."""
    out = arguments.published / f"{picture.stem}_{arguments.model.resolve().name}_eval.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps(values, ensure_ascii=False, indent=2))
    return out
