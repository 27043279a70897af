"""`artquant demo-data`, `artquant init-model`."""

from __future__ import annotations

import argparse
import os
from typing import Any

from artquant.cli.terminal import say
from artquant.train.launch import tell_deepspeed


def run(arguments: argparse.Namespace) -> int:
    """Run one of the commands that make files."""
    return {"demo-data": _demo_data, "init-model": _init_model}[arguments.command](arguments)


def _demo_data(arguments: argparse.Namespace) -> int:
    from artquant.demo.dataset import write_demo_data

    summary = write_demo_data(
        arguments.out,
        arguments.images,
        arguments.seed,
        test_fraction=arguments.test_fraction,
        workers=arguments.workers,
        progress=not arguments.quiet,
    )
    words = ", ".join(f"{count} {word}" for word, count in summary.words.items())
    drawn = f"{summary.drawn} drawn" if summary.drawn else "was complete already"
    say(f"{summary.out}: {summary.training} training and {summary.test} test pictures ({drawn}): {words}")
    return 0


def _init_model(arguments: argparse.Namespace) -> int:
    import torch

    from artquant.config.load import load_config, read_key
    from artquant.labels.rating_scale import RATING_WORDS
    from artquant.models.families import DEFAULT, family_of

    model_type = read_key(arguments.config, arguments.overrides, "model_type")
    family = family_of(DEFAULT if model_type is None else str(model_type))
    config: Any = load_config(arguments.config, arguments.overrides, family.TinySettings)
    tell_deepspeed(os.environ, on_gpu=torch.cuda.device_count() > 0)
    model = family.write_tiny(config, arguments.out, RATING_WORDS)
    tokens = model.get_input_embeddings().num_embeddings
    say(f"{arguments.out}: {model.num_parameters():,} parameters, {tokens} tokens")
    return 0
