"""`artquant familiar`."""

from __future__ import annotations

import argparse

import numpy as np

from artquant.cli.arguments import given_loading
from artquant.cli.named_model import open_model
from artquant.cli.terminal import say
from artquant.data.records import read_image_records
from artquant.errors import ArtQuantError
from artquant.files.only_writer import only_writer
from artquant.infer.familiar import learn_familiar
from artquant.infer.scorer import Scorer
from artquant.models.familiar import FALSE_ALARMS, FAMILIAR


def run(arguments: argparse.Namespace) -> int:
    """Learn what a model's training pictures look like to it, and put that into the model's folder."""
    if not arguments.model.is_dir():
        raise ArtQuantError(f"{arguments.model}: no folder here, and one is written into; name a model's own folder")
    with only_writer(arguments.model / FAMILIAR):
        return _learn(arguments)


def _learn(arguments: argparse.Namespace) -> int:
    if (arguments.model / FAMILIAR).exists():
        say(f"{arguments.model}: knows its training pictures already; to learn them anew delete {FAMILIAR} there")
        return 0
    listed = list(dict.fromkeys(one.image for one in read_image_records(arguments.records, arguments.images)))
    chosen = [listed[place] for place in np.random.default_rng(0).permutation(len(listed))[: arguments.pictures]]
    scorer = Scorer.from_pretrained(
        open_model(arguments),
        device=arguments.device or "auto",
        **given_loading(arguments),
    )
    learn_familiar(scorer, chosen, progress=not arguments.quiet).write(arguments.model)
    say(
        f"{arguments.model}: knows {len(chosen)} training pictures; of pictures like them {FALSE_ALARMS:.0%} will be "
        "called unlike"
    )
    return 0
