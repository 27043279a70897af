"""How a score is read from the network: the ways there are, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from artquant.config.load import convert
from artquant.config.schema import ConfigError
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.readouts.rating_levels import RatingLevels
from artquant.readouts.readout import Known, Readout, Scores, Seen
from artquant.readouts.score_tokens import ScoreTokens
from artquant.readouts.value_tokens import ValueTokens

__all__ = [
    "READOUTS",
    "Known",
    "Readout",
    "Scores",
    "Seen",
    "published_readout",
    "published_words",
    "readout_of",
    "stored_readout",
]

READOUTS: Mapping[str, type[Readout]] = {
    "rating_levels": RatingLevels,
    "score_tokens": ScoreTokens,
    "value_tokens": ValueTokens,
}
DEFAULT = "rating_levels"


def readout_of(settings: Mapping[str, Any], scale: RatingScale) -> Readout:
    """The readout that a configuration's `readout:` names, not yet bound.

    Raises:
        ConfigError: an unknown kind or setting, a value that does not fit; with the dotted key.
    """
    kind = str(settings.get("kind", DEFAULT))
    if kind not in READOUTS:
        close = difflib.get_close_matches(kind, READOUTS, n=1)
        advice = f"did you mean {close[0]}?" if close else f"use one of {', '.join(READOUTS)}"
        raise ConfigError("readout.kind", f"no readout {kind!r}; {advice}")
    readout = READOUTS[kind]
    own: Any = convert(readout.Settings, {name: value for name, value in settings.items() if name != "kind"}, "readout")
    try:
        return readout.from_settings(own, scale)
    except ConfigError as error:
        raise ConfigError(f"readout.{error.key}", error.reason) from None
    except ArtQuantError as error:
        raise ConfigError("readout", str(error)) from None


def stored_readout(values: dict[str, Any]) -> Readout:
    """A readout from a model's card.

    Raises:
        ArtQuantError: a kind that is not known here.
    """
    if values["kind"] not in READOUTS:
        raise ArtQuantError(f"readout {values['kind']!r} is not known; known are {', '.join(READOUTS)}")
    return READOUTS[values["kind"]].from_dict(values)


def published_words(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Words that were added to the vocabulary of a published model, by its `config.json`."""
    return tuple(word for readout in READOUTS.values() for word in readout.published_words(values))


def published_readout(
    values: Mapping[str, Any], decode: Callable[[int], str], scores: Sequence[float] | None = None
) -> Readout | None:
    """The readout that a published `config.json` is about; see `Readout.from_published`.

    Raises:
        ArtQuantError: it is about two.
    """
    found = [readout.from_published(values, decode, scores) for readout in READOUTS.values()]
    named = [readout for readout in found if readout is not None]
    if len(named) > 1:
        raise ArtQuantError(
            f"speaks of {' and '.join(readout.kind for readout in named)}; take out the keys of what it is not read by"
        )
    return named[0] if named else None
