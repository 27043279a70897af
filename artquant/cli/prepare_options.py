"""Options of `artquant prepare` about what answers say and which statements of the files count."""

from __future__ import annotations

import argparse

from artquant.labels.rating_scale import WORD_RULES


def add_choices(command: argparse.ArgumentParser) -> None:
    """Add them."""
    add = command.add_argument
    add(
        "--word",
        choices=WORD_RULES,
        default=WORD_RULES[0],
        help="rating word of the answers: the target's likeliest (default), or by ArtQuant's published rule",
    )
    add("--ignore-split", action="store_true", help="the files' own splits (columns, published split files) are unused")
    add("--ignore-std", action="store_true", help="the files' standard deviations are unused")
