"""`artquant score` and `artquant describe`: a few pictures, results on standard output."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from artquant.cli.arguments import given_loading
from artquant.data.images import ImageError, load_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from artquant.infer.scorer import Score, Scorer


def run(arguments: argparse.Namespace) -> int:
    """Score or describe every picture that can be read; status 2 if one cannot."""
    from transformers.utils.logging import disable_progress_bar

    from artquant.cli.infer import chosen_attributes
    from artquant.infer.scorer import Scorer

    disable_progress_bar()  # of loading
    scorer = Scorer.from_pretrained(
        arguments.model,
        arguments.base,
        arguments.device or "auto",
        prompt=arguments.prompt,
        weights=arguments.weights,
        allow_other_base=arguments.allow_other_base,
        **given_loading(arguments),
    )
    if arguments.command == "score":
        wanted = tuple(arguments.attribute) or ("trained" if arguments.attributes else ())
        arguments.attribute = chosen_attributes(scorer, wanted, arguments.model)
    show = _score if arguments.command == "score" else _describe
    failures = 0
    for path in arguments.pictures:
        try:
            image = load_image(path)
        except ImageError as error:
            print(f"artquant {arguments.command}: error: {error}", file=sys.stderr)
            failures += 1
            continue
        show(scorer, path, image, arguments)
    return 2 if failures else 0


def _score(scorer: Scorer, path: Path, image: Image, arguments: argparse.Namespace) -> None:
    [result] = scorer([image], attributes=arguments.attribute)
    if arguments.json:
        print(json.dumps({"image": str(path), **result.to_dict()}), flush=True)
        return
    print(_line(result, str(path)))
    width = max(map(len, result.attributes), default=0)
    for name, attribute in result.attributes.items():
        print(_line(attribute, f"  {name.ljust(width)}"))
    sys.stdout.flush()


def _line(result: Score, what: str) -> str:
    words = "  ".join(f"{word} {share:.2f}" for word, share in result.columns.get("probs", {}).items())
    return f"{result.score:6.3f} +- {result.std:.3f}  {what}" + (f"  ({words})" if words else "")


def _describe(scorer: Scorer, path: Path, image: Image, arguments: argparse.Namespace) -> None:
    [text] = scorer.describe([image], arguments.level, arguments.max_new_tokens)
    if arguments.json:
        print(json.dumps({"image": str(path), "level": arguments.level, "description": text}), flush=True)
    else:
        print(f"{path}\n  {text}", flush=True)
