"""What training records are made for: the readout and the prompt that a user names, by name."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from artquant.config.schema import RunConfig
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.texts.prompt import PROMPTS, get_prompt

if TYPE_CHECKING:
    from artquant.readouts import Readout

SEVERAL_PROMPT = "roc4mllm"  # of readouts whose answers hold several scores
_COUNT = "tokens"  # the setting that --tokens gives


def chosen_readout(kind: str | None, tokens: int | None, levels: RatingScale) -> tuple[Readout | None, dict[str, Any]]:
    """A readout for scores of that scale, not bound, and its settings; None and none: the default one.

    Args:
        kind: Its name; None: the default.
        tokens: How many; None: as many as the readout has by default.
        levels: The scale.

    Raises:
        ArtQuantError: There is no such readout, or it does not take that number.
    """
    if kind is None and tokens is None:
        return None, {}
    from artquant.readouts import DEFAULT, READOUTS, readout_of

    kind = DEFAULT if kind is None else kind
    if kind not in READOUTS:
        raise ArtQuantError(f"readout {kind!r} is unknown; choose one of {', '.join(READOUTS)}")
    counts = {
        name: setting.default
        for name, readout in READOUTS.items()
        for setting in fields(readout.Settings)
        if setting.name == _COUNT
    }
    if tokens is not None and kind not in counts:
        raise ArtQuantError(
            f"readout {kind!r} has no number of tokens; leave out --tokens, or name --readout {' or '.join(counts)}"
        )
    if kind == DEFAULT:
        return None, {}
    settings: dict[str, Any] = {"kind": kind}
    if kind in counts:
        settings[_COUNT] = counts[kind] if tokens is None else tokens
    return readout_of(settings, levels), settings


def chosen_prompt(name: str | None, subject: str | None, several: bool) -> tuple[str, str]:
    """The names of prompt and subject.

    Args:
        name: Of the prompt; None: the default, of readouts with several scores in an answer ROC4MLLM's.
        subject: None: the prompt's own.
        several: Whether the readout is such a one.

    Raises:
        ArtQuantError: There is no such prompt.
    """
    if name is None:
        name = SEVERAL_PROMPT if several else RunConfig.prompt
    get_prompt(name)
    return name, PROMPTS[name].subject if subject is None else subject
