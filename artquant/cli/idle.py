"""Options that would do nothing beside others: refused, because whoever gives one expects something of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TypeAlias

from artquant.errors import ArtQuantError

Given: TypeAlias = "Callable[[argparse.Namespace], bool]"


def _without(name: str) -> Given:
    return lambda arguments: not is_given(arguments, name)


def _with(name: str) -> Given:
    return lambda arguments: is_given(arguments, name)


# Of each command: options, when they do nothing, and what to do; in braces an option's value.
_IDLE: Mapping[str, tuple[tuple[tuple[str, ...], Given, str], ...]] = {
    "infer": (
        (("overrides",), _without("config"), "changes a configuration; name one with --config"),
        (("attributes",), _with("attribute"), "asks for all, --attribute for some; leave one of them out"),
        (
            ("images",),
            lambda arguments: bool(arguments.records) and all(one.is_dir() for one in arguments.records),
            "is for lists, and --records names folders of pictures; leave it out",
        ),
    ),
    "score": ((("max_new_tokens",), _without("generate"), "is the length of a text; add --generate"),),
    "shard": ((("max_new_tokens",), _without("describe"), "is the length of a description; add --describe"),),
    "eval": (
        (("overrides",), _without("config"), "changes a configuration; name one with --config"),
        (
            ("no_plot",),
            lambda arguments: not (is_given(arguments, "out") or is_given(arguments, "config")),
            "leaves plots out of the folder that is written; name one with --out",
        ),
        (("no_report",), _without("config"), "leaves out the report on a run; name one with --config"),
    ),
    "report": (
        (("overrides",), _without("config"), "changes a configuration; name one with --config"),
        (("predictions", "truth"), _with("config"), "is what the configuration says; leave one of them out"),
        (("small_pictures",), _with("no_pictures"), "is about pictures, which --no-pictures leaves out"),
        (("images",), _with("no_pictures"), "is about pictures, which --no-pictures leaves out"),
        (
            ("allow_missing", "allow_extra", "score_range", "predicted_range"),
            lambda arguments: not (is_given(arguments, "truth") or is_given(arguments, "config")),
            "is about true scores; name them with --truth",
        ),
    ),
    "check": (
        (("overrides",), _without("config"), "changes a configuration; name one"),
        (
            ("images", "no_duplicates", "workers", "small_side"),
            _with("no_pictures"),
            "is about the pictures' files, which --no-pictures leaves out",
        ),
        (("all",), _with("json"), "is for the summary; --json has all findings"),
    ),
    "analyse": (
        (("images", "batch_size", "workers", "skip_unreadable"), _without("records"), "goes with --records"),
        (("json",), _with("records"), "is for pictures that are named; --out is JSON lines"),
    ),
    "prepare": (
        (("split",), _without("files"), "says the split of FILEs, and none is named"),
        (
            ("vote_columns", "std_column"),
            lambda arguments: arguments.per_rater or arguments.rater_column is not None,
            "is made of the ratings that --per-rater puts together; leave one of them out",
        ),
    ),
    "train": (
        (
            ("master",),
            lambda arguments: arguments.nodes == 1 and arguments.hostfile is None,
            "says where several machines meet; add --nodes and --node-rank, or --hostfile",
        ),
        (("ranks",), _with("hostfile"), "counts processes here; the hostfile says how many run where"),
    ),
}


def is_given(arguments: argparse.Namespace, name: str) -> bool:
    """Whether an option stands on the command line (those with a default of their own: it cannot be told)."""
    value = vars(arguments)[name]
    return value is not None and value is not False and value != []


def refuse_idle(arguments: argparse.Namespace) -> None:
    """Raise an ArtQuantError about the first option that would do nothing."""
    if arguments.command == "eval" and any(is_given(arguments, mode) for mode in ("choices", "sets", "descriptions")):
        return  # which say by themselves what belongs to them
    for names, idle, why in _IDLE.get(arguments.command, ()):
        for name in names:
            if name in arguments and is_given(arguments, name) and idle(arguments):
                raise ArtQuantError(f"{flag_of(name)} {why.format_map(vars(arguments))}")


def flag_of(name: str) -> str:
    """How an option is written."""
    return "key=value" if name == "overrides" else f"--{name.replace('_', '-')}"
