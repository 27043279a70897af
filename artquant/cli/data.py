"""`artquant demo-data`, `artquant init-model`."""

from __future__ import annotations

import argparse


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
    print(f"{summary.out}: {summary.training} training and {summary.test} test pictures ({drawn}): {words}")
    return 0


def _init_model(arguments: argparse.Namespace) -> int:
    from transformers.utils.logging import disable_progress_bar

    from artquant.config.load import load_config
    from artquant.labels.rating_scale import RATING_WORDS
    from artquant.models.mplug_owl2.tiny import initialise_model
    from artquant.models.mplug_owl2.tiny_settings import DemoModelConfig

    config = load_config(arguments.config, arguments.overrides, DemoModelConfig)
    disable_progress_bar()  # of writing
    model = initialise_model(config, arguments.out, RATING_WORDS)
    print(f"{arguments.out}: {model.num_parameters():,} parameters, {config.vocabulary_size} tokens")
    return 0
