"""What is said of pictures: descriptions of a file, and texts that predictions bring along."""

from __future__ import annotations

from collections.abc import Sequence

from artquant.data.predictions import PredictedPicture
from artquant.errors import ArtQuantError
from artquant.evaluate.join import same_pictures
from artquant.texts.text_sets import TextSet


def spoken_of(pictures: Sequence[str], texts: TextSet) -> list[str]:
    """The text of each picture [N]; empty where there is none.

    Raises:
        ArtQuantError: no text is of one of them.
    """
    met = same_pictures(pictures, texts.images)
    if not met:
        raise ArtQuantError(
            f"none of the descriptions is of a picture that was scored: they are of ones such as {texts.images[0]!r}, "
            f"the predictions of {pictures[0]!r}"
        )
    said = {image: texts.whole(place) for place, image in enumerate(texts.images)}
    return [said[met[name]] if name in met else "" for name in pictures]


def brought_along(picture: PredictedPicture) -> str:
    """Texts in a predictions line (`artquant analyse --out`), each under its aspect."""
    said = picture.prediction.columns.get("texts")
    return "\n".join(f"{aspect}: {text}" for aspect, text in said.items()) if isinstance(said, dict) else ""
