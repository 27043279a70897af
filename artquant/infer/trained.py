"""What a model was trained on, as far as its card says."""

from __future__ import annotations

import re
from collections.abc import Sequence

from artquant.errors import ArtQuantError
from artquant.models.weights import LoadedModel
from artquant.texts.attributes import attribute_phrase

_STRANGE = re.compile(r"[<>\[\]|\n]")  # what special tokens are written with


def known_attributes(loaded: LoadedModel, names: Sequence[str]) -> tuple[str, ...]:
    """Attributes by their names; of "trained" alone, all that the model was trained on.

    Raises:
        ArtQuantError: one is none of its card's, or the card has none.
    """
    if tuple(names) == ("trained",):
        if not loaded.attributes:
            raise ArtQuantError("the model was trained on no attributes; train on attribute records, or name some")
        return loaded.attributes
    known = {attribute_phrase(name) for name in loaded.attributes}
    strange = next((name for name in names if attribute_phrase(name) not in known), None)
    if loaded.learned is not None and strange is not None:
        listed = ", ".join(loaded.attributes) or "none"
        raise ArtQuantError(f"the model was never trained on attribute {strange!r} (on {listed}); name one of those")
    return tuple(names)


def check_attributes(attributes: Sequence[str]) -> None:
    """Refuse names that cannot be asked for.

    Raises:
        ArtQuantError: two have the same words, or one has none or signs of special tokens.
    """
    phrases = [attribute_phrase(name) for name in attributes]
    strange = next((name for name in attributes if not name.strip() or _STRANGE.search(name)), None)
    if strange is not None:
        raise ArtQuantError(f"attribute {strange!r} is no name in words; name one such as composition")
    if len(set(phrases)) < len(phrases):
        raise ArtQuantError("two of the attributes are put in the same words; name each once")
